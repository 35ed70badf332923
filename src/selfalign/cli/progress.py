"""What a person sees while a run works: bars on a terminal, plain lines elsewhere. Hears events, changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 10.0


class Lines:
    """One line when a call starts, every ten seconds while it works, when it is done, and for every alarm."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.work = Work()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Print what is worth a line."""
        kind = event["event"]
        if kind == "reused":
            self.say(event, f"reused {event['rows']} rows" if event["rows"] else "reused")
        elif kind == "started":
            self.work.start(event)
            self.say(event, f"{event['size']['rows']} rows")
        elif kind == "progress":
            self.work.add(event)
            if self.work.due(SECONDS_BETWEEN_LINES):
                self.say(event, self.work.text())
        elif kind == "made":
            self.say(event, done_text(event))
        elif kind == "guard":
            for alarm in event["alarms"]:
                self.say(event, alarm_text(alarm))

    def say(self, event: Mapping[str, Any], text: str) -> None:
        """One line: round, stage, key, what happened."""
        self.console.print(
            f"{event['round']:>8}  {event['stage']:<20} {event['key'][:8]}  {text}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


class Bars:
    """A bar for the call at work, a line for every one that is done."""

    def __init__(self, console: Console) -> None:
        self.lines = Lines(console)
        self.work = Work()
        self.bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TimeRemainingColumn(),
            console=console, transient=True,
        )  # fmt: skip
        self.task: Any = None

    def hear(self, event: Mapping[str, Any]) -> None:
        """Move the bar."""
        kind = event["event"]
        if kind == "started":
            self.work.start(event)
            title = f"{event['round']:>8}  {event['stage']:<20}"
            self.task = self.bars.add_task(title, total=self.work.total_rows or None, rate="")
            self.bars.start()
        elif kind == "progress" and self.task is not None:
            self.work.add(event)
            self.bars.update(self.task, completed=self.work.rows, rate=self.work.rate_text())
        elif kind in ("made", "failed") and self.task is not None:
            self.bars.remove_task(self.task)
            self.bars.stop()
            self.task = None
        if kind in ("made", "reused", "guard"):
            self.lines.hear(event)


class Work:
    """What the call at work has done so far, and how fast."""

    def __init__(self) -> None:
        self.total_rows = self.rows = self.tokens = 0
        self.step: int | None = None
        self.began = self.said = time.monotonic()

    def start(self, event: Mapping[str, Any]) -> None:
        """A call starts."""
        self.total_rows, self.rows, self.tokens, self.step = event["size"]["rows"], 0, 0, None
        self.began = self.said = time.monotonic()

    def add(self, event: Mapping[str, Any]) -> None:
        """Some of it is done."""
        self.rows += event["rows"]
        self.tokens += event["tokens"]
        self.step = event["step"] if event["step"] is not None else self.step

    def due(self, seconds: float) -> bool:
        """Whether so many seconds passed since it last was due."""
        if time.monotonic() - self.said < seconds:
            return False
        self.said = time.monotonic()
        return True

    def rate_text(self) -> str:
        """Tokens per second."""
        seconds = max(1e-6, time.monotonic() - self.began)
        return f"{self.tokens / seconds:,.0f} tokens/s" if self.tokens else ""

    def text(self) -> str:
        """Rows done, rate and remaining time."""
        seconds = time.monotonic() - self.began
        left = seconds * (self.total_rows - self.rows) / self.rows if self.rows else None
        parts = [f"{self.rows}/{self.total_rows} rows", self.rate_text()]
        if self.step is not None:
            parts.append(f"step {self.step}")
        if left is not None and left > 0:
            parts.append(f"about {left:.0f} s left")
        return ", ".join(part for part in parts if part)


def done_text(event: Mapping[str, Any]) -> str:
    """What a finished call made."""
    rows, dropped_all = event["rows"], event["dropped"] and not event["rows"]
    made = f"made {rows} rows" if rows or dropped_all else "made a model"
    dropped = f", dropped {event['dropped']}" if event["dropped"] else ""
    return f"{made}{dropped} in {event['seconds']:.1f} s"


def alarm_text(alarm: Mapping[str, Any]) -> str:
    """A measure beyond its limit, and how to go on where the run ends for it."""
    if alarm["level"] == "warn":
        return f"warning: {alarm['says']}"
    return f"stopped: {alarm['says']}; to go on all the same: -s guard.{alarm['metric']}.stop=null"


def shown_on(console: Console) -> Lines | Bars:
    """Bars for a terminal, lines for a file or a pipe."""
    return Bars(console) if console.is_terminal else Lines(console)
