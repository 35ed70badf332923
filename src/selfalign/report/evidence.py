"""What a run left behind, as the report asks for it: journal events, planned calls, sealed records.

Reads only. A result that is gone from the store is an empty record here, not an error: a report about half a run is
worth more than none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfalign.errors import StoreError
from selfalign.folder import RunFolder
from selfalign.store import Store

DIGITS_OF_A_KEY = 8
ASKED = ("made", "reused", "failed")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A run's journal, plan and store. `origin` gives the round in which a key was first asked for."""

    folder: RunFolder
    store: Store
    events: list[dict[str, Any]]
    rounds: list[dict[str, Any]]
    planned: Mapping[str, Mapping[str, Any]]
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    def record(self, key: str) -> dict[str, Any]:
        """The sealed record of a key; empty when the store does not hold it."""
        if key not in self.records:
            try:
                self.records[key] = self.store.record(key)
            except StoreError:
                self.records[key] = {}
        return self.records[key]

    def rows(self, key: str) -> Iterator[Any]:
        """The rows of a table; none when the store does not hold it."""
        if self.record(key).get("row_type"):
            try:
                yield from self.store.rows(key)
            except StoreError:
                return

    def origin(self, key: str) -> str:
        """The round that first asked for a key; empty when the plan does not know it."""
        return str(self.planned.get(key, {}).get("round", ""))

    def asked(self) -> list[dict[str, Any]]:
        """Every call of the run that ended one way or another, in order."""
        return [event for event in self.events if event["event"] in ASKED]

    def event(self, kind: str) -> dict[str, Any]:
        """The last event of a kind; empty when there was none."""
        return next((event for event in reversed(self.events) if event["event"] == kind), {})

    def kept(self) -> str:
        """The label of the model that is kept; empty while there is only the base, with nothing to choose from."""
        return str(self.rounds[-1]["best"]) if len(self.rounds) > 1 else ""

    def model_name(self, ref: str | None) -> str:
        """A model as the report calls it: a reference, or the round that made it with the start of its key."""
        if not ref:
            return "–"
        if not ref.startswith("made:"):
            return ref
        maker = next((event["label"] for event in self.rounds if event["model"] == ref), "")
        digits = short(ref.removeprefix("made:"))
        return f"{maker} ({digits})" if maker else digits


def gathered(folder: RunFolder) -> Evidence:
    """Everything the report reads about a run.

    Raises:
        RecipeError: the folder holds no run.
    """
    plan = folder.plan()
    by_key = {call["key"]: call for call in plan["calls"]}
    return Evidence(folder, Store(Path(plan["store"])), folder.events(), folder.rounds(), by_key)


def short(key: str) -> str:
    """The start of a key, enough to find it."""
    return key[:DIGITS_OF_A_KEY]


def tables_in(arguments: Any) -> Iterator[str]:
    """The keys of all tables among a call's arguments, nested ones too, in their order."""
    if isinstance(arguments, Mapping):
        if set(arguments) == {"table"} and isinstance(arguments["table"], str):
            yield arguments["table"]
        else:
            for item in arguments.values():
                yield from tables_in(item)
    elif isinstance(arguments, list):
        for item in arguments:
            yield from tables_in(item)
