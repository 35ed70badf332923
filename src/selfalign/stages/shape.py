"""Rows joined into other rows, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from selfalign.stage import Size, stage
from selfalign.types import Chat, Pair, Table
from selfalign.work import drop, note, rows


def pairs_size(size: Callable[[Any], Size], *, chosen: Table[Chat], rejected: Table[Chat]) -> Size:
    """One pair a prompt; its answers are those of both sides."""
    one, other = size(chosen), size(rejected)
    return Size(one.rows, 2 * one.prompt_tokens, one.answer_tokens + other.answer_tokens)


@stage(version=1, needs="driver", expect=pairs_size)
def pair(*, chosen: Table[Chat], rejected: Table[Chat]) -> Iterator[Pair]:
    """The chosen and the rejected answer to the same prompt, matched by id, in the order of `chosen`.

    A prompt answered on one side only is dropped with the reason. Equal answers are kept, as in the paper (their
    gradient is nil), and counted.
    """
    answers = {chat.id: chat for chat in rows(rejected)}
    equal = 0
    for chat in rows(chosen):
        other = answers.get(chat.id)
        if chat.answer is None or other is None or other.answer is None:
            drop(chat.id, "no chosen answer" if chat.answer is None else "no rejected answer")
            continue
        if not other.answer and not other.finished:
            drop(chat.id, "the rejected answer is empty and was cut: nothing of it can be learned")
            continue
        equal += chat.answer == other.answer
        yield Pair(
            id=chat.id, prompt=chat.prompt, chosen=chat.answer, rejected=other.answer,
            chosen_finished=chat.finished, rejected_finished=other.finished,
        )  # fmt: skip
    note("equal_answers", equal)
