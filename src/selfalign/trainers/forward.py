"""From a micro-batch to the log-probabilities of its answer tokens, with a Transformers model.

Only answer positions go through the language-model head. Knows no objective, optimiser or method.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from selfalign.errors import EngineError
from selfalign.ports import AnswerExample, Rendered
from selfalign.trainers.batches import Layout, MicroBatch, collate
from selfalign.trainers.losses import answer_log_probabilities
from selfalign.trainers.packed import can_pack, use_packed_attention


def micro_batch_log_probabilities(model: Any, batch: MicroBatch) -> Tensor:
    """The log-probability of each answer token given all before it, float32 of shape N.

    `model` is a causal language model (adapters inside or not). Positions count from 0 in each sequence, hidden
    tokens included (`Rendered.attention` hides tokens, it does not shift the others).
    """
    hidden_ND = predictor_states(model, batch)
    head = model.get_output_embeddings()
    compute = torch.get_autocast_dtype(hidden_ND.device.type) if torch.is_autocast_enabled() else hidden_ND.dtype
    return answer_log_probabilities(
        hidden_ND.to(compute), head.weight.to(compute), targets_N=batch.targets_N, bias_V=getattr(head, "bias", None)
    )


def predictor_states(model: Any, batch: MicroBatch) -> Tensor:
    """The normalised hidden states after the last layer at the position before each answer token, shape N × D.

    Padding stands on the right, so causal attention alone keeps it out of sight of every real token: a mask is only
    passed when the rendering hides tokens in between, and otherwise attention takes its fast, mask-free path.
    """
    decoder = model.base_model
    arguments: dict[str, Any] = {"input_ids": batch.tokens_RT, "use_cache": False}
    if "position_ids" in inspect.signature(decoder.forward).parameters:
        arguments["position_ids"] = batch.positions_RT
    if batch.layout == "packed":
        arguments["lengths"] = batch.lengths
        if not batch.attention_RT.all():
            arguments["hidden"] = ~batch.attention_RT[0]
    elif hides_tokens(batch.attention_RT):
        arguments["attention_mask"] = batch.attention_RT.long()
    hidden_RTD: Tensor = decoder(**arguments).last_hidden_state
    return hidden_RTD.flatten(0, 1).index_select(0, batch.predictor_N)


def hides_tokens(attention_RT: Tensor) -> bool:
    """Whether some token before a sequence's last one is hidden (padding after the last one does not count)."""
    return bool((attention_RT[:, 1:] & ~attention_RT[:, :-1]).any())


def trial(tokens: tuple[int, ...], *, layout: Layout) -> MicroBatch:
    """Two short sequences of different lengths, the longer one with a hidden token, all tokens answer tokens."""
    sequences = [
        Rendered(
            ids=ids, loss=(True,) * len(ids), attention=tuple(index != 1 or len(ids) < 4 for index in range(len(ids)))
        )
        for ids in (tokens, tokens[: max(2, len(tokens) // 2)])
    ]
    return collate([AnswerExample("", sequence) for sequence in sequences], padding_id=0, layout=layout)


@torch.no_grad()
def check_head(model: Any, tokens: tuple[int, ...]) -> None:
    """Make sure that `get_output_embeddings` is all there is between hidden states and logits.

    Raises:
        EngineError: the architecture scales or caps its logits afterwards; training on others would be silently wrong.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise EngineError(f"{type(model).__name__} has no language-model head to train with; use the trainer 'trl'")
    plain = Rendered(ids=tokens, loss=(True,) * len(tokens), attention=(True,) * len(tokens))
    batch = collate([AnswerExample("", plain)], padding_id=0).to(model.device)
    ours = predictor_states(model, batch) @ head.weight.T + (0.0 if getattr(head, "bias", None) is None else head.bias)
    theirs = model(input_ids=batch.tokens_RT, use_cache=False).logits[0, :-1]
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
        raise EngineError(
            f"{type(model).__name__} changes its logits after the language-model head (scaling or capping), "
            "which this trainer does not do; use the trainer 'trl' for this architecture"
        )


@torch.no_grad()
def layout_of(model: Any, tokens: tuple[int, ...]) -> Layout:
    """`packed` where it saves work and gives the same hidden states, else `padded`; sets the model's attention so.

    On a GPU many short attention calls cost more than the padding they save, so there it is `padded`.
    """
    if model.device.type != "cpu" or not can_pack(model):
        return "padded"
    plain = model.config._attn_implementation
    expected = predictor_states(model, trial(tokens, layout="padded"))
    use_packed_attention(model)
    try:
        found = predictor_states(model, trial(tokens, layout="packed"))
    except (NotImplementedError, TypeError):
        found = torch.full_like(expected, torch.nan)
    if torch.allclose(expected, found, rtol=1e-3, atol=1e-4):
        return "packed"
    model.set_attn_implementation(plain)
    return "padded"
