"""What the guard saw, round by round: every measure beside its limits, the alarms, and how grades fell.

Grades are drawn only where no other section shows them: a round that was stopped has no such section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from selfalign.guard import WATCHED
from selfalign.report.evidence import Evidence
from selfalign.report.grade_charts import grades_chart
from selfalign.report.graded_rounds import scale_of
from selfalign.stages.health import LEAST_ROWS

DIGITS = 3
SYMBOLS = {"warn": "⚠", "stop": "✗"}
COLOURS = {"warn": "dropped", "stop": "worse"}


@dataclass(frozen=True, kw_only=True, slots=True)
class AlarmLine:
    """One alarm as the page tells it."""

    round: str
    says: str
    symbol: str
    css: str
    stopped: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCell:
    """One measure of one round; `symbol` and `css` are empty where it is no alarm."""

    value: str
    of: str
    symbol: str = ""
    css: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthRow:
    """One measure over all rounds."""

    metric: str
    means: str
    limits: tuple[str, ...]
    cells: tuple[HealthCell, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class GuardedRounds:
    """Everything about what rounds gathered; `charts` are labelled drawings of grades."""

    labels: tuple[str, ...]
    measures: tuple[HealthRow, ...]
    alarms: tuple[AlarmLine, ...]
    charts: tuple[tuple[str, str], ...]
    least_rows: int = LEAST_ROWS


def guarded_rounds(evidence: Evidence) -> GuardedRounds | None:
    """The health of every round that gathered something; None where none did."""
    looks = looks_of(evidence)
    if not looks:
        return None
    metrics = [one["id"] for one in looks[-1]["measures"] if one["id"] in WATCHED]
    return GuardedRounds(
        labels=tuple(look["round"] for look in looks),
        measures=tuple(health_row(metric, looks) for metric in metrics),
        alarms=tuple(
            AlarmLine(
                round=look["round"],
                says=alarm["says"],
                symbol=SYMBOLS[alarm["level"]],
                css=COLOURS[alarm["level"]],
                stopped=alarm["level"] == "stop",
            )
            for look in looks
            for alarm in look["alarms"]
        ),
        charts=tuple(charts(evidence, looks)),
    )


def stopped_early(evidence: Evidence) -> str:
    """Where the guard ended the run: that, as the first words about it."""
    looks = looks_of(evidence)
    stopping = [alarm["says"] for alarm in looks[-1]["alarms"] if alarm["level"] == "stop"] if looks else []
    return f"Stopped before {looks[-1]['round']} was trained: {'; '.join(stopping)}. " if stopping else ""


def looks_of(evidence: Evidence) -> list[dict[str, Any]]:
    """What the guard told, in order."""
    return [event for event in evidence.events if event["event"] == "guard"]


def health_row(metric: str, looks: list[dict[str, Any]]) -> HealthRow:
    """One measure of all rounds; its limits are those of the whole run."""
    taken = [next((one for one in look["measures"] if one["id"] == metric), None) for look in looks]
    levels = [{alarm["metric"]: alarm["level"] for alarm in look["alarms"]}.get(metric, "") for look in looks]
    limit = next(one["limit"] for one in reversed(taken) if one is not None)
    return HealthRow(
        metric=metric,
        means=WATCHED[metric].means,
        limits=limits_of(metric, limit),
        cells=tuple(health_cell(metric, one, level) for one, level in zip(taken, levels, strict=True)),
    )


def limits_of(metric: str, limit: Mapping[str, float | None]) -> tuple[str, ...]:
    """Where a measure raises an alarm, in words."""
    watched = WATCHED[metric]
    return tuple(
        f"{does} {watched.alarming} {watched.number(value)}"
        for does, value in (("warns", limit["warn"]), ("stops", limit["stop"]))
        if value is not None
    )


def health_cell(metric: str, one: Mapping[str, Any] | None, level: str) -> HealthCell:
    """One measure of one round."""
    if one is None:
        return HealthCell(value="–", of="")
    if one["value"] is None:
        return HealthCell(value="–", of=one["why"])
    return HealthCell(
        value=WATCHED[metric].number(one["value"], DIGITS),
        of=f"of {one['of']:,}",
        symbol=SYMBOLS.get(level, ""),
        css=COLOURS.get(level, ""),
    )


def charts(evidence: Evidence, looks: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """How the grades of a round fell, where the section about grades does not show it."""
    shown = {event["label"] for event in evidence.rounds if event.get("grades")}
    for number, look in enumerate(looks):
        counts = evidence.record(look["key"]).get("notes", {}).get("scores", [])
        for place, (key, found) in enumerate(zip(look["grades"], counts, strict=False)):
            if look["round"] not in shown and found:
                given = {int(score): count for score, count in found.items()}
                lowest, highest = scale_of(evidence, key, list(map(float, given)))
                yield (
                    look["round"],
                    grades_chart(
                        [given.get(score, 0) for score in range(lowest, highest + 1)],
                        low=lowest - 0.5, high=highest + 0.5,
                        title=f"Grades of {look['round']}", name=f"health-{number}-{place}",
                    ),
                )  # fmt: skip
