"""From a micro-batch to the log-probabilities of its answer tokens, with a Transformers model.

Only answer positions go through the language-model head. Knows no objective, optimiser or method.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from selfalign.errors import EngineError
from selfalign.trainers.batches import MicroBatch
from selfalign.trainers.losses import answer_log_probabilities


def micro_batch_log_probabilities(model: Any, batch: MicroBatch) -> Tensor:
    """The log-probability of each answer token given all before it, float32 of shape N.

    `model` is a causal language model (adapters inside or not). Positions count from 0 in each sequence, hidden
    tokens included (`Rendered.attention` hides tokens, it does not shift the others).
    """
    hidden_MD = last_hidden(model, batch.tokens_ST, batch.attention_ST).flatten(0, 1)
    head = model.get_output_embeddings()
    hidden_ND = hidden_MD.index_select(0, batch.predictor_N)
    compute = torch.get_autocast_dtype(hidden_ND.device.type) if torch.is_autocast_enabled() else hidden_ND.dtype
    return answer_log_probabilities(
        hidden_ND.to(compute), head.weight.to(compute), targets_N=batch.targets_N, bias_V=getattr(head, "bias", None)
    )


def last_hidden(model: Any, tokens_ST: Tensor, attention_ST: Tensor) -> Tensor:
    """The normalised hidden states after the last layer, shape S × T × D.

    Padding stands on the right, so causal attention alone keeps it out of sight of every real token: a mask is only
    passed when the rendering hides tokens in between, and otherwise attention takes its fast, mask-free path.
    """
    decoder = model.base_model
    arguments: dict[str, Any] = {"input_ids": tokens_ST, "use_cache": False}
    if hides_tokens(attention_ST):
        arguments["attention_mask"] = attention_ST.long()
    if "position_ids" in inspect.signature(decoder.forward).parameters:
        positions = torch.arange(tokens_ST.shape[1], device=tokens_ST.device)
        arguments["position_ids"] = positions[None].expand_as(tokens_ST)
    hidden_STD: Tensor = decoder(**arguments).last_hidden_state
    return hidden_STD


def hides_tokens(attention_ST: Tensor) -> bool:
    """Whether some token before a sequence's last one is hidden (padding after the last one does not count)."""
    return bool((attention_ST[:, 1:] & ~attention_ST[:, :-1]).any())


@torch.no_grad()
def check_head(model: Any, tokens: tuple[int, ...]) -> None:
    """Make sure that `get_output_embeddings` is all there is between hidden states and logits.

    Raises:
        EngineError: the architecture scales or caps its logits afterwards; training on others would be silently wrong.
    """
    tokens_1T = torch.tensor([tokens], device=model.device)
    head = model.get_output_embeddings()
    if head is None:
        raise EngineError(f"{type(model).__name__} has no language-model head to train with; use the trainer 'trl'")
    hidden = last_hidden(model, tokens_1T, torch.ones_like(tokens_1T, dtype=torch.bool))[0, -1]
    ours = hidden @ head.weight.T + (0.0 if getattr(head, "bias", None) is None else head.bias)
    theirs = model(input_ids=tokens_1T, use_cache=False).logits[0, -1]
    if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
        raise EngineError(
            f"{type(model).__name__} changes its logits after the language-model head (scaling or capping), "
            "which this trainer does not do; use the trainer 'trl' for this architecture"
        )
