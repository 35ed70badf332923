"""How a method's candidates were graded round by round: who graded, how the grades fell, what the extremes look like.

Methods that grade nothing have no such rounds, and then nothing is said.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from selfalign.grading.scores import kind_of
from selfalign.report.evidence import Evidence, tables_in
from selfalign.report.grade_charts import grades_chart
from selfalign.report.samples import Said
from selfalign.report.visible import cut, shortened

REASONS_SHOWN = 3
EXAMPLES_OF_A_KIND = 3
LONGEST_SHOWN = 500
# Reasons stand before the score, so of a long reply the end tells more than the middle.
END_OF_REPLY = 200
# Expected scores lie between whole numbers; counted by whole numbers, nearly all would fall under one.
FINE_BARS = 20


@dataclass(slots=True)
class Tallied:
    """The grades of one table, without their replies, which would not fit in memory for a large pool."""

    rubric: str = ""
    read: list[tuple[float, int, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    why: Counter[str] = field(default_factory=Counter)
    entropies: list[float] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class GradedRound:
    """One round's grades in words; `reasons` are the commonest ones for rows that got none."""

    label: str
    grader: str
    rubric: str
    graded: int
    unread: str
    reasons: tuple[tuple[str, int], ...]
    at_top: str
    at_commonest: str
    entropy: str
    kept: tuple[str, ...]
    chart: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One graded row as the grader saw it, and what it said."""

    kind: str
    id: str
    grade: str
    prompt: tuple[Said, ...]
    answer: Said
    reply: Said


@dataclass(frozen=True, kw_only=True, slots=True)
class GradedRounds:
    """Everything about grades; `shown` is the label of the round the examples are from."""

    rounds: tuple[GradedRound, ...]
    shown: str
    examples: tuple[Example, ...]


def graded_rounds(evidence: Evidence) -> GradedRounds | None:
    """The grades of every round that has some; None where no round has."""
    graded = [event for event in evidence.rounds if event.get("grades")]
    if not graded:
        return None
    last = graded[-1]
    tallies = [tallied(evidence, event["grades"]) for event in graded]
    return GradedRounds(
        rounds=tuple(graded_round(evidence, event, tally) for event, tally in zip(graded, tallies, strict=True)),
        shown=last["label"],
        examples=tuple(examples(evidence, last["grades"], tallies[-1])),
    )


def tallied(evidence: Evidence, key: str) -> Tallied:
    """What a table of grades holds, counted in one pass."""
    tally = Tallied()
    for place, one in enumerate(evidence.rows(key)):
        tally.rubric = one.rubric
        if one.value is None:
            tally.why[kind_of(one.why_unread)] += 1
            tally.unread.append(one.id)
        else:
            tally.read.append((one.value, place, one.id))
        if one.entropy is not None:
            tally.entropies.append(one.entropy)
    return tally


def graded_round(evidence: Evidence, event: Mapping[str, Any], tally: Tallied) -> GradedRound:
    """One round's line and its drawing."""
    values = [value for value, _, _ in tally.read]
    counted = Counter(math.floor(value + 0.5) for value in values)  # as the call that graded counts them
    lowest, highest = scale_of(evidence, event["grades"], values)
    entropies = tally.entropies
    commonest = max(sorted(counted), key=counted.__getitem__, default=None)
    return GradedRound(
        label=event["label"],
        grader=evidence.model_name(event.get("grader")),
        rubric=shortened(tally.rubric, 80) or "–",
        graded=len(values) + len(tally.unread),
        unread=counted_of(len(tally.unread), len(values) + len(tally.unread)),
        reasons=tuple((shortened(why, 120), count) for why, count in tally.why.most_common(REASONS_SHOWN)),
        at_top=f"{counted_of(counted[highest], len(values))} at {highest}" if values else "–",
        at_commonest="–" if commonest is None else f"{counted_of(counted[commonest], len(values))} at {commonest}",
        entropy=f"{math.fsum(entropies) / len(entropies):.2f} of {math.log(highest - lowest + 1):.2f}"
        if entropies
        else "–",
        kept=tuple(kept_of(evidence, event, len(values) + len(tally.unread))),
        chart=chart_of(values, lowest, highest, event["label"], place=evidence.rounds.index(dict(event))),
    )


def counted_of(count: int, whole: int) -> str:
    """A number with its share."""
    return f"{count:,} ({100 * count / whole:.1f} %)" if whole else "–"


