"""What became of the data of a round: rows in, rows dropped and why, rows trained on, and how training went.

Follows the tables a round trained on, and others it made of rows, back to where they came from, so it shows any method
without knowing it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfalign.report.charts import loss_chart
from selfalign.report.dropped import counted_reasons
from selfalign.report.evidence import Evidence, short, tables_in
from selfalign.report.visible import shortened

BEFORE_ROUNDS = "start"
NAMES = {
    "load_chats": "demonstrations",
    "generate": "generated answers",
    "pair": "pairs",
    "taken": "chosen so far",
    "load_documents": "documents",
    "segment": "segments",
    "distinct": "without repeats",
    "decontaminated": "clean of known rows",
    "sampled": "sampled",
    "turned": "turned round, answer to prompt",
    "ask_for_instructions": "asked for instructions",
    "candidates": "candidates",
    "ask_grader": "the grader's replies",
    "read_grades": "grades",
    "choose_grades": "grades",
    "mostly_read": "grades, enough of them read",
    "kept_by_grade": "kept by grade",
    "tagged": "tagged",
    "invent": "invented tasks",
    "invent_topics": "topics of hard questions",
    "ask_about_topics": "asked for a question each",
    "read_questions": "invented hard questions",
    "shuffled_together": "tasks and questions, mixed",
    "sound_answers": "answers that break no rule",
    "lowest_grade": "the lowest grade of each",
    "whole_pairs": "each pair as one text",
    "kept_by_perplexity": "kept by perplexity",
    "one_of_each_cluster": "one of each cluster",
    "part_of": "prompts of the round",
    "principled_prompts": "prompts after principles and demonstrations",
    "without_thoughts": "bare answers",
    "named": "about the assistant",
}
# Rows a model may learn from; choices, scores and grades are about such rows.
DATA = ("Chat", "Pair", "Text")
# What a table is only compared with gives it no rows.
COMPARED_WITH = ("against", "known")
# A note that repeats the number of rows.
COUNTED_ALREADY = ("kept",)
LONGEST_TAG = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """One stage of a funnel: rows that came out, what is said about them, and what was dropped, by reason."""

    name: str
    key: str
    rows: int
    said: str
    dropped: tuple[tuple[str, int], ...] = ()
    percent: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a training call went; each measure as (name, first, last) in words."""

    key: str
    seconds: float
    steps: int
    measures: tuple[tuple[str, str, str], ...]
    chart: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Funnel:
    """The data and the training of one round."""

    label: str
    stretches: tuple[Stretch, ...]
    training: Training | None


def funnels(evidence: Evidence) -> list[Funnel]:
    """One funnel for each round played."""
    return [
        Funnel(label=event["label"], stretches=stretches(evidence, event), training=training(evidence, event))
        for event in evidence.rounds
        if "trained_on" in event
    ]


def stretches(evidence: Evidence, event: Mapping[str, Any]) -> tuple[Stretch, ...]:
    """Every table on the way to what the round made and trained on, then the sets it trained on and their sum."""
    label, keys = event["label"], list(event["trained_on"])
    found: dict[str, Stretch] = {}
    for key in [*([event["generated"]] if event.get("generated") else []), *made_aside(evidence, label, keys), *keys]:
        if is_own(evidence, key, label):
            for one in lineage(evidence, key, label):
                found.setdefault(one, stretch(evidence, one, label))
    for key in keys:
        if not is_own(evidence, key, label):
            found.setdefault(key, stretch(evidence, key, label))
    total = sum(evidence.record(key).get("rows", 0) for key in keys)
    sets = "1 set" if len(keys) == 1 else f"{len(keys)} sets"
    every = [*found.values(), Stretch(name="trained on", key="", rows=total, said=sets)]
    widest = max(one.rows for one in every) or 1
    return tuple(replace(one, percent=100 * one.rows / widest) for one in every)


def made_aside(evidence: Evidence, label: str, keys: Sequence[str]) -> list[str]:
    """Rows a round made for later ones: of its tables those that neither training nor measuring led to.

    Without them a method that prepares its data once would never show how.
    """
    known = {key for round_ in evidence.rounds for key in measured_with(evidence, round_)}
    known.update(one for key in keys for one in lineage(evidence, key, label))
    return [
        key
        for key, call in evidence.planned.items()
        if call.get("round") == label and key not in known and evidence.record(key).get("row_type") in DATA
    ]


def measured_with(evidence: Evidence, event: Mapping[str, Any]) -> Iterator[str]:
    """The answers and results that measured a round."""
    for tables in event["measured"].values():
        for key in (*tables["results"], tables["answers"]):
            yield key
            yield from tables_in(evidence.record(key).get("arguments", {}))


def is_own(evidence: Evidence, key: str, label: str) -> bool:
    """Whether a table belongs to this round's data rather than to an earlier round's."""
    return evidence.origin(key) in (label, BEFORE_ROUNDS, "")


