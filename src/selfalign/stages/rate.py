"""Numbers about rows that a selector can choose by: how unsure a model is, and how much an instruction helps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

from selfalign.selection.by_score import instruction_following_difficulty
from selfalign.stage import Size, stage
from selfalign.stages.score import score_answers
from selfalign.types import AnswerScore, Chat, Model, Rendering, Score, Table, Uncertainty
from selfalign.work import advance, in_shards, rows, serving

ROWS_PER_SHARD = 512


def rated_size(size: Callable[[Any], Size], *, chats: Table[Chat], **_: Any) -> Size:
    """One row a chat; prompt and answer pass through the model once."""
    given = size(chats)
    return Size(given.rows, work_tokens=given.prompt_tokens + given.answer_tokens)


@stage(version=2, needs="serve", expect=rated_size)
def uncertainties(
    model: Model, chats: Table[Chat], *, rendering: Rendering, over: Literal["all", "answer"]
) -> Iterator[Uncertainty]:
    """How unsure a model is of each chat's tokens, over `all` of them or those of the answer; same order, same ids."""
    with serving(model) as lm:

        def rate(shard: list[Chat]) -> Iterable[Uncertainty]:
            return lm.uncertainty(shard, rendering=rendering, over=over, advance=advance)

        yield from in_shards(rows(chats), rate, size=ROWS_PER_SHARD)


def perplexities(model: Model, chats: Table[Chat], rendering: Rendering) -> Table[Score]:
    """How surprised a model is by each answer, in nats a token (the logarithm of the perplexity: the same order)."""
    return surprise(score_answers(model, chats, rendering=rendering))


def instruction_difficulties(model: Model, chats: Table[Chat], rendering: Rendering) -> Table[Score]:
    """Instruction-following difficulty: the answer's surprise given its instruction over that without (2308.12032)."""
    conditioned = score_answers(model, chats, rendering=rendering)
    direct = score_answers(model, chats, rendering=replace(rendering, context="header"))
    return difficulty(conditioned, direct)


def scores_size(size: Callable[[Any], Size], *, scores: Table[AnswerScore]) -> Size:
    """One score a row."""
    return Size(size(scores).rows)


@stage(version=1, needs="driver", expect=scores_size)
def surprise(scores: Table[AnswerScore]) -> Iterator[Score]:
    """The mean negative log-likelihood of each answer in nats per token."""
    for score in rows(scores):
        why = "" if score.tokens else "the answer has no tokens"
        yield Score(id=score.id, value=None if why else per_token(score), why=why)


def difficulty_size(
    size: Callable[[Any], Size], *, conditioned: Table[AnswerScore], direct: Table[AnswerScore]
) -> Size:
    """One score a row."""
    return Size(size(conditioned).rows)


@stage(version=1, needs="driver", expect=difficulty_size)
def difficulty(conditioned: Table[AnswerScore], direct: Table[AnswerScore]) -> Iterator[Score]:
    """IFD: the ratio of mean negative log-likelihoods (nats per token) with and without the instruction.

    A ratio of losses, as the released code computes it. A row that was cut, or whose answer has no tokens, has no
    score: without its instruction's tokens the ratio would be 1, the hardest there is.
    """
    both = list(zip(rows(conditioned), rows(direct), strict=True))
    whys = [why_unscored(given, alone) for given, alone in both]
    sound = [pair for pair, why in zip(both, whys, strict=True) if not why]
    ratios = iter(
        instruction_following_difficulty([per_token(one) for one, _ in sound], [per_token(one) for _, one in sound])
    )
    for (given, _), why in zip(both, whys, strict=True):
        value = None if why else float(next(ratios))
        unsure = value is not None and value != value
        why = "the answer is certain without its instruction" if unsure else why
        yield Score(id=given.id, value=None if unsure else value, why=why)


def why_unscored(given: AnswerScore, alone: AnswerScore) -> str:
    """Why two scores of an answer cannot be compared; empty when they can."""
    if not given.tokens:
        return "the answer has no tokens"
    if given.cut or given.tokens != alone.tokens:
        return "the row is cut at rendering.max_length: what its instruction is worth cannot be told"
    return ""


def per_token(score: AnswerScore) -> float:
    """The mean negative log-likelihood in nats per token."""
    return -score.log_probability / score.tokens
