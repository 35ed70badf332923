"""Keys and values of past tokens, in buffers that grow now and then instead of being copied at every step."""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

SPARE_TOKENS = 64
LARGE_PAGE = 2 << 20


class GrowingLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # the library's class hook has no annotations
    """A full-attention layer's cache: `keys` and `values` [N, heads, T, D] are views of larger buffers."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states of new tokens; gives all states so far."""
        past = self.get_seq_length()
        total = past + key_states.shape[-2]
        if past == 0:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self.room_keys, self.room_values = with_room(key_states, total), with_room(value_states, total)
        elif total > self.room_keys.shape[-2]:
            self.room_keys = with_room(self.room_keys[:, :, :past], total)
            self.room_values = with_room(self.room_values[:, :, :past], total)
        self.room_keys[:, :, past:total] = key_states
        self.room_values[:, :, past:total] = value_states
        return self.show(total)

    def show(self, total: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Make the first `total` tokens of the buffers the layer's keys and values."""
        self.keys, self.values = self.room_keys[:, :, :total], self.room_values[:, :, :total]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep only the rows `beam_idx`, in that order."""
        if total := self.get_seq_length():
            self.room_keys, self.room_values = self.room_keys[beam_idx], self.room_values[beam_idx]
            self.show(total)


def with_room(states: torch.Tensor, total: int) -> torch.Tensor:
    """A buffer for `total` tokens and some more, that begins with `states`. The rest is zero: unseen is not unread."""
    rows, heads, tokens, size = states.shape
    room = zeroed(states, (rows, heads, total + total // 4 + SPARE_TOKENS, size))
    room[:, :, :tokens] = states
    return room


def zeroed(like: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """Zeros of a tensor's kind and another shape.

    On a CPU they come as large pages from the system, which gives them out as zeros: to touch a gigabyte in small ones
    first takes a second. Buffers made one after another share pages, if none of them is written to before the last.
    """
    size = math.prod(shape) * like.element_size()
    if like.device.type != "cpu" or size < LARGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return like.new_zeros(shape)
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:  # torch says better that there is not enough memory, and may still have some
        return like.new_zeros(shape)
    with suppress(OSError):  # a kernel without large pages
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=like.dtype).view(shape)


def growing_cache(config: Any) -> tuple[DynamicCache, bool]:
    """An empty cache for a model, and whether every layer of it is full attention.

    Only then may a prompt be fed in pieces with padding between them: a sliding window counts cache slots, and a
    recurrent state has no slots at all. Such layers keep transformers' own cache.
    """
    cache = DynamicCache(config=config)
    plain = bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)
    growing: Any = GrowingLayer
    cache.layers = [growing() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache, plain
