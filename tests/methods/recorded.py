"""What a played run left in its store, read as a reader of the paper would ask: who was trained on what, from whom."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripted_recipes import settings_of, written
from selfalign.folder import RunFolder
from selfalign.playing import play_recipe
from selfalign.store import Store

BASE = "scripted:novice"


@dataclass(frozen=True)
class Recorded:
    """A run's store and the events of its rounds, the base first."""

    store: Store
    rounds: list[dict[str, Any]]

    def arguments(self, handle: str) -> dict[str, Any]:
        """The arguments of the call that made a handle or key."""
        arguments: dict[str, Any] = self.record(handle)["arguments"]
        return arguments

    def record(self, handle: str) -> dict[str, Any]:
        """What is recorded about the call that made a handle or key."""
        return self.store.record(handle.removeprefix("made:"))

    def models(self) -> list[str]:
        """The model every round made, the base first."""
        return [event["model"] for event in self.rounds]

    def trainings(self) -> list[dict[str, Any]]:
        """The arguments of every round's training."""
        return [self.arguments(model) for model in self.models()[1:]]

    def rows(self, table: dict[str, str]) -> list[Any]:
        """The rows of a table as an argument names it."""
        return list(self.store.rows(table["table"]))


def played(method: str, folder: Path, *, rounds: int = 3, **changes: Any) -> Recorded:
    """Play a scripted recipe of a method, its settings changed as told."""
    recipe = written(folder, settings_of(method, folder / "store", **changes) | {"rounds": rounds})
    play_recipe(recipe, [], folder / "run")
    return Recorded(Store(folder / "store"), RunFolder(folder / "run").rounds())
