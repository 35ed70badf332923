"""Forward passes: which rows one takes, what it is given, and where logits are computed. Token ids only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from selfalign.ports import Rendered

HEAD_ROWS = 256
# On a CPU larger passes are no faster, and progress would be seen more rarely than once a second.
CPU_TOKENS_AT_ONCE = 1024


def pass_limit(model: Any, tokens_at_once: int) -> int:
    """How many tokens a forward pass takes."""
    return min(tokens_at_once, CPU_TOKENS_AT_ONCE) if model.device.type == "cpu" else tokens_at_once


def distinct(sequences: Sequence[Rendered]) -> tuple[list[Rendered], list[list[int]]]:
    """The different ones among sequences, and for each the rows that are equal to it."""
    rows: dict[Rendered, list[int]] = {}
    for row, sequence in enumerate(sequences):
        rows.setdefault(sequence, []).append(row)
    return list(rows), list(rows.values())


def batches(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Rows sorted by length, in groups whose padded size stays within `limit` tokens (one row may exceed it)."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if group and (len(group) + 1) * lengths[row] > limit:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def padded(batch: Sequence[Rendered], device: torch.device) -> dict[str, Any]:
    """What a forward pass over right-padded sequences takes."""
    rows, width = len(batch), max(len(sequence.ids) for sequence in batch)
    ids_NT = torch.zeros(rows, width, dtype=torch.long)
    seen_NT = torch.zeros(rows, width, dtype=torch.long)
    for row, sequence in enumerate(batch):
        length = len(sequence.ids)
        ids_NT[row, :length] = torch.tensor(sequence.ids)
        seen_NT[row, :length] = torch.tensor(sequence.attention)
    return {
        "input_ids": ids_NT.to(device),
        "attention_mask": seen_NT.to(device),
        "position_ids": torch.arange(width, device=device).expand(rows, width),
        "use_cache": False,
    }


def logit_chunks(
    model: Any, inputs: dict[str, Any], row_A: torch.Tensor, from_A: torch.Tensor, *, plain_head: bool
) -> Iterator[torch.Tensor]:
    """The logits at place `from_A` of row `row_A` in float32, `HEAD_ROWS` places at a time: [at most HEAD_ROWS, V]."""
    if plain_head:
        states_AD = model.base_model(**inputs).last_hidden_state[row_A, from_A]
        head = model.get_output_embeddings()
    else:
        # the model's own head, at the places that some row is asked for
        first = int(from_A.min())
        states_AD = model(
            **inputs, logits_to_keep=torch.arange(first, int(from_A.max()) + 1, device=model.device)
        ).logits
        states_AD = states_AD[row_A, from_A - first]
        head = torch.nn.Identity()
    for some_AD in torch.split(states_AD, HEAD_ROWS):
        yield head(some_AD).float()