def lineage(evidence: Evidence, key: str, label: str) -> Iterator[str]:
    """The tables a table of this round was made from, sources first, itself last; of older ones only the nearest."""
    for parent in parents_of(evidence, key, label):
        if is_own(evidence, parent, label):
            yield from lineage(evidence, parent, label)
        elif evidence.record(parent).get("row_type") in DATA:
            yield parent
    yield key


def parents_of(evidence: Evidence, key: str, label: str) -> Iterator[str]:
    """The tables a call was given, and those that a model of the same round, which it used, was trained on."""
    for name, value in evidence.record(key).get("arguments", {}).items():
        if name not in COMPARED_WITH:
            yield from tables_in(value)
            ref = value.get("model") if isinstance(value, Mapping) else None
            if isinstance(ref, str) and ref.startswith("made:"):
                model = ref.removeprefix("made:")
                if evidence.origin(model) == label:
                    yield from parents_of(evidence, model, label)


def stretch(evidence: Evidence, key: str, label: str) -> Stretch:
    """One table: its rows, unfinished answers and notes, and what its stage dropped; of an older one whose it is."""
    record = evidence.record(key)
    rows = int(record.get("rows", 0))
    if not is_own(evidence, key, label):
        said = f"older set, made in {evidence.origin(key)}"
        return Stretch(name=name_of(evidence, key), key=short(key), rows=rows, said=said)
    return Stretch(
        name=name_of(evidence, key),
        key=short(key),
        rows=rows,
        said=", ".join(remarks(evidence, key)),
        dropped=reasons(evidence, key),
    )


def remarks(evidence: Evidence, key: str) -> list[str]:
    """What is worth saying about a table besides its rows; of grades only how many there are not."""
    record = evidence.record(key)
    notes = record.get("notes", {})
    if record.get("row_type") == "Grade":
        return [f"{sum(notes['unread'].values()):,} without a grade"] if "unread" in notes else []
    found = [unfinished(evidence, key)] if record.get("stage") == "generate" else []
    return found + [
        f"{name.replace('_', ' ')} {value:g}"
        for name, value in notes.items()
        if isinstance(value, (int, float)) and name not in COUNTED_ALREADY
    ]


def name_of(evidence: Evidence, key: str) -> str:
    """What a table holds, in words."""
    record = evidence.record(key)
    stage = str(record.get("stage", "no longer in the store"))
    asked = next(tables_in(record.get("arguments", {})), "")
    if stage == "generate" and evidence.record(asked).get("stage") == "ask_for_instructions":
        return "generated instructions"
    name = NAMES.get(stage, stage.replace("_", " "))
    tag = record.get("arguments", {}).get("tag") if stage == "tagged" else None
    return f"{name} “{shortened(tag, LONGEST_TAG)}”" if isinstance(tag, str) else name  # a round may have two such sets


def unfinished(evidence: Evidence, key: str) -> str:
    """How many answers came to their end, and how many the token limit cut."""
    ended = Counter(bool(chat.finished) for chat in evidence.rows(key))
    return f"{ended[True]:,} finished, {ended[False]:,} unfinished"


def reasons(evidence: Evidence, key: str) -> tuple[tuple[str, int], ...]:
    """Why a stage dropped rows, the commonest reasons first."""
    if not evidence.record(key).get("dropped"):
        return ()
    return counted_reasons(one.reason for one in evidence.store.dropped(key))


# ------------------------------------------------------------------------------------------------ training

MEASURES = (
    ("loss", "loss"),
    ("margin", "margin"),
    ("accuracy", "accuracy"),
    ("learning_rate", "learning rate"),
    ("gradient_norm", "gradient norm"),
)


def training(evidence: Evidence, event: Mapping[str, Any]) -> Training | None:
    """How the model of a round was trained; None when no steps are on record."""
    key = str(event["model"]).removeprefix("made:")
    record = evidence.record(key)
    steps = record.get("notes", {}).get("steps") or []
    if not steps:
        return None
    return Training(
        key=short(key),
        seconds=float(record.get("seconds", 0.0)),
        steps=len(steps),
        measures=tuple(
            (name, measured(field, steps[0]), measured(field, steps[-1]))
            for field, name in MEASURES
            if steps[0].get(field) is not None
        ),
        chart=loss_chart(
            losses(steps),
            first_step=int(steps[0]["step"]),
            title=f"Training loss of {event['label']}",
            name=f"loss-{evidence.rounds.index(dict(event))}",
        ),
    )


def losses(steps: Sequence[Mapping[str, Any]]) -> list[float]:
    """The loss of every step; one that is missing is no number, and is not drawn."""
    return [math.nan if step.get("loss") is None else float(step["loss"]) for step in steps]


def measured(field: str, step: Mapping[str, Any]) -> str:
    """One measure of one step."""
    value = step.get(field)
    if value is None:
        return "–"
    return (f"{100 * value:.0f} %" if field == "accuracy" else f"{value:.3g}").replace("-", "−")
