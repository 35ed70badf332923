"""What a round is about to train on, in the numbers that show a collapse before it is paid for.

A model that learns from itself can fade without an error: the same prompts again, ever shorter answers, one phrase over
and over, a judge that likes everything. Measuring is this stage's business, whether a number is alarming the guard's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import Any

from selfalign.keys import seed_of
from selfalign.measures.health import answer_words, distinct_n
from selfalign.measures.novelty import Novelty
from selfalign.stage import Size, stage
from selfalign.synthesis.task_list import task_of
from selfalign.types import Chat, Grade, HealthMeasure, Table
from selfalign.work import note, rows

# Self-Instruct's rule: a higher overlap of words in order (ROUGE-L F1) is no new prompt.
NEAR_DUPLICATE_OVERLAP = 0.7
# distinct-n falls with the size of a corpus, so it is taken over so many words, no answer giving more than its share.
WORDS_COMPARED = 4_000
WORDS_OF_AN_ANSWER = 200
# Expected scores lie between whole numbers, and a small judge's all near one: they are the same where tenths agree.
PARTS_OF_A_POINT = 10

# Of fewer rows a share tells nothing: one of three prompts is a third.
LEAST_ROWS = 10

Taken = tuple[float | None, int, str]


def measured_of(
    made: Table[Chat], kept: Table[Chat], *, grades: tuple[Table[Grade], ...], known: tuple[Table[Chat], ...] | None
) -> list[str]:
    """What can be measured where a round gathers these tables, in the order of the rows; known without any value."""
    possible = {
        "kept_share": made != kept,
        "unread_share": bool(grades),
        "commonest_score_share": bool(grades),
        "near_duplicate_share": known is not None,
        "median_answer_words": True,
        "answer_length_ratio": True,
        "distinct_2": True,
    }
    return [name for name, can_be in possible.items() if can_be]


def health_size(size: Callable[[Any], Size], *, first: Table[Chat] | None, **gathered: Any) -> Size:
    """One row a measure."""
    return Size(rows=len(measured_of(**gathered)))


@stage(version=1, needs="driver", expect=health_size)
def health(
    made: Table[Chat],
    kept: Table[Chat],
    *,
    grades: tuple[Table[Grade], ...] = (),
    known: tuple[Table[Chat], ...] | None = None,
    first: Table[Chat] | None = None,
) -> Iterator[HealthMeasure]:
    """Measures of what a round gathered; `first` is what the first round kept, None in that round itself.

    `kept_share` of the rows made; `unread_share` of the grades; `commonest_score_share`, the largest share of one score
    among the grades of a table that could be read; `near_duplicate_share` of kept prompts whose instruction (the first
    paragraph) has a ROUGE-L F1 above 0.7 with that of an earlier kept or a known one; the `median_answer_words` of kept
    answers, and their `answer_length_ratio` to those of the first round; `distinct_2`, different word pairs over all,
    of at most 4,000 words of kept answers.
    """
    chats = list(rows(kept))
    # The values alone: with their replies the grades of a large pool would not fit in memory.
    judged = [[one.value for one in rows(table)] for table in grades]
    note("scores", [counted(read(values)) for values in judged])
    take: dict[str, Callable[[], Taken]] = {
        "kept_share": lambda: share(len(chats), sum(1 for _ in rows(made)), "nothing was made"),
        "unread_share": lambda: unread_share(judged),
        "commonest_score_share": lambda: max(map(commonest_share, judged), key=worst),
        "near_duplicate_share": lambda: near_duplicate_share(chats, known or ()),
        "median_answer_words": lambda: median_words(chats),
        "answer_length_ratio": lambda: length_ratio(chats, first),
        "distinct_2": lambda: distinct_pairs(chats),
    }
    for name in measured_of(made, kept, grades=grades, known=known):
        value, of, why = take[name]()
        yield HealthMeasure(id=name, value=value, of=of, why=why)


def share(some: int, whole: int, why_none: str) -> Taken:
    """A share of so many rows; of none there is no share."""
    return (some / whole, whole, "") if whole else (None, 0, why_none)


# ------------------------------------------------------------------------------------------------ grades


def read(values: Sequence[float | None]) -> list[float]:
    """The grades that could be read."""
    return [value for value in values if value is not None]


def unread_share(judged: Sequence[Sequence[float | None]]) -> Taken:
    """The share of grades without a value, over all tables."""
    every = [value for values in judged for value in values]
    return share(every.count(None), len(every), "nothing was graded")


def commonest_share(graded: Sequence[float | None]) -> Taken:
    """The largest share of one score among the read grades of a table: scores as given, expected ones by tenths."""
    values = read(graded)
    parts = 1 if all(value.is_integer() for value in values) else PARTS_OF_A_POINT
    found = Counter(math.floor(parts * value + 0.5) for value in values)
    return share(max(found.values(), default=0), len(values), "no grade could be read")


def worst(found: Taken) -> tuple[bool, float]:
    """By what the worst of several tables is told: a share over a handful of rows says less than any over many."""
    value, of, _ = found
    return of >= LEAST_ROWS, value or 0.0


def counted(values: Sequence[float]) -> dict[str, int]:
    """How often each score was given, by the nearest whole number as graders' tallies have it, the lowest first."""
    found = Counter(math.floor(value + 0.5) for value in values)
    return {str(score): found[score] for score in sorted(found)}


# ------------------------------------------------------------------------------------- prompts and answers


def instruction_of(chat: Chat) -> str:
    """What a user asks for, without the material it is about: what `invent` calls new is judged in the same words."""
    return task_of("\n\n".join(message.content for message in chat.prompt if message.role == "user")).instruction


def near_duplicate_share(chats: Sequence[Chat], known: Sequence[Table[Chat]]) -> Taken:
    """The share of prompts that nearly repeat an earlier one of the same set, or a known one."""
    novelty = Novelty(threshold=NEAR_DUPLICATE_OVERLAP)
    for table in known:
        for chat in rows(table):
            novelty.keep(chat.id, instruction_of(chat))
    repeated = 0
    for chat in chats:
        text = instruction_of(chat)
        repeated += novelty.twin(text) is not None
        novelty.keep(chat.id, text)
    return share(repeated, len(chats), "nothing was kept")


def median_words(chats: Iterable[Chat]) -> Taken:
    """The median number of words of the answers."""
    lengths = [answer_words(chat.answer) for chat in chats if chat.answer is not None]
    return (float(median(lengths)), len(lengths), "") if lengths else (None, 0, "no answer was kept")


def length_ratio(chats: Sequence[Chat], first: Table[Chat] | None) -> Taken:
    """The median number of words over that of the first round."""
    now, of, why = median_words(chats)
    if first is None:
        return None, of, "the first round"
    then, _, _ = median_words(rows(first))
    if now is None or not then:
        return None, of, why or "the first round has no words to compare with"
    return now / then, of, ""


def distinct_pairs(chats: Sequence[Chat]) -> Taken:
    """Different word pairs over all word pairs, of a fixed number of words drawn by the hash of the rows' ids."""
    texts: list[str] = []
    room = WORDS_COMPARED
    for chat in sorted(chats, key=lambda chat: (seed_of(chat.id), chat.id)):
        words = (chat.answer or "").split()[: min(room, WORDS_OF_AN_ANSWER)]
        texts.append(" ".join(words))
        room -= len(words)
        if room <= 0:
            break
    found = distinct_n(texts, 2)
    return found, len(chats), "" if found is not None else "no kept answer has two words"
