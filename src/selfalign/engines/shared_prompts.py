"""Sequences that answer one prompt: the prompt read once, each answer after it. For options and other many answers.

It knows token ids and caches; it does not know what the answers are for. Only where every layer is full attention: see
`growing_cache`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from selfalign.engines.growing_cache import growing_cache
from selfalign.engines.passes import padded
from selfalign.engines.prefix import Prefix, ReadOnceLayer, inputs_after, plainly
from selfalign.ports import Rendered

# Fewer answers, or shorter prompts, are not worth a pass of their own: answers of a pair are as long as their prompt.
WORTH_ANSWERS = 3
WORTH_TOKENS = 4


def sharing(model: Any, sequences: Sequence[Rendered]) -> tuple[list[list[int]], list[int]]:
    """The rows of sequences that answer one prompt, prompt by prompt, and the other rows."""
    _, plain = growing_cache(model.config)
    found: dict[tuple[int, ...], list[int]] = {}
    for row, sequence in enumerate(sequences):
        if plain and sequence.prompt_length > WORTH_TOKENS and all(sequence.attention):
            found.setdefault(sequence.ids[: sequence.prompt_length], []).append(row)
    groups = [rows for rows in found.values() if len(rows) >= WORTH_ANSWERS]
    taken = {row for rows in groups for row in rows}
    return groups, [row for row in range(len(sequences)) if row not in taken]


def answers(sequence: Rendered) -> Rendered:
    """A sequence from the last token of its prompt on, which is where its first answer token is predicted."""
    start = sequence.prompt_length - 1
    return Rendered(sequence.ids[start:], sequence.loss[start:], sequence.attention[start:])


def size_of(group: Sequence[Rendered]) -> int:
    """How many tokens the larger of two passes takes: that over the prompt, or that over its answers."""
    return max(group[0].prompt_length, len(group) * max(len(answers(sequence).ids) for sequence in group))


def inputs_after_prompts(
    model: Any, prefix: Prefix, groups: Sequence[Sequence[Rendered]]
) -> tuple[dict[str, Any], list[Rendered]]:
    """What a forward pass over the answers of several prompts takes, and the answers; reads the prompts for it.

    The sequences of a group have one prompt; all follow the common beginning of `prefix`.
    """
    prompts = [plainly(group[0].ids[: group[0].prompt_length - 1]) for group in groups]
    inputs = inputs_after(model, prefix, prompts, keep=True)
    model.base_model(**inputs)
    rest = [answers(sequence) for group in groups for sequence in group]
    of_prompt = [number for number, group in enumerate(groups) for _ in group]
    prompt_N = torch.tensor(of_prompt, device=model.device)
    start_N = torch.tensor([len(prefix.ids) + len(prompts[number].ids) for number in of_prompt], device=model.device)
    cache: Any
    cache, _ = growing_cache(model.config)
    cache.layers = [ReadOnceLayer(layer.keys, layer.values, prompt_N) for layer in inputs["past_key_values"].layers]
    after = padded(rest, model.device)
    return {
        "input_ids": after["input_ids"],
        "attention_mask": torch.cat([inputs["attention_mask"][prompt_N], after["attention_mask"]], dim=1),
        "position_ids": after["position_ids"] + start_N[:, None],
        "past_key_values": cache,
        "use_cache": True,
    }, rest
