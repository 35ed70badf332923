"""Decoder layers of the common form, run with fewer and larger operations on a CPU.

Most models' layers are the same computation: RMS norm, queries, keys and values with rotary positions, attention, RMS
norm, gated feed-forward. transformers spells it in some sixty operations; here the three projections are one product
and the two of the gate another, on weights reordered once, with the residual added inside. A layer keeps its class's
name, weights and arguments, so whoever calls the model notices nothing but the time.

Whether a model's layers have this form is tried, not read from its name: see `fused`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from selfalign.engines.cpu_linear import PackedLinear
from selfalign.engines.products import Precision, Product, product_of
from selfalign.errors import EngineError

# Layers have exactly these parameters, biases and norms of queries and keys apart.
WEIGHTS = frozenset(
    f"{name}.weight"
    for name in (
        "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
    )
)  # fmt: skip
OPTIONAL = frozenset(
    {"self_attn.q_norm.weight", "self_attn.k_norm.weight"} | {name.replace("weight", "bias") for name in WEIGHTS}
)
# Sums in another order differ in the last bits; anything beyond is another computation.
TOLERANCE = 1e-3
FEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Parts:
    """What a fused layer computes with; `Q` query heads share `K` key heads of size D.

    `cache_dtype` is the type that keys and values are kept and attended in, None for that of the model.
    """

    projections: Product
    output: Product
    gates: Product
    down: Product
    activation: Any
    query_heads: int
    key_heads: int
    size: int
    scaling: float
    query_norm: Any
    key_norm: Any
    cache_dtype: torch.dtype | None

    @staticmethod
    def of(layer: Any, precision: Precision) -> Parts:
        """The parts of a layer. Raises `EngineError`; see `product_of`."""
        attention, feed_forward = layer.self_attn, layer.mlp
        size = attention.head_dim
        return Parts(
            projections=product_of(attention.q_proj, attention.k_proj, attention.v_proj, precision=precision),
            output=product_of(attention.o_proj, precision=precision),
            gates=product_of(feed_forward.gate_proj, feed_forward.up_proj, precision=precision),
            down=product_of(feed_forward.down_proj, precision=precision),
            activation=feed_forward.act_fn,
            query_heads=attention.q_proj.out_features // size,
            key_heads=attention.k_proj.out_features // size,
            size=size,
            scaling=attention.scaling,
            query_norm=getattr(attention, "q_norm", None),
            key_norm=getattr(attention, "k_norm", None),
            cache_dtype=torch.bfloat16 if precision == "bfloat16" else None,
        )


@contextmanager
def one_thread(tokens: int) -> Iterator[None]:
    """Have what is computed here for so many tokens use one thread, if they are few.

    Threads that sleep between operations (see `cli`) take a tenth of a millisecond to wake: longer than a norm of 64
    rows takes. Products and attention are worth it.
    """
    threads = torch.get_num_threads()
    if tokens > FEW_TOKENS or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def run_fused(
    layer: Any,
    hidden_states: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    past_key_values: Any = None,
    use_cache: bool | None = False,
    position_embeddings: Any = None,
    **_: Any,
) -> torch.Tensor:
    """A layer's `forward`: `hidden_states` [N, T, H] → [N, T, H]; the mask as transformers makes it for sdpa."""
    parts: Parts = layer.fused_parts
    rows, tokens = hidden_states.shape[:2]
    with one_thread(rows * tokens):
        states = normed(layer.input_layernorm, hidden_states)
    states = parts.projections(states).view(rows, tokens, -1, parts.size)
    with one_thread(rows * tokens):
        query, key, value = placed(parts, states, position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, layer.self_attn.layer_idx)
    seen = attended(query, key, value, attention_mask, parts).reshape(rows, tokens, -1)
    after_attention = parts.output.added(seen, hidden_states)
    with one_thread(rows * tokens):
        states = normed(layer.post_attention_layernorm, after_attention)
    states = parts.gates.in_own_type(states)
    with one_thread(rows * tokens):
        gate, up = states.chunk(2, dim=-1)
        states = parts.activation(gate).mul_(up)
    return parts.down.added(states, after_attention)


