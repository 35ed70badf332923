"""The rows a method chose round by round: how many, by what value, and how they differ from the pool.

Methods that choose nothing have no such rounds, and then nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfalign.report.evidence import Evidence
from selfalign.report.selection_terms import VALUES, measure_text, short_number, worth_a_line


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedRound:
    """One round's choices: `chosen` counts all so far, `new` those of this round with the ends of their values."""

    label: str
    by: str
    chosen: int
    new: int
    largest: str
    smallest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureRow:
    """One measure over rounds: (chosen rows, pool) for each, and `–` where a round has no such measure."""

    says: str
    cells: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectedRounds:
    """Everything about what was chosen; `measured` are the labels of the measures' columns."""

    rounds: tuple[SelectedRound, ...]
    value_says: str
    measured: tuple[str, ...]
    measures: tuple[MeasureRow, ...]


def selected_rounds(evidence: Evidence) -> SelectedRounds | None:
    """The choices of every round that has some; None where no round has."""
    rounds, before = [], set[str]()
    for event in evidence.rounds:
        if event.get("chosen"):
            rounds.append(selected_round(evidence, event, before))
            before.update(event["chosen"])
    if not rounds:
        return None
    described = [event for event in evidence.rounds if event.get("selection")]
    says = dict.fromkeys(VALUES[one.by].says for one in rounds if one.by in VALUES and one.largest != "–")
    return SelectedRounds(
        rounds=tuple(rounds),
        value_says="; ".join(says),
        measured=tuple(event["label"] for event in described),
        measures=tuple(measure_rows(evidence, described)),
    )


def selected_round(evidence: Evidence, event: Mapping[str, Any], before: set[str]) -> SelectedRound:
    """One round: the tables it did not share with an earlier one hold its new choices."""
    new = [choice for key in event["chosen"] if key not in before for choice in evidence.rows(key)]
    values = [choice.value for choice in new if choice.value is not None]
    return SelectedRound(
        label=event["label"],
        by=" and ".join(dict.fromkeys(choice.by for choice in new)),
        chosen=sum(int(evidence.record(key).get("rows", 0)) for key in event["chosen"]),
        new=len(new),
        largest=short_number(max(values)) if values else "–",
        smallest=short_number(min(values)) if values else "–",
    )


def measure_rows(evidence: Evidence, described: Sequence[Mapping[str, Any]]) -> list[MeasureRow]:
    """Every measure any round has, in the order in which they come."""
    tables = [{one.id: one for one in evidence.rows(event["selection"])} for event in described]
    firsts = {name: one for table in reversed(tables) for name, one in table.items()}
    telling = {one.id for table in tables for one in table.values() if worth_a_line(one)}
    names = [name for name in dict.fromkeys(name for table in tables for name in table) if name in telling]
    groups = list(dict.fromkeys(name.partition(":")[0] for name in names))
    names.sort(key=lambda name: groups.index(name.partition(":")[0]))  # languages met later stand with the others
    return [
        MeasureRow(
            says=firsts[name].says,
            cells=tuple(
                (measure_text(table[name], table[name].chosen), measure_text(table[name], table[name].pool))
                if name in table
                else ("–", "–")
                for table in tables
            ),
        )
        for name in names
    ]
