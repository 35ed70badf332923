"""What a judge's verdicts are worth: results item by item, and what they come to in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from selfalign.judging.length_control import Controlled, length_controlled
from selfalign.judging.outcome import Counts, Outcome, counted, outcome
from selfalign.judging.prompt import claims_verdict
from selfalign.judging.verdict import NOT_ASKED, Verdict, read_verdict, weighed
from selfalign.measures.metric import Metric
from selfalign.stage import Size, stage
from selfalign.types import Chat, Item, Model, OptionScores, Result, Table
from selfalign.work import note, rows

Against = Literal["base", "reference"]
# What is put behind a metric's name, by whose answers the model's are compared with.
ENDINGS: dict[Against, str] = {"base": "", "reference": "_reference"}
OTHERS: dict[Against, str] = {"base": "the base's answers", "reference": "the reference answers"}
ITSELF = "the base is not compared with itself"
NO_ANSWER = "the question is too long for the model"
NO_OTHER: dict[Against, str] = {
    "base": "the question is too long for the base",
    "reference": "the question has no reference answer",
}
# The metrics a comparison gives for every question, without their ending.
COMPARED = ("win_rate", "win_rate_length_controlled", "judge_inconsistent", "judge_unread")
OWN_LENGTH, REFERENCE_LENGTH = "question_answer_characters", "reference_answer_characters"


def metrics_against(against: Against) -> tuple[Metric, ...]:
    """The metrics of comparisons with these answers."""
    end, others = ENDINGS[against], OTHERS[against]
    return (
        Metric(
            f"win_rate{end}", "higher",
            f"AlpacaEval-style: answers a judge prefers to {others}, in both orders; a tie or disagreement is half",
            True,
        ),
        Metric(
            f"win_rate_length_controlled{end}", "higher",
            f"AlpacaEval-style: the same, as predicted for answers as long as {others}", True,
        ),
        Metric(
            f"judge_inconsistent{end}", None,
            f"comparisons with {others} in which the judge's verdict depends on the order", True,
        ),
        Metric(f"judge_unread{end}", None, f"comparisons with {others} that gave no verdict", True),
    )  # fmt: skip


JUDGE_METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *metrics_against("base"),
        *metrics_against("reference"),
        Metric(OWN_LENGTH, None, "length of the answers to the judge's questions, characters"),
        Metric(REFERENCE_LENGTH, None, "length of the reference answers, characters"),
    )
}


def uncompared_size(size: Callable[[Any], Size], *, questions: Table[Item], answers: Table[Chat]) -> Size:
    """No value but a length for every question."""
    return Size(rows=(len(COMPARED) + 1) * size(questions).rows)


@stage(version=1, needs="driver", expect=uncompared_size)
def uncompared(questions: Table[Item], answers: Table[Chat]) -> Iterator[Result]:
    """The base's results against the base: no values and why, and the length of its answers."""
    given = {chat.id: chat.answer or "" for chat in rows(answers)}
    for question in rows(questions):
        for suite in COMPARED:
            yield Result(id=question.id, suite=suite, value=None, why=ITSELF)
        yield own_length(question.id, given)


def own_length(row_id: str, given: Mapping[str, str]) -> Result:
    """How long a model's answer to a question is."""
    if row_id not in given:
        return Result(id=row_id, suite=OWN_LENGTH, value=None, why=NO_ANSWER)
    return Result(id=row_id, suite=OWN_LENGTH, value=float(len(given[row_id])), reply=given[row_id])


# -------------------------------------------------------------------------------------------------- compared


def results_size(size: Callable[[Any], Size], *, questions: Table[Item], against: Against, **_: Any) -> Size:
    """Five results a question, six where the reference's length is among them."""
    return Size(rows=(len(COMPARED) + 1 + (against == "reference")) * size(questions).rows)


@stage(version=1, needs="driver", expect=results_size)
def judge_results(
    questions: Table[Item],
    answers: Table[Chat],
    others: Table[Chat],
    verdicts: Table[Chat] | Table[OptionScores],
    *,
    against: Against,
    judge: Model,
    model: Model,
    base: Model | None,
) -> Iterator[Result]:
    """How each answer fared, and what the judge was like: whether it kept to its verdict, whether it could be read.

    `win_rate`: 1, ½ or 0. `win_rate_length_controlled`: each question's share in the rate at equal lengths, whose mean
    is that rate (`judging.length_control`). A question without a verdict has no value in either, and the reason.
    """
    own, other = ({one.id: one.answer or "" for one in rows(table)} for table in (answers, others))
    said: dict[str, Chat | OptionScores] = {}
    given: Table[Any] = verdicts
    for one in rows(given):
        said[one.id] = one
    asked = [question.id for question in rows(questions)]
    found = {row_id: outcome(*both(said, row_id)) for row_id in asked if row_id in own and row_id in other}
    read = {row_id: one.value for row_id, one in found.items() if one.value is not None}
    controlled = length_controlled(list(read.values()), [len(own[row_id]) - len(other[row_id]) for row_id in read])
    at_equal_lengths = dict(zip(read, controlled.values, strict=False))
    end = ENDINGS[against]
    for row_id in asked:
        if row_id in found:
            yield from compared(row_id, found[row_id], at_equal_lengths.get(row_id), controlled.why, end, said)
        else:
            why = NO_ANSWER if row_id not in own else NO_OTHER[against]
            yield from (Result(id=row_id, suite=suite + end, value=None, why=why) for suite in COMPARED)
        yield own_length(row_id, own)
        if against == "reference":
            there = row_id in other
            length = float(len(other[row_id])) if there else None
            yield Result(id=row_id, suite=REFERENCE_LENGTH, value=length, why="" if there else NO_OTHER[against])
    noted(found, controlled, against, judged_by(judge, model, base))
    note("answers_with_verdict_marks", sum(map(claims_verdict, (*own.values(), *other.values()))))


