"""Stages that tests of the kernel call; in a module of their own, since a fresh process imports them by name.

Each leaves a mark in a folder for every item it works on, so that a test can count what was computed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from selfalign.stage import Size, stage
from selfalign.types import Dropped
from selfalign.work import drop, in_shards, note

SHARD = 4


def some(size: Any, **_: Any) -> Size:
    """A guess."""
    return Size(rows=1)


def mark(folder: str, name: str) -> None:
    """Leave a mark that survives the process."""
    with (Path(folder) / "marks").open("a") as handle:
        handle.write(f"{name}\n")


@stage(version=1, needs="driver", expect=some)
def sharded(marks: str, rows: int, dies_at: str) -> Iterator[Dropped]:
    """Even numbers; odd ones are dropped. Dies at a row, once, if a file `deadly` says so."""

    def work_on(shard: list[int]) -> Iterable[Dropped]:
        for number in shard:
            if str(number) == dies_at and (Path(marks) / "deadly").exists():
                os.kill(os.getpid(), signal.SIGKILL)
            mark(marks, str(number))
            if number % 2:
                drop(f"row-{number}", "odd")
            else:
                yield Dropped(id=f"row-{number}", reason="even")

    yield from in_shards(range(rows), work_on, size=SHARD)
    note("halves", rows // 2)


@stage(version=1, needs="driver", expect=some)
def repeating(times: int) -> Iterator[Dropped]:
    """One id, several times."""
    for _ in range(times):
        yield Dropped(id="same", reason="again")


@stage(version=1, needs="driver", expect=some)
def failing(marks: str) -> Iterator[Dropped]:
    """Fails while a file `faulty` is there."""
    yield Dropped(id="one", reason="before the fault")
    if (Path(marks) / "faulty").exists():
        raise ZeroDivisionError("nobody expected this")


@stage(version=1, needs="driver", expect=some)
def slow(marks: str) -> Iterator[Dropped]:
    """Takes a while."""
    mark(marks, "worked")
    time.sleep(0.3)
    yield Dropped(id="one", reason="slowly")
