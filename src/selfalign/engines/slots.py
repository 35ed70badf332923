"""Rows that are written together, each in a slot of its own: any row may end, and another take its place, at any step.

For models whose layers are all full attention. A slot holds a row's keys and values from its first token on, so rows of
different lengths stand side by side without padding between a row's tokens; what lies behind a row's last token is
unseen and overwritten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from selfalign.engines.growing_cache import with_room
from selfalign.engines.passes import batches, logit_chunks, pass_limit
from selfalign.engines.prefix import Prefix, context_of, inputs_after, plainly


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # the library's class hook has no annotations
    """One layer's cache: `room_keys` and `room_values` [slots, heads, room, D], of which a step sees the first part."""

    def __init__(self, slots: Slots) -> None:
        """The layer of these slots; its buffers are made by the first rows."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.slots = slots
        self.room_keys = self.room_values = torch.empty(0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the states [N, heads, 1, D] of the rows' newest tokens where they belong; gives all states so far."""
        slots = self.slots
        rows, width = len(slots.rows), slots.width
        self.room_keys[slots.numbers_N, :, slots.place_N] = key_states[:, :, 0]
        self.room_values[slots.numbers_N, :, slots.place_N] = value_states[:, :, 0]
        return self.room_keys[:rows, :, :width], self.room_values[:rows, :, :width]

    def get_seq_length(self) -> int:
        """How many tokens stood before the newest, in the longest row."""
        return self.slots.width - 1

    def begin(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Make empty slots for states like these, unless there are some."""
        if self.room_keys.dim() == 1:
            slots = self.slots.capacity
            self.room_keys = keys.new_empty(slots, keys.shape[1], 0, keys.shape[3])
            self.room_values = values.new_empty(slots, values.shape[1], 0, values.shape[3])

    def put(self, start: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Fill slots from `start` on with the states [N, heads, T, D] of new rows; they must have room."""
        rows, tokens = keys.shape[0], keys.shape[2]
        self.room_keys[start : start + rows, :, :tokens] = keys
        self.room_values[start : start + rows, :, :tokens] = values

    def make_room(self, tokens: int) -> None:
        """See to it that so many tokens fit into every slot."""
        if tokens > self.room_keys.shape[2]:
            self.room_keys, self.room_values = with_room(self.room_keys, tokens), with_room(self.room_values, tokens)

    def move(self, source_M: torch.Tensor, target_M: torch.Tensor, width: int) -> None:
        """Copy slots onto others."""
        self.room_keys[target_M, :, :width] = self.room_keys[source_M, :, :width]
        self.room_values[target_M, :, :width] = self.room_values[source_M, :, :width]


class Slots:
    """A batch for `decode`. The first slots are those of `rows`; `place_N` is where each row's newest token stands."""

    def __init__(self, model: Any, prefix: Prefix, capacity: int, *, tokens_at_once: int, plain_head: bool) -> None:
        """Empty slots, for prompts that all begin with the prefix."""
        self.model, self.capacity, self.plain_head = model, capacity, plain_head
        self.last_position = context_of(model) - 1
        self.tokens_at_once = tokens_at_once
        self.prefix = prefix
        self.cache = DynamicCache(config=model.config)
        self.layers = [SlotLayer(self) for _ in self.cache.layers]
        self.cache.layers = list(self.layers)
        self.rows: list[int] = []
        self.width = 0
        self.place_N = self.numbers_N = torch.zeros(0, dtype=torch.long, device=model.device)
        self.logits_NV = torch.empty(0)

    def room(self) -> int:
        """How many rows could be let in now."""
        return self.capacity - len(self.rows)

    def admit(self, rows: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> None:
        """Read the prompts of new rows, those of like length together, and put the rows at the end."""
        rest = [ids[len(self.prefix.ids) :] for ids in prompts]
        for group in batches([len(ids) for ids in rest], pass_limit(self.model, self.tokens_at_once)):
            self.read([rest[number] for number in group])
            self.rows.extend(rows[number] for number in group)
        self.place_N = self.place_N.clamp(max=self.last_position)
        self.numbers_N = torch.arange(len(self.rows), device=self.model.device)

    def read(self, rest: Sequence[tuple[int, ...]]) -> None:
        """One forward pass over prompts that follow the common beginning."""
        inputs = inputs_after(self.model, self.prefix, [plainly(ids) for ids in rest], keep=True)
        row_N = torch.arange(len(rest), device=self.model.device)
        last_N = torch.tensor([len(ids) - 1 for ids in rest], device=self.model.device)
        logits_NV = torch.cat(list(logit_chunks(self.model, inputs, row_N, last_N, plain_head=self.plain_head)))
        place_N = last_N + len(self.prefix.ids)
        self.width = max(self.width, int(place_N.max()) + 1)
        read = list(zip(self.layers, inputs["past_key_values"].layers, strict=True))
        for layer, new in read:  # all buffers before the first is written to: see `zeroed`
            layer.begin(new.keys, new.values)
            layer.make_room(self.width + 1)
        for layer, new in read:
            layer.put(len(self.place_N), new.keys, new.values)
        self.place_N = torch.cat([self.place_N, place_N])
        self.logits_NV = torch.cat([self.logits_NV.to(logits_NV), logits_NV]) if self.rows else logits_NV

    def step(self, token_N: torch.Tensor) -> None:
        """Read the token each row wrote; leaves the logits of the next."""
        self.place_N = (self.place_N + 1).clamp(max=self.last_position)
        self.width = int(self.place_N.max()) + 1
        slot_T = torch.arange(self.width, device=self.model.device)
        for layer in self.layers:
            layer.make_room(self.width)
        self.logits_NV = self.model(
            input_ids=token_N[:, None],
            attention_mask=(slot_T <= self.place_N[:, None]).long(),
            position_ids=self.place_N[:, None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def leave(self, stay: Sequence[int]) -> torch.Tensor:
        """Let all rows but those at the places `stay` go: the last rows move into the slots that become free."""
        free = sorted(set(range(len(stay))) - set(stay))
        moved = [place for place in stay if place >= len(stay)]
        order = list(range(len(stay)))
        for target, source in zip(free, moved, strict=True):
            order[target] = source
        if moved:
            source_M, target_M = (torch.tensor(some, device=self.model.device) for some in (moved, free))
            for layer in self.layers:
                layer.move(source_M, target_M, self.width)
        kept = torch.tensor(order, dtype=torch.long, device=self.model.device)
        self.rows = [self.rows[place] for place in order]
        self.place_N, self.numbers_N = self.place_N[kept], self.numbers_N[: len(order)]
        return kept
