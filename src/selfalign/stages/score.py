"""How likely a model finds given answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from selfalign.stage import Size, stage
from selfalign.types import AnswerScore, Chat, Model, Pair, PairScore, Rendering, Table
from selfalign.work import advance, in_shards, rows, serving

ROWS_PER_SHARD = 512


def chats_size(size: Callable[[Any], Size], *, chats: Table[Chat], **_: Any) -> Size:
    """One score a chat; prompt and answer pass through the model once."""
    given = size(chats)
    return Size(given.rows, work_tokens=given.prompt_tokens + given.answer_tokens)


@stage(version=2, needs="serve", expect=chats_size)
def score_answers(model: Model, chats: Table[Chat], *, rendering: Rendering) -> Iterator[AnswerScore]:
    """The log-probability (nats, summed over answer tokens, fp32) of each chat's answer; same order, same ids."""
    with serving(model) as lm:

        def score(shard: list[Chat]) -> Iterable[AnswerScore]:
            for (scored,) in lm.logprob([(chat,) for chat in shard], rendering=rendering, advance=advance):
                yield scored

        yield from in_shards(rows(chats), score, size=ROWS_PER_SHARD)


def pairs_size(size: Callable[[Any], Size], *, pairs: Table[Pair], **_: Any) -> Size:
    """One score a pair; both its sequences pass through the model once."""
    given = size(pairs)
    return Size(given.rows, work_tokens=given.prompt_tokens + given.answer_tokens)


@stage(version=2, needs="serve", expect=pairs_size)
def score_pairs(model: Model, pairs: Table[Pair], *, rendering: Rendering) -> Iterator[PairScore]:
    """What a frozen reference gives both sides of each pair (log p_t in eq. 4.5); same order, same ids.

    Computed once and remembered, so that no reference model is resident while another one trains.
    """
    with serving(model) as lm:

        def score(shard: list[Pair]) -> Iterable[PairScore]:
            groups = [one.sides() for one in shard]
            for one, (chosen, rejected) in zip(
                shard, lm.logprob(groups, rendering=rendering, advance=advance), strict=True
            ):
                yield PairScore(id=one.id, chosen=chosen.log_probability, rejected=rejected.log_probability)

        yield from in_shards(rows(pairs), score, size=ROWS_PER_SHARD)