def scale_of(evidence: Evidence, key: str, values: Sequence[float]) -> tuple[int, int]:
    """The ends of the scale the grades are on; as far as the grades reach where the call that graded is gone."""
    rubric = asked_with(evidence, key).get("rubric")
    if isinstance(rubric, Mapping) and {"lowest", "highest"} <= set(rubric):
        return int(rubric["lowest"]), int(rubric["highest"])
    low, high = math.floor(min(values, default=1.0)), math.ceil(max(values, default=5.0))
    return low, max(high, low + 1)


def asked_with(evidence: Evidence, key: str) -> Mapping[str, Any]:
    """The arguments of the call that graded, found through calls that only passed its grades on."""
    arguments = evidence.record(key).get("arguments", {})
    while "rubric" not in arguments and (passed := next(tables_in(arguments.get("grades")), "")):
        arguments = evidence.record(passed).get("arguments", {})
    return dict(arguments)


def kept_of(evidence: Evidence, event: Mapping[str, Any], graded: int) -> list[str]:
    """How many rows each call that looked at the grades kept, and by which settings."""
    found = []
    for key in evidence.planned:
        record = evidence.record(key)
        arguments = record.get("arguments", {})
        if record.get("row_type") == "Chat" and event["grades"] in tables_in(arguments):
            settings = [
                name if value is True else f"{name} {value:g}"
                for name, value in arguments.items()
                if isinstance(value, (int, float)) and value is not False
            ]
            found.append(", ".join([counted_of(int(record.get("rows", 0)), graded), *settings]))
    return found


def chart_of(values: Sequence[float], lowest: int, highest: int, label: str, *, place: int) -> str:
    """How often each grade was given: a bar a score, finer ones where grades lie between the scores."""
    if not values:
        return ""
    whole = all(value.is_integer() for value in values)
    low, high = (lowest - 0.5, highest + 0.5) if whole else (float(lowest), float(highest))
    bars = highest - lowest + 1 if whole else FINE_BARS
    fallen = Counter(min(bars - 1, max(0, math.floor(bars * (value - low) / (high - low)))) for value in values)
    return grades_chart(
        [fallen[bar] for bar in range(bars)],
        low=low, high=high, title=f"Grades of {label}", name=f"grades-{place}",
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------ examples


def examples(evidence: Evidence, key: str, tally: Tallied) -> list[Example]:
    """The rows with the highest and the lowest grades, and some without: of equals the earlier ones, no row twice."""
    highest = heapq.nsmallest(EXAMPLES_OF_A_KIND, tally.read, key=lambda one: (-one[0], one[1]))
    lowest = heapq.nsmallest(EXAMPLES_OF_A_KIND, (one for one in tally.read if one not in highest))
    kinds = {
        **{row_id: "highest" for _, _, row_id in highest},
        **{row_id: "lowest" for _, _, row_id in lowest},
        **dict.fromkeys(tally.unread[:EXAMPLES_OF_A_KIND], "unread"),
    }
    asked = next(tables_in(asked_with(evidence, key).get("chats")), "")
    chats = {chat.id: chat for chat in evidence.rows(asked) if chat.id in kinds}
    grades = {grade.id: grade for grade in evidence.rows(key) if grade.id in kinds}
    return [
        example(kinds[row_id], chats[row_id], grades[row_id])
        for row_id in kinds
        if row_id in chats and row_id in grades
    ]


def example(kind: str, chat: Any, grade: Any) -> Example:
    """One graded row, its texts cut to what a page can bear."""
    return Example(
        kind=kind,
        id=chat.id,
        grade="no grade: " + shortened(grade.why_unread, 120) if grade.value is None else f"grade {grade.value:.4g}",
        prompt=tuple(shown(message.role, message.content) for message in chat.prompt),
        answer=shown("answer", chat.answer or ""),
        reply=Said(who="grader", text=ended(grade.reply), left_off=0),
    )


def shown(who: str, text: str) -> Said:
    """A text and who wrote it, cut."""
    start, left_off = cut(text, LONGEST_SHOWN)
    return Said(who=who, text=start, left_off=left_off)


def ended(reply: str) -> str:
    """A reply whose middle is left out when it is long, so that its score can be seen."""
    begin = LONGEST_SHOWN - END_OF_REPLY
    left_off = len(reply) - begin - END_OF_REPLY
    if left_off <= 0:
        return reply
    return f"{reply[:begin]} … ({left_off:,} characters left out) … {reply[-END_OF_REPLY:]}"
