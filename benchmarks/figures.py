"""What a benchmark row is, and how sides are measured in turns.

It knows clocks, processes and formats; it does not know what is measured, and imports no tensor library.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

DRIVER = Path(__file__).parent / "bench.py"
ROW_MARK, TURN_MARK = "ROW ", "TURN "


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a topic is asked for. `threads` is the OpenMP policy of every side; `smoke` wants the smallest sizes."""

    repeats: int = 3
    smoke: bool = False
    threads: Literal["passive", "default"] = "passive"
    model: str = "embedded:smollm2"

    def size(self, full: int, smoke: int) -> int:
        """The size to measure at."""
        return smoke if self.smoke else full

    def flags(self) -> list[str]:
        """The same settings as arguments of the driver."""
        smoke = ["--smoke"] if self.smoke else []
        return ["--repeats", str(self.repeats), "--thread-policy", self.threads, "--model", self.model, *smoke]


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One side, once: the time it took and how much (tokens, rows …) it did; `facts` are figures of its own."""

    seconds: float
    processor_seconds: float = 0.0
    amount: float = 1.0
    facts: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """The amount done per second."""
        return self.amount / self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What the median must reach and aims at: `least` or `most` so much."""

    must: float
    aim: float | None = None
    side: Literal["least", "most"] = "least"
    unit: str = "×"

    def met_by(self, value: float) -> bool:
        """Whether a figure is good enough."""
        return value >= self.must if self.side == "least" else value <= self.must

    def told(self) -> str:
        """The demand as it stands in the table."""
        sign = "≥" if self.side == "least" else "≤"
        aim = "" if self.aim is None else f" → {self.aim:g}{self.unit}"
        return f"{sign} {self.must:g}{self.unit}{aim}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of the table. `judged` is what the demand is about (a ratio per turn, or our own figures).

    `id` begins with the topic that measured it. `limit` is what this machine could reach at best; `note` says sizes
    and whatever else a reader needs to know.
    """

    id: str
    stage: str
    peer: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    judged: tuple[float, ...]
    demand: Demand
    limit: str = ""
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the median is good enough."""
        return self.demand.met_by(statistics.median(self.judged))

    def line(self) -> str:
        """The row as it is printed when it is known."""
        peer = f", peer {spread(self.theirs)}" if self.theirs else ""
        verdict = "met" if self.met else "NOT met"
        limit = f"; limit {self.limit}" if self.limit else ""
        judged = f"{spread(self.judged)} {self.demand.unit.strip()}"
        return (
            f"{self.stage} | {self.peer}: ours {spread(self.ours)}{peer} {self.unit}; "
            f"{judged}, asked {self.demand.told()}: {verdict}{limit}\n    {self.note}"
        )


def row_from(text: str) -> Row:
    """A row from the JSON that a topic printed."""
    given: dict[str, Any] = json.loads(text)
    given |= {name: tuple(given[name]) for name in ("ours", "theirs", "judged")}
    return Row(**{**given, "demand": Demand(**given["demand"])})


# ----------------------------------------------------------------------------------------------- formats


def figure(value: float) -> str:
    """A number with about three digits that mean something."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def spread(values: Sequence[float]) -> str:
    """Minimum, median and maximum; a single figure stands for itself."""
    if len(values) == 1:
        return figure(values[0])
    return " / ".join(figure(value) for value in (min(values), statistics.median(values), max(values)))


def median_rate(turns: Sequence[Turn]) -> float:
    """The median amount per second."""
    return statistics.median(turn.rate for turn in turns)


def processor_ratio(ours: Sequence[Turn], theirs: Sequence[Turn]) -> str:
    """The ratio of amounts per processor second, which means more than wall time on a busy machine."""
    ratios = [
        (own.amount / own.processor_seconds) / (other.amount / other.processor_seconds)
        for own, other in zip(ours, theirs, strict=True)
    ]
    return f"per processor second {spread(ratios)} ×"


# --------------------------------------------------------------------------------------------- measuring


def timed(work: Callable[[], float], **facts: float) -> Turn:
    """Do the work, which gives the amount it did, and say how long it took."""
    began, worked = time.perf_counter(), time.process_time()
    amount = work()
    return Turn(
        seconds=time.perf_counter() - began,
        processor_seconds=time.process_time() - worked,
        amount=amount,
        facts=facts,
    )


def in_turns(sides: Mapping[str, Callable[[int], Turn]], repeats: int) -> dict[str, list[Turn]]:
    """Every side once, then every side again …, so that all of them meet the same neighbours."""
    made: dict[str, list[Turn]] = {name: [] for name in sides}
    for number in range(1, repeats + 1):
        for name, side in sides.items():
            made[name].append(side(number))
            turn = made[name][-1]
            print(
                f"  turn {number}  {name:24} {turn.seconds:8.2f} s  {figure(turn.rate)} /s", file=sys.stderr, flush=True
            )
    return made


def by_rate(ours: Sequence[Turn], theirs: Sequence[Turn], *, demand: Demand, unit: str, **words: str) -> Row:
    """A row about amounts per second: the ratio is ours over theirs, turn by turn."""
    rates = [[turn.rate for turn in side] for side in (ours, theirs)]
    ratios = tuple(own / other for own, other in zip(*rates, strict=True))
    return Row(unit=unit, ours=tuple(rates[0]), theirs=tuple(rates[1]), judged=ratios, demand=demand, **words)


def by_seconds(ours: Sequence[Turn], theirs: Sequence[Turn], *, demand: Demand, **words: str) -> Row:
    """A row about the time the same work takes: the ratio is theirs over ours, turn by turn."""
    seconds = [[turn.seconds for turn in side] for side in (ours, theirs)]
    ratios = tuple(other / own for own, other in zip(*seconds, strict=True))
    return Row(unit="s", ours=tuple(seconds[0]), theirs=tuple(seconds[1]), judged=ratios, demand=demand, **words)


def in_fresh_process(role: str, settings: Settings) -> Turn:
    """What `alone` of a topic measures in a process of its own; a role is `topic:words of its choice`.

    Raises:
        SystemExit: the process failed; shows the end of what it said.
    """
    command = [sys.executable, str(DRIVER), "--alone", role, *settings.flags()]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    if output.returncode:
        raise SystemExit(f"{role} failed:\n{output.stderr[-3000:]}")
    told = [line for line in output.stdout.splitlines() if line.startswith(TURN_MARK)]
    given: dict[str, Any] = json.loads(told[-1].removeprefix(TURN_MARK))
    return Turn(**given)


def in_fresh_turns(roles: Mapping[str, str], settings: Settings, repeats: int) -> dict[str, list[Turn]]:
    """Every side in turns, each time in a process of its own."""

    def side(role: str) -> Callable[[int], Turn]:
        return lambda _turn: in_fresh_process(role, settings)

    return in_turns({name: side(role) for name, role in roles.items()}, repeats)


def said(mark: str, value: Row | Turn) -> str:
    """A row or a turn as one line for the process that waits for it."""
    return mark + json.dumps(asdict(value))


# ------------------------------------------------------------------------------------------------ memory


def resident_gb(name: Literal["VmRSS", "VmHWM"] = "VmHWM") -> float:
    """Resident memory of this process in GB, now (`VmRSS`) or at its highest (`VmHWM`)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError(f"/proc/self/status has no {name}")


def forget_peak() -> float:
    """Let the highest memory count from now on; gives what is resident now, in GB."""
    Path("/proc/self/clear_refs").write_text("5")
    return resident_gb("VmRSS")
