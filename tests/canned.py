"""A model that writes what a test tells it to, and a store in which single stages are called.

The stages stand in a module of their own, since they are imported by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planting import as_many, planted_chats
from selfalign.engines.scripted import Script, ScriptedLM
from selfalign.executors.local import Here
from selfalign.ports import Advance, Continuation, unheard
from selfalign.run import Run
from selfalign.stage import asking, stage
from selfalign.store import Store
from selfalign.trainers.scripted import ScriptedTrainer
from selfalign.types import Chat, Demonstration, Message, Model, Probe, Rendering, Sampling, Score, Table, Text

WRITER = Model("scripted:it")
# What is written after a prompt, from the seed of its draws.
Says = Callable[[Chat, int], str | Continuation]


@stage(version=1, needs="driver", expect=as_many)
def planted_demonstrations(given: tuple[Demonstration, ...]) -> Iterator[Demonstration]:
    """Rows as given."""
    yield from given


@stage(version=1, needs="driver", expect=as_many)
def planted_probes(given: tuple[Probe, ...]) -> Iterator[Probe]:
    """Rows as given."""
    yield from given


@stage(version=1, needs="driver", expect=as_many)
def planted_texts(given: tuple[Text, ...]) -> Iterator[Text]:
    """Rows as given."""
    yield from given


@stage(version=1, needs="driver", expect=as_many)
def planted_scores(given: tuple[Score, ...]) -> Iterator[Score]:
    """Rows as given."""
    yield from given


@dataclass(frozen=True)
class Writer(ScriptedLM):
    """Continues every prompt as it is told."""

    says: Says

    def generate(
        self,
        prompts: Sequence[Chat],
        *,
        sampling: Sampling,
        rendering: Rendering,
        seeds: Sequence[int],
        advance: Advance = unheard,
    ) -> list[Continuation]:
        replies = [self.says(chat, seed) for chat, seed in zip(prompts, seeds, strict=True)]
        return [Continuation(reply, True, tokens=9) if isinstance(reply, str) else reply for reply in replies]


@dataclass(frozen=True)
class Writers:
    """Opens one writer."""

    lm: Writer

    @contextmanager
    def open(self, model: Model, folder: Path | None) -> Iterator[ScriptedLM]:
        yield self.lm

    def release(self) -> None: ...


class Bench:
    """A store and a model that writes what it is told to."""

    def __init__(self, folder: Path, says: Says = lambda chat, seed: "") -> None:
        engine = Writers(Writer(Script(name="it", skill=1.0), says))
        self.run = Run(Store(folder / "store"), Here(), engine, ScriptedTrainer(), ())
        self.store = self.run.store

    def asked(self, made: Callable[[], Table[Any]]) -> Table[Any]:
        """What stage calls make in the bench's store."""
        with asking(self.run):
            return made()

    def planted(self, rows: tuple[Chat, ...]) -> Table[Chat]:
        return self.asked(lambda: planted_chats(rows))

    def rows(self, table: Table[Any]) -> list[Any]:
        return list(self.store.rows(table.key))

    def notes(self, table: Table[Any]) -> dict[str, Any]:
        notes: dict[str, Any] = self.store.record(table.key)["notes"]
        return notes

    def reasons(self, table: Table[Any]) -> list[str]:
        return [row.reason for row in self.store.dropped(table.key)]


def user(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)
