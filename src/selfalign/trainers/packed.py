"""Sequences side by side in one row, without padding: the layout and the attention that keeps them apart.

A micro-batch of mixed lengths is padded to its longest sequence otherwise, a third of it wasted. Here all matrix
products see real tokens only, and attention runs over each sequence on its own. Knows no objective and no optimiser.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

ATTENTION = "selfalign_packed"
KNOWN_LAYERS = {"full_attention", "sliding_attention"}
# What some architectures ask of attention beyond scores and a mask; anything else they ask for is harmless or None
CHANGES_SCORES = ("softcap", "s_aux", "sinks", "position_bias", "head_mask", "alibi")


def can_pack(model: Any) -> bool:
    """Whether an architecture lets attention be replaced and has nothing else that mixes positions.

    A caller still compares both layouts once (`forward.layout_of`): this only rules out what such a comparison on a
    few tokens cannot see, like attention in chunks, or layers with a running state.
    """
    config = model.config.get_text_config()
    layers = set(getattr(config, "layer_types", None) or KNOWN_LAYERS)
    chunked = getattr(config, "attention_chunk_size", None) is not None
    return bool(getattr(model, "_supports_attention_backend", False)) and layers <= KNOWN_LAYERS and not chunked


def use_packed_attention(model: Any) -> None:
    """Have every layer of the model attend with `attend_within_sequences`."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, attend_within_sequences)
    model.set_attn_implementation(ATTENTION)


def attend_within_sequences(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    lengths: tuple[int, ...] = (),
    hidden: Tensor | None = None,
    **named: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each sequence over itself (Transformers' attention interface).

    Args:
        module: the attention layer that asks (unused: everything needed is in the arguments).
        query: 1 × heads × M × head size; M is the sum of the lengths.
        key: the same with the key-value heads, like `value`.
        value: see `key`.
        attention_mask: None always: Transformers builds no mask for an attention function it does not know.
        scaling: the factor on scores; None is 1/√(head size).
        sliding_window: how far back a token sees, for layers that have a window.
        lengths: tokens of each sequence.
        hidden: bool of shape M, True at tokens no query may see; None when there are none.
        **named: what else an architecture passes; refused if it changes scores.
    """
    asked = [name for name in CHANGES_SCORES if named.get(name) is not None]
    if asked or attention_mask is not None:
        raise NotImplementedError(f"packed attention does not know {asked or 'masks'}")
    parts = []
    for start, end in pairwise(accumulate(lengths or (query.shape[2],), initial=0)):
        visible_TT = visibility(end - start, None if hidden is None else hidden[start:end], window=sliding_window)
        part = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, start:end],
            key[:, :, start:end],
            value[:, :, start:end],
            attn_mask=None if visible_TT is None else visible_TT.to(query.device),
            is_causal=visible_TT is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        parts.append(part.transpose(1, 2))
    return torch.cat(parts, dim=1), None


def visibility(length: int, hidden_T: Tensor | None, *, window: int | None) -> Tensor | None:
    """Which tokens (columns) each token (row) sees, bool T × T; None when plain causal attention says it all."""
    some_hidden = hidden_T is not None and bool(hidden_T.any())
    windowed = window is not None and length > window
    if not some_hidden and not windowed:
        return None
    positions = torch.arange(length)
    back_TT = positions[:, None] - positions[None, :]
    visible_TT = back_TT >= 0
    if windowed and window is not None:
        visible_TT &= back_TT < window
    if some_hidden and hidden_T is not None:
        visible_TT &= ~hidden_T.cpu()[None, :]
        blind_T = ~visible_TT.any(dim=1)  # a first token that is hidden: a row that sees nothing has no softmax
        visible_TT[blind_T, blind_T] = True
    return visible_TT
