"""Play a recipe in processes that kill themselves, again and again, until one of them gets through.

A process dies just before its k-th rename: every file that selfalign writes becomes visible by a rename, so these are
the moments between two of its states, within shards and training as well as between calls. k cycles, since a process
that is always killed at the same step might never take it.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import cycle
from pathlib import Path

import pyarrow.parquet  # noqa: F401 - imported before the first fork, so that no child pays for it

import selfalign.measures.intervals
import selfalign.report.html
import selfalign.trainers.scripted  # noqa: F401 - as above
from selfalign.playing import play_recipe

# The first two renames of every process write down recipe and plan; what follows is progress.
RENAMES_BEFORE_DEATH = (4, 7, 5, 1, 9, 6, 12)
# Longer lives after each turn: the run's last moments take many renames that a new process has to repeat.
LONGER_EACH_TURN = 3


def play_until_killed(recipe: Path, output: Path, renames: int) -> None:
    """Play, and die without warning before rename number `renames` + 1."""
    left = renames

    def count(event: str, _: object) -> None:
        nonlocal left
        if event == "os.rename":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    play_recipe(recipe, [], output)


def main() -> None:
    """Print how many processes died before one finished."""
    recipe, output = Path(sys.argv[1]), Path(sys.argv[2])
    for deaths, first in enumerate(cycle(RENAMES_BEFORE_DEATH)):
        renames = first + LONGER_EACH_TURN * (deaths // len(RENAMES_BEFORE_DEATH))
        child = os.fork()
        if child == 0:
            play_until_killed(recipe, output, renames)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            print(deaths)
            sys.exit(os.WEXITSTATUS(status))


if __name__ == "__main__":
    main()