def placed(
    parts: Parts, states_NTHD: torch.Tensor, position_embeddings: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values, each [N, its heads, T, D], the first two with their positions."""
    both = parts.query_heads + parts.key_heads
    turning, value = states_NTHD[:, :, :both], states_NTHD[:, :, both:]
    if parts.query_norm is not None:
        query, key = turning[:, :, : parts.query_heads], turning[:, :, parts.query_heads :]
        turning = torch.cat((normed(parts.query_norm, query), normed(parts.key_norm, key)), dim=2)
    turned = rotated(turning, *position_embeddings)
    if parts.cache_dtype is not None:
        turned, value = turned.to(parts.cache_dtype), value.to(parts.cache_dtype)
    query, key = turned[:, :, : parts.query_heads], turned[:, :, parts.query_heads :]
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def normed(norm: Any, states: torch.Tensor) -> torch.Tensor:
    """RMS norm over the last dimension."""
    return nn.functional.rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)


def rotated(states_NTHD: torch.Tensor, cosine_NTD: torch.Tensor, sine_NTD: torch.Tensor) -> torch.Tensor:
    """Rotary positions, halves of a head turned against each other; the two halves of the tables are equal."""
    half = states_NTHD.shape[-1] // 2
    cosine, sine = cosine_NTD[:, :, None, :half], sine_NTD[:, :, None, :half]
    first, second = states_NTHD[..., :half], states_NTHD[..., half:]
    turned = torch.empty_like(states_NTHD, memory_format=torch.contiguous_format)
    torch.mul(first, cosine, out=turned[..., :half]).addcmul_(second, sine, value=-1)
    torch.mul(second, cosine, out=turned[..., half:]).addcmul_(first, sine)
    return turned


def attended(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, parts: Parts
) -> torch.Tensor:
    """Attention, [N, T, Q, D]: one new token's query heads read their key heads as so many tokens, without copies."""
    rows, _, tokens, size = query.shape
    share = parts.query_heads // parts.key_heads
    attention = nn.functional.scaled_dot_product_attention
    if tokens == 1:
        query = query.reshape(rows, parts.key_heads, share, size)
        return attention(query, key, value, attn_mask=mask, scale=parts.scaling)
    if share > 1:
        key, value = key.repeat_interleave(share, dim=1), value.repeat_interleave(share, dim=1)
    seen = attention(query, key, value, attn_mask=mask, is_causal=mask is None, scale=parts.scaling)
    return seen.transpose(1, 2)


# ----------------------------------------------------------------------------------------------- trying


@torch.inference_mode()
def fused(model: Any, *, known: bool | None = None) -> bool:
    """Have a model's decoder layers run fused, if that computes the same; gives whether it does.

    Tried on a padded batch and on one more token after it, whose logits must agree with those of the library's layers;
    not tried where it is `known` of a model of the same form.
    """
    layers = getattr(model.base_model, "layers", ())
    if known is False or not layers or not all(map(looks_common, layers)):
        return False
    expected = [] if known else tried(model)
    own = [type(layer) for layer in layers]
    try:
        for layer in layers:
            layer.fused_parts = Parts.of(layer, "exact")
            layer.__class__ = type(f"Fused{type(layer).__name__}", (type(layer),), {"forward": run_fused})
        same = known or all(agree(one, other) for one, other in zip(tried(model), expected, strict=True))
    except (EngineError, AttributeError, RuntimeError, TypeError, ValueError):
        same = False
    if not same:
        for layer, kind in zip(layers, own, strict=True):
            layer.__class__ = kind
            layer.__dict__.pop("fused_parts", None)
    return same


def agree(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether logits are the same up to rounding, and say anything: those of weights that are all zero agree always."""
    close = torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE * float(other.abs().max()))
    return close and bool(other.std() > 0)


@torch.inference_mode()
def order_shows(model: Any) -> bool:
    """Whether the order of earlier tokens changes what a model says, by far more than two trials may differ.

    With very small weights attention is the same everywhere, and layers that place tokens in another way agree too.
    """
    size = int(model.get_input_embeddings().num_embeddings)
    ids_NT = ((torch.arange(24) * 7919 + 3) % size).repeat(2, 1)
    ids_NT[1, :23] = ids_NT[1, :23].flip(0)
    one, other = model(input_ids=ids_NT, use_cache=False).logits[:, -1]
    return bool((one - other).abs().max() > 20 * TOLERANCE * one.abs().max())


def looks_common(layer: Any) -> bool:
    """Whether a layer has the parameters of the common form and no others, and its projections are linear layers."""
    names = {name for name, _ in layer.named_parameters()}
    projections = [module for name, module in layer.named_modules() if name.endswith("_proj")]
    common = names >= WEIGHTS and names - WEIGHTS <= OPTIONAL
    return common and all(isinstance(module, nn.Linear) for module in projections)


def tried(model: Any) -> list[torch.Tensor]:
    """Logits after a batch of two rows, one of them padded on the left, and after one more token."""
    size = int(model.get_input_embeddings().num_embeddings)
    ids_NT = (torch.arange(24).view(2, 12) * 7919 + 3) % size
    seen_NT = torch.ones(2, 13, dtype=torch.long)
    seen_NT[1, :4] = 0
    place_NT = (seen_NT.cumsum(dim=-1) - 1).clamp(min=0)
    whole = model(input_ids=ids_NT, use_cache=False).logits
    first = model(input_ids=ids_NT, attention_mask=seen_NT[:, :12], position_ids=place_NT[:, :12], use_cache=True)
    second = model(
        input_ids=ids_NT[:, :1], attention_mask=seen_NT, position_ids=place_NT[:, 12:],
        past_key_values=first.past_key_values, use_cache=True,
    )  # fmt: skip
    return [whole, first.logits[:, 4:], second.logits]


# -------------------------------------------------------------------------------------------- precision


@contextmanager
def decoding(model: Any, precision: Precision) -> Iterator[None]:
    """Have a model compute in another precision here; its rounded weights are kept for the next time.

    Raises:
        EngineError: its layers are not fused, or this processor has no such products.
    """
    layers = list(getattr(model.base_model, "layers", ()))
    if precision == "exact":
        yield
        return
    if not all(hasattr(layer, "fused_parts") for layer in layers) or not layers:
        raise EngineError(
            f"sampling.precision {precision!r} needs a float32 model on a CPU, with layers of the common form (Llama, "
            "Mistral, Qwen and their like); set it to 'exact'"
        )
    head = model.get_output_embeddings()
    kept = model.__dict__.setdefault("lower_precisions", {})
    if precision not in kept:
        lower_head = product_of(head, precision=precision) if isinstance(head, PackedLinear) else None
        kept[precision] = [Parts.of(layer, precision) for layer in layers], lower_head
    lower, lower_head = kept[precision]
    exact = [layer.fused_parts for layer in layers]
    exact_head = head.product if lower_head is not None else None
    try:
        for layer, parts in zip(layers, lower, strict=True):
            layer.fused_parts = parts
        if lower_head is not None:
            head.product = lower_head
        yield
    finally:
        for layer, parts in zip(layers, exact, strict=True):
            layer.fused_parts = parts
        if exact_head is not None:
            head.product = exact_head
