"""Why a call ran (again): its arguments beside those of the nearest other call of the same stage.

Where an argument is itself a result, the difference is followed to the call that made it, down to the setting or the
file that changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfalign.errors import RecipeError
from selfalign.folder import RunFolder
from selfalign.store import Store

HANDLES = ("table", "matrix", "model")


@dataclass(frozen=True, slots=True)
class Calls:
    """Every call known: made ones from the store, planned ones from the run's folder."""

    store: Store
    planned: Mapping[str, Mapping[str, Any]]
    rounds: Mapping[str, str]

    def call(self, key: str) -> Mapping[str, Any] | None:
        """Stage, version and arguments of a key; None when nobody knows it."""
        if key in self.planned:
            return self.planned[key]
        return self.store.record(key) if self.store.has(key) else None

    def round_of(self, key: str) -> str:
        """The round a call belongs to: as this run plans it, else as it was when the call was made."""
        return self.rounds.get(key) or (str(self.store.record(key).get("round", "")) if self.store.has(key) else "")

    def others(self, stage: str, key: str) -> list[str]:
        """Other finished calls of a stage."""
        return [other for other in self.store.finished() if other != key and self.store.record(other)["stage"] == stage]


def calls_of(folder: RunFolder) -> Calls:
    """The calls a run's folder leads to."""
    plan = folder.plan()
    by_key = {one["key"]: one["call"] for one in plan["calls"]}
    return Calls(Store(Path(plan["store"])), by_key, {one["key"]: one["round"] for one in plan["calls"]})


def explained(folder: RunFolder, prefix: str) -> list[str]:
    """What a key's call is, and how it differs from the nearest earlier one, as lines.

    Raises:
        RecipeError: no call, or several, have a key that starts so.
    """
    calls = calls_of(folder)
    known = sorted({key for key in (*calls.planned, *calls.store.finished()) if key.startswith(prefix)})
    if len(known) != 1:
        what = "no call has" if not known else f"{len(known)} calls have"
        raise RecipeError(
            f"{what} a key starting with {prefix!r}; 'selfalign plan' and {folder.path}/journal.jsonl show keys"
        )
    (key,) = known
    call = calls.call(key) or {}
    state = "made" if calls.store.has(key) else "not made yet"
    where = f", {calls.round_of(key)}" if calls.round_of(key) else ""
    lines = [f"{key[:8]} is stage '{call['stage']}' version {call['version']}{where}: {state}"]
    other = nearest(calls, key)
    if other is None:
        return [*lines, f"  it is the first call of '{call['stage']}' in this store: there was nothing to reuse"]
    lines.append(f"  nearest other call: {other[:8]} ({where_made(calls, other)}); what differs:")
    return [*lines, *(f"    {line}" for line in differences(calls, key, other))]


def where_made(calls: Calls, key: str) -> str:
    """Whose call it is, and of which round."""
    return f"{calls.round_of(key) or 'unknown round'} of {'this run' if key in calls.planned else 'an earlier recipe'}"


def nearest(calls: Calls, key: str) -> str | None:
    """The finished call of the same stage that explains the most.

    First an earlier recipe's, then one of the same round, then the one that shares the most arguments: another round
    of the same run differs by its nature and explains nothing.
    """
    call = calls.call(key) or {}
    mine = dict(leaves(call["arguments"]))

    def rank(other: str) -> tuple[bool, bool, int, str]:
        theirs = dict(leaves((calls.call(other) or {})["arguments"]))
        differing = sum(mine.get(path) != theirs.get(path) for path in {*mine, *theirs})
        return (other in calls.planned, calls.round_of(other) != calls.round_of(key), differing, other)

    return min(calls.others(call["stage"], key), key=rank, default=None)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value of nested arguments, with its path."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def differences(calls: Calls, key: str, other: str, depth: int = 0) -> Iterator[str]:
    """What differs between two calls of one stage, followed through results to its origin."""
    mine, theirs = calls.call(key), calls.call(other)
    if mine is None or theirs is None:
        return
    if mine["version"] != theirs["version"]:
        yield f"stage version: {theirs['version']} → {mine['version']}"
    ours, old = dict(leaves(mine["arguments"])), dict(leaves(theirs["arguments"]))
    for path in sorted({*ours, *old}):
        if ours.get(path, "default") == old.get(path, "default"):
            continue
        yield f"{path}: {shown(old.get(path, 'default'))} → {shown(ours.get(path, 'default'))}"
        one, two = made_by(ours.get(path)), made_by(old.get(path))
        if one and two and depth < 8:
            first, second = calls.call(one), calls.call(two)
            if first and second and first["stage"] == second["stage"]:
                yield from (f"  from '{first['stage']}': {line}" for line in differences(calls, one, two, depth + 1))
            elif first and second:
                yield f"  from '{first['stage']}' instead of '{second['stage']}'"


def made_by(value: Any) -> str | None:
    """The key of the call that made an argument, if the argument is a result."""
    if not isinstance(value, str):
        return None
    key = value.removeprefix("made:")
    return key if len(key) == 32 and all(digit in "0123456789abcdef" for digit in key) else None


def shown(value: Any) -> str:
    """A value, keys shortened."""
    key = made_by(value)
    return key[:8] if key else repr(value) if not isinstance(value, str) else value