def compared(
    row_id: str,
    one: Outcome,
    at_equal_lengths: float | None,
    why_not: str,
    end: str,
    said: Mapping[str, Chat | OptionScores],
) -> Iterator[Result]:
    """The results of one question that was put to the judge."""
    replies = f"own answer first: {words(said, row_id, 'ab')}\n\nown answer second: {words(said, row_id, 'ba')}"
    inconsistent = None if one.inconsistent is None else float(one.inconsistent)
    why = "" if at_equal_lengths is not None else one.why or why_not
    yield Result(id=row_id, suite=f"win_rate{end}", value=one.value, reply=replies, why=one.why)
    yield Result(id=row_id, suite=f"win_rate_length_controlled{end}", value=at_equal_lengths, why=why)
    yield Result(id=row_id, suite=f"judge_inconsistent{end}", value=inconsistent, why=one.why)
    yield Result(id=row_id, suite=f"judge_unread{end}", value=float(one.value is None), why=one.why)


def both(said: Mapping[str, Chat | OptionScores], row_id: str) -> tuple[Verdict, Verdict]:
    """The verdicts on a question with one's own answer first, and with it second."""
    return verdict_of(said.get(f"{row_id}/ab")), verdict_of(said.get(f"{row_id}/ba"))


def verdict_of(row: Chat | OptionScores | None) -> Verdict:
    """What a judge said about one comparison, if it was asked."""
    if row is None:
        return Verdict(None, NOT_ASKED)
    if isinstance(row, OptionScores):
        return weighed(row.log_probabilities)
    return read_verdict(row.answer or "", finished=row.finished)


def words(said: Mapping[str, Chat | OptionScores], row_id: str, order: str) -> str:
    """What a judge said about one comparison, as people read it."""
    row = said.get(f"{row_id}/{order}")
    if isinstance(row, OptionScores):
        return "log-probability " + ", ".join(
            f"of {name} {value:.3f}" for name, value in zip("AB", row.log_probabilities, strict=True)
        )
    return "" if row is None else row.answer or ""


# ----------------------------------------------------------------------------------------------- what is said


def noted(found: Mapping[str, Outcome], controlled: Controlled, against: Against, judge: str) -> None:
    """Leave the counts with the call, and what they come to in words."""
    counts = counted(found.values())
    whys = Counter(one.why for one in found.values() if one.why)
    note("unread", dict(whys.most_common()))
    note("inconsistent", counts.inconsistent)
    note("length_effect", controlled.length_effect)
    note("says", sentence(counts, whys, controlled, against, judge))


def judged_by(judge: Model, model: Model, base: Model | None) -> str:
    """The judge by name, and that it is the base, or the very model whose answers it compares, where it is."""
    name = visible_name(judge.ref)
    if base is not None and judge.identity() == base.identity():
        return f"{name} (the base itself)"
    return f"{name} (the judged model itself)" if judge.identity() == model.identity() else name


def visible_name(ref: str) -> str:
    """A model's reference without brackets, which are markup where it is printed."""
    return ref.replace("[", "(").replace("]", ")")


def sentence(counts: Counts, whys: Counter[str], controlled: Controlled, against: Against, judge: str) -> str:
    """What comparisons came to: who judged, how many were won; loudly if none was read or most depend on the order."""
    end = ENDINGS[against]
    what = f"win_rate{end}, AlpacaEval-style, against {OTHERS[against]}, judged by {judge}"
    if not counts.questions:
        return f"NOTHING WAS COMPARED: {what}: not one question has answers on both sides, so there is no win rate"
    commonest = f"; most often: {whys.most_common(1)[0][0]}" if whys else ""
    if counts.unread == counts.questions:
        return (
            f"NOTHING COULD BE READ: {what}: none of {counts.questions} comparisons gave a verdict{commonest}; there "
            "is no win rate; use a judge that keeps to a form, or judge.reading: distribution"
        )
    if 2 * counts.inconsistent > counts.questions - counts.unread:
        what = f"MOST VERDICTS DEPEND ON THE ORDER, so they say little: {what}"
    text = f"{what}, {counts.questions} questions: {counts.describe()}{commonest}"
    return f"{text}; not length-controlled, since {controlled.why}" if controlled.why else text
