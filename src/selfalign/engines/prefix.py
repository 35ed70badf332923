"""What many sequences begin with, read once: rubrics, system messages, few-shot examples, chat templates.

It knows token ids and caches; it does not know what is asked after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import DynamicLayer

from selfalign.engines.growing_cache import growing_cache
from selfalign.engines.passes import padded
from selfalign.ports import Rendered

# A shorter common beginning is not worth a pass of its own.
PREFIX_WORTH_TOKENS = 8

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Prefix:
    """Tokens that all rows begin with, and each layer's keys and values [1, heads, T, D] for them."""

    ids: Ids
    states: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()


def common_prefix(model: Any, sequences: Sequence[Ids], places: Sequence[int], tokens_at_once: int) -> Prefix:
    """What all sequences begin with before the first place (index) of interest, read once; nothing if it saves little.

    Only where every layer is full attention: see `growing_cache`.
    """
    cache: Any
    cache, plain = growing_cache(model.config)
    length = min(shared_length(sequences), min(places)) if len(sequences) > 1 and plain else 0
    if length < PREFIX_WORTH_TOKENS:
        return Prefix(())
    ids_NT = torch.tensor([sequences[0][:length]], device=model.device)
    for piece_NT in torch.split(ids_NT, tokens_at_once, dim=1):
        model.base_model(input_ids=piece_NT, past_key_values=cache, use_cache=True)
    return Prefix(sequences[0][:length], tuple((layer.keys, layer.values) for layer in cache.layers))


def plainly(ids: Ids) -> Rendered:
    """Tokens that all later ones may look at, none of them a target."""
    return Rendered(ids, (), (True,) * len(ids))


class ReadOnceLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # the library's class hook has no annotations
    """A layer's cache for one pass after what rows begin with, of which nothing is kept: states are used and let go."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, row_N: torch.Tensor | None = None) -> None:
        """The states [1, heads, T, D] of the common beginning, or of several [M, …], `row_N` saying which is whose."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self.is_initialized = keys, values, True
        self.beginning, self.row_N = (keys, values), row_N

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All states, for every row those of its beginning first."""
        before = (
            states.expand(len(key_states), -1, -1, -1) if self.row_N is None else states[self.row_N]
            for states in self.beginning
        )
        keys, values = (torch.cat(pair, dim=2) for pair in zip(before, (key_states, value_states), strict=True))
        return keys, values


def inputs_after(model: Any, prefix: Prefix, rest: Sequence[Rendered], *, keep: bool = False) -> dict[str, Any]:
    """What a forward pass over right-padded sequences takes, each following the common beginning.

    `keep`: the states are wanted afterwards, in the cache under `past_key_values`.
    """
    inputs = padded(rest, model.device)
    if not prefix.ids and not keep:
        return inputs
    cache: Any
    cache, _ = growing_cache(model.config)
    if not keep:
        cache.layers = [ReadOnceLayer(keys, values) for keys, values in prefix.states]
    elif prefix.ids:
        for layer, (keys, values) in zip(cache.layers, prefix.states, strict=True):
            layer.update(keys.expand(len(rest), -1, -1, -1), values.expand(len(rest), -1, -1, -1))
    before_NT = inputs["attention_mask"].new_ones(len(rest), len(prefix.ids))
    return {
        "input_ids": inputs["input_ids"],
        "attention_mask": torch.cat([before_NT, inputs["attention_mask"]], dim=1),
        "position_ids": inputs["position_ids"] + len(prefix.ids),
        "past_key_values": cache,
        "use_cache": True,
    }


def shared_length(sequences: Sequence[Ids]) -> int:
    """How many tokens sequences have in common at their beginning."""
    low, high = min(sequences), max(sequences)
    for place, (one, other) in enumerate(zip(low, high, strict=False)):
        if one != other:
            return place
    return min(len(low), len(high))


def context_of(model: Any) -> int:
    """How many tokens a model reads at most; a model that does not say reads any number."""
    return getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None) or 1 << 62
