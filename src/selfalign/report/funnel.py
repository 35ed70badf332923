"""What became of the data of a round: rows in, rows dropped and why, rows trained on, and how training went.

Follows the tables a round trained on back to where they came from, so it shows any method without knowing it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfalign.report.charts import loss_chart
from selfalign.report.evidence import Evidence, short, tables_in
from selfalign.report.visible import shortened

BEFORE_ROUNDS = "start"
NAMES = {"load_chats": "demonstrations", "generate": "generated answers", "pair": "pairs", "taken": "chosen so far"}
MOST_REASONS = 8


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
    """Every table on the way to what the round trained on, then the sets it trained on and their sum."""
    label, keys = event["label"], list(event["trained_on"])
    found: dict[str, Stretch] = {}
    for key in [*([event["generated"]] if event.get("generated") else []), *keys]:
        if is_own(evidence, key, label):
            for one in lineage(evidence, key, label):
                found.setdefault(one, stretch(evidence, one))
    for key in keys:
        if not is_own(evidence, key, label):
            found[key] = replace(stretch(evidence, key), said=f"older set, made in {evidence.origin(key)}", dropped=())
    total = sum(evidence.record(key).get("rows", 0) for key in keys)
    sets = "1 set" if len(keys) == 1 else f"{len(keys)} sets"
    every = [*found.values(), Stretch(name="trained on", key="", rows=total, said=sets)]
    widest = max(one.rows for one in every) or 1
    return tuple(replace(one, percent=100 * one.rows / widest) for one in every)


def is_own(evidence: Evidence, key: str, label: str) -> bool:
    """Whether a table belongs to this round's data rather than to an earlier round's."""
    return evidence.origin(key) in (label, BEFORE_ROUNDS, "")


def lineage(evidence: Evidence, key: str, label: str) -> Iterator[str]:
    """The tables a table of this round was made from, sources first, itself last."""
    for parent in tables_in(evidence.record(key).get("arguments", {})):
        if is_own(evidence, parent, label):
            yield from lineage(evidence, parent, label)
    yield key


def stretch(evidence: Evidence, key: str) -> Stretch:
    """One table: its rows, unfinished answers and notes, and what its stage dropped."""
    record = evidence.record(key)
    stage = str(record.get("stage", "no longer in the store"))
    said = [unfinished(evidence, key)] if stage == "generate" else []
    said += [
        f"{name.replace('_', ' ')} {value:g}"
        for name, value in record.get("notes", {}).items()
        if isinstance(value, (int, float))
    ]
    name = NAMES.get(stage, stage.replace("_", " "))
    rows = int(record.get("rows", 0))
    return Stretch(name=name, key=short(key), rows=rows, said=", ".join(said), dropped=reasons(evidence, key))


def unfinished(evidence: Evidence, key: str) -> str:
    """How many answers came to their end, and how many the token limit cut."""
    ended = Counter(bool(chat.finished) for chat in evidence.rows(key))
    return f"{ended[True]:,} finished, {ended[False]:,} unfinished"


def reasons(evidence: Evidence, key: str) -> tuple[tuple[str, int], ...]:
    """Why a stage dropped rows, the commonest reasons first."""
    if not evidence.record(key).get("dropped"):
        return ()
    counted = Counter(shortened(one.reason, 120) for one in evidence.store.dropped(key)).most_common()
    rest = sum(count for _, count in counted[MOST_REASONS:])
    return (*counted[:MOST_REASONS], *([("other reasons", rest)] if rest else []))


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
