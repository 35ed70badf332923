"""Play a recipe and die, without a word, as soon as a stage has worked on so many rows: `RECIPE RUN STAGE ROWS`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfalign.playing import play_recipe


class Death:
    """Hears progress, and kills the process when it has heard enough."""

    def __init__(self, stage: str, rows: int) -> None:
        self.stage, self.left = stage, rows

    def hear(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "progress" and event["stage"] == self.stage:
            self.left -= event["rows"]
            if self.left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    play_recipe(Path(sys.argv[1]), [], Path(sys.argv[2]), observers=(Death(sys.argv[3], int(sys.argv[4])),))
