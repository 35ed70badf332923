"""A model answers prompts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

from selfalign.keys import seed_of
from selfalign.ports import LM
from selfalign.stage import Size, stage
from selfalign.types import Chat, Instruction, Item, Model, Rendering, Sampling, Table
from selfalign.work import advance, drop, in_shards, note, rows, serving

ROWS_PER_SHARD = 128


def answers_size(size: Callable[[Any], Size], *, prompts: Table[Any], sampling: Sampling, **_: Any) -> Size:
    """As many answers as prompts, each assumed as long as the limit allows."""
    given = size(prompts)
    written = given.rows * sampling.max_new_tokens
    return Size(given.rows, given.prompt_tokens, written, work_tokens=written)


@stage(version=2, needs="serve", expect=answers_size)
def generate(
    model: Model,
    prompts: Table[Chat] | Table[Instruction] | Table[Item],
    *,
    sampling: Sampling,
    rendering: Rendering,
    seed: int,
    overlong: Literal["cut", "drop"] = "cut",
) -> Iterator[Chat]:
    """One answer for each prompt, same order, same ids; an answer cut by the limit is marked unfinished.

    A prompt too long for `rendering.max_length` or the model's context loses its beginning, and how many do is noted;
    with `overlong` "drop" such rows are dropped. SPIN, Algorithm 1: y' ~ p_t(. | x). Row i draws from a stream derived
    from (seed, its id), so neither shard nor batch nor restart changes which draws it gets.
    """
    given: Table[Any] = prompts
    asked = [Chat(id=row.id, prompt=row.prompt, answer=getattr(row, "answer", None)) for row in rows(given)]
    with serving(model) as lm:
        limit = length_limit(lm, asked, sampling, rendering)
        capped = replace(sampling, max_new_tokens=limit)

        def answer(shard: list[Chat]) -> Iterable[Chat]:
            if overlong == "drop":
                shard = whole(lm, shard, rendering)
            seeds = [seed_of(seed, chat.id) for chat in shard]
            made = lm.generate(shard, sampling=capped, rendering=rendering, seeds=seeds, advance=advance)
            for chat, continuation in zip(shard, made, strict=True):
                text = continuation.text.lstrip() if sampling.trim == "left" else continuation.text
                yield replace(chat, answer=text, finished=continuation.finished)

        yield from in_shards(asked, answer, size=ROWS_PER_SHARD)
        cut = sum(room < 0 for room in lm.prompt_room(asked, rendering=rendering))
    note("max_new_tokens", limit)
    note("prompts_cut" if overlong == "cut" else "prompts_too_long", cut)


def whole(lm: LM, chats: list[Chat], rendering: Rendering) -> list[Chat]:
    """The chats whose prompts the model can read whole; the others are dropped."""
    kept = []
    for chat, room in zip(chats, lm.prompt_room(chats, rendering=rendering), strict=True):
        if room >= 0:
            kept.append(chat)
        else:
            drop(chat.id, f"the prompt is too long: {-room:,} tokens more than the model can be shown")
            advance(rows=1)
    return kept


def length_limit(lm: LM, chats: list[Chat], sampling: Sampling, rendering: Rendering) -> int:
    """The token limit: as set, or the percentile of the human answers' lengths (nearest rank), whichever is less."""
    answered = [chat for chat in chats if chat.answer is not None]
    if sampling.length_percentile is None or not answered:
        return sampling.max_new_tokens
    lengths = sorted(lm.answer_lengths(answered, rendering=rendering))
    rank = math.ceil(sampling.length_percentile / 100 * len(lengths))
    return min(sampling.max_new_tokens, lengths[max(0, rank - 1)])
