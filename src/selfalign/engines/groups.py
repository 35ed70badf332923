"""Rows that are read and written side by side from first to last, for models whose layers know slots by number only.

A sliding window counts the slots of the cache, and a recurrent state has none; so prompts are padded on the left, all
rows stand at the same slot, and new rows come in when the last old one has left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from selfalign.engines.growing_cache import growing_cache
from selfalign.engines.prefix import context_of


class Group:
    """A batch for `decode`, padded on the left. `seen_NT` says which slots hold a row's tokens."""

    def __init__(self, model: Any, capacity: int) -> None:
        """An empty group of at most `capacity` rows."""
        self.model, self.capacity = model, capacity
        self.last_position = context_of(model) - 1
        self.rows: list[int] = []

    def room(self) -> int:
        """How many rows could be let in now."""
        return 0 if self.rows else self.capacity

    def admit(self, rows: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> None:
        """Read the prompts of all rows in one pass."""
        width, device = max(map(len, prompts)), self.model.device
        ids_NT = torch.zeros(len(rows), width, dtype=torch.long)
        seen_NT = torch.zeros(len(rows), width, dtype=torch.long)
        for place, ids in enumerate(prompts):
            ids_NT[place, width - len(ids) :] = torch.tensor(ids)
            seen_NT[place, width - len(ids) :] = 1
        self.cache: Any
        self.cache, _ = growing_cache(self.model.config)
        self.rows, self.seen_NT = list(rows), seen_NT.to(device)
        place_NT = (self.seen_NT.cumsum(dim=-1) - 1).clamp(min=0)
        self.place_N = place_NT[:, -1]
        self.read(ids_NT.to(device), place_NT)

    def step(self, token_N: torch.Tensor) -> None:
        """Read the token each row wrote; leaves the logits of the next."""
        self.seen_NT = torch.nn.functional.pad(self.seen_NT, (0, 1), value=1)
        self.place_N = (self.place_N + 1).clamp(max=self.last_position)
        self.read(token_N[:, None], self.place_N[:, None])

    def read(self, ids_NT: torch.Tensor, place_NT: torch.Tensor) -> None:
        """One forward pass."""
        self.logits_NV = self.model(
            input_ids=ids_NT,
            attention_mask=self.seen_NT,
            position_ids=place_NT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    def leave(self, stay: Sequence[int]) -> torch.Tensor:
        """Let all rows but those at the places `stay` go."""
        kept = torch.tensor(stay, dtype=torch.long, device=self.seen_NT.device)
        self.rows = [self.rows[place] for place in stay]
        if stay:
            self.cache.reorder_cache(kept)  # the one selection that recurrent layers know too
            self.seen_NT, self.place_N = self.seen_NT[kept], self.place_N[kept]
        return kept
