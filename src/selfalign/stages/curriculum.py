"""In which order prompts are learned from: split over rounds by chance, or from easy to hard (SOFT+, 2402.07610)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from selfalign.errors import RecipeError
from selfalign.keys import seed_of
from selfalign.stage import Size, stage
from selfalign.types import Chat, Instruction, Score, Table
from selfalign.work import drop, note, rows


def bare_size(size: Callable[[Any], Size], *, prompts: Table[Chat | Instruction]) -> Size:
    """The same prompts."""
    given = size(prompts)
    return Size(given.rows, given.prompt_tokens)


@stage(version=1, needs="driver", expect=bare_size)
def bare_prompts(prompts: Table[Chat | Instruction]) -> Iterator[Chat]:
    """The prompts without the answers some files have: a model that answers them itself is shown none."""
    for row in rows(prompts):
        yield Chat(id=row.id, prompt=row.prompt)


def part_size(size: Callable[[Any], Size], *, prompts: Table[Chat], of: int, **_: Any) -> Size:
    """An equal share of the prompts.

    Raises:
        RecipeError: there are fewer prompts than parts; so a plan says it before anything is computed.
    """
    given = size(prompts)
    if given.rows < of:
        raise RecipeError(
            f"{given.rows} prompts cannot be split over {of} rounds (method.parts): give more prompts or ask for fewer"
        )
    share = -(-given.rows // of)
    return Size(share, given.prompt_tokens * share // given.rows)


@stage(version=1, needs="driver", expect=part_size)
def part_of(
    prompts: Table[Chat], difficulties: tuple[Table[Score], ...], *, number: int, of: int, clipped: float, seed: int
) -> Iterator[Chat]:
    """Part `number` (from 0) of `of` disjoint, equal parts of the prompts: of a shuffle, or from easy to hard.

    With difficulties the first part is the easiest, and each part goes from easy to hard; the `clipped` share with the
    lowest scores is degenerate (short repetitive answers have the lowest perplexity) and dropped, as long as every part
    keeps a prompt. Prompts without a score come last: nobody could answer them. A shuffle depends on the seed and the
    ids alone.
    """
    given = list(rows(prompts))
    if difficulties:
        value_of = {one.id: one.value for one in rows(difficulties[0])}
        values = {chat.id: value for chat in given if (value := value_of.get(chat.id)) is not None}
        ranked = sorted(values, key=lambda row_id: values[row_id])
        degenerate = ranked[: max(0, min(math.floor(clipped * len(ranked)), len(given) - of))]
        for row_id in degenerate:
            drop(row_id, f"degenerate: its difficulty {values[row_id]:.3g} is among the lowest {100 * clipped:g} %")
        lost = set(degenerate)
        kept = [chat for chat in given if chat.id not in lost]
        order = sorted(kept, key=lambda chat: values.get(chat.id, math.inf))
        note("without_difficulty", len(given) - len(values))
    else:
        order = sorted(given, key=lambda chat: seed_of(seed, "part", chat.id))
    yield from order[len(order) * number // of : len(order) * (number + 1) // of]
