"""What every experiment on a claim shares: recipes as files, scores over seeds, and a verdict.

A claim is a comparison stated before it is run: ours against theirs, metric by metric, paired by seed. Its verdict is
"holds" if the 95 % interval of the gain over seeds lies above zero, "does not hold" if it lies below the smallest gain
worth having, and "cannot tell" otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import mean, stdev
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import yaml
from scipy import stats

from selfalign.embedded.toy_tasks import ToyTask
from selfalign.playing import Played, play_recipe
from selfalign.store import Store

# By metric: whether more is better, and the smallest gain worth having.
METRICS: Mapping[str, tuple[int, float]] = {"nll": (-1, 0.02), "exact_match": (1, 0.02)}
RECORDS = Path(__file__).parent / "records"
HOLDS, DOES_NOT_HOLD, CANNOT_TELL = "holds", "does not hold", "cannot tell"


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % t-interval over seeds."""
    if len(values) < 2:
        return values[0], float("nan"), float("nan")
    half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values) / len(values) ** 0.5
    return mean(values), mean(values) - half, mean(values) + half


def shown(values: Sequence[float], *, digits: int = 3) -> str:
    middle, low, high = interval(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


@dataclass(frozen=True)
class Claim:
    """Ours against theirs in one metric: the gain of every seed, positive where ours is better."""

    ours: str
    theirs: str
    metric: str
    gains: tuple[float, ...]

    @property
    def verdict(self) -> str:
        _, low, high = interval(self.gains)
        if low > 0:
            return HOLDS
        return DOES_NOT_HOLD if high < METRICS[self.metric][1] else CANNOT_TELL

    def __str__(self) -> str:
        return (
            f"claim: {self.ours} beats {self.theirs} ({self.metric}): {self.verdict}; gain {shown(self.gains)}, "
            f"better in {sum(gain > 0 for gain in self.gains)} of {len(self.gains)}"
        )


def claimed(
    ours: str, theirs: str, our_scores: Sequence[Mapping[str, float]], their_scores: Sequence[Mapping[str, float]]
) -> list[Claim]:
    """One claim per metric, from the scores of every seed in the same order."""
    return [
        Claim(
            ours, theirs, metric,
            tuple(sign * (a[metric] - b[metric]) for a, b in zip(our_scores, their_scores, strict=True)),
        )
        for metric, (sign, _) in METRICS.items()
    ]  # fmt: skip


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as a JSONL file; gives its path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def rows_of(tasks: Iterable[ToyTask], form: str = "{}") -> list[dict[str, str]]:
    """Toy tasks as prompts with their answers, in a form."""
    return [{"id": one.id, "prompt": one.instruction, "completion": form.format(one.output)} for one in tasks]


def played(
    folder: Path,
    name: str,
    method: Mapping[str, Any],
    *,
    held_out: Path,
    rounds: int,
    max_new_tokens: int = 24,
    temperature: float = 0.0,
    micro_batch_tokens: int | None = 8192,
    observers: tuple[Any, ...] = (),
    **evaluation: Any,
) -> Played:
    """Play one recipe, written into the folder beside the store that all runs of an experiment share.

    Nothing is decided by the held-out rows, though they stand under `dev`: no run here stops early.
    """
    batches = {} if micro_batch_tokens is None else {"micro_batch_tokens": micro_batch_tokens}
    settings = {
        "name": name,
        "method": dict(method),
        "rounds": rounds,
        "evaluate": {
            "dev": {"held_out": str(held_out), "checks": ["exact_match"]},
            "sampling": {"max_new_tokens": max_new_tokens, "temperature": temperature},
            **evaluation,
        },
        "place": {"store": str(folder / "store"), **batches},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return play_recipe(path, [], folder / "runs" / name, observers=observers)


def last_model(folder: Path, one: Played) -> str:
    """A run's last model, named as a base for the next run."""
    return f"path:{Store(folder / 'store').model_folder(one.outcome.models[-1].ref.removeprefix('made:'))}"


def scores_of(one: Played, place: int = -1) -> dict[str, float]:
    """The mean of each metric after a round; 0 is the base, -1 the last."""
    scores = one.outcome.scores[place]["dev"]
    return {metric: scores[metric].mean.mean for metric in METRICS}


def steps_of(folder: Path, one: Played, place: int = -1) -> int:
    """How many optimiser steps a round's model was trained."""
    record = Store(folder / "store").record(one.outcome.models[place].ref.removeprefix("made:"))
    return len(record["notes"]["steps"])


class Tee:
    """Standard output that is kept, too."""

    def __init__(self) -> None:
        self.screen = sys.stdout
        self.kept: list[str] = []

    def write(self, text: str) -> int:
        self.kept.append(text)
        return self.screen.write(text)

    def flush(self) -> None:
        self.screen.flush()


def run_experiment(
    description: str,
    reported: Sequence[int],
    report: Callable[[Path, argparse.Namespace], None],
    arms: Sequence[str] = (),
) -> None:
    """Read the command line and report in the folder it names, or in one that is removed."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(reported))
    if arms:
        parser.add_argument("--arms", nargs="+", default=list(arms), choices=arms)
    parser.add_argument("--split", default="test", choices=("dev", "test"), help="settings are chosen on dev")
    parser.add_argument("--folder", type=Path, help="keep the runs here (default: a folder that is removed)")
    says = "keep what is printed as the record that docs/evidence.md is written from (reported seeds and all arms only)"
    parser.add_argument("--record", action="store_true", help=says)
    options = parser.parse_args()
    whole = (
        options.seeds == list(reported) and options.split == "test" and set(arms) <= set(getattr(options, "arms", ()))
    )
    if options.record and not whole:
        parser.error("--record takes the reported seeds, the test split and all arms")
    with tempfile.TemporaryDirectory() as temporary, redirect_stdout(Tee()) as tee:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report(folder, options)
    if options.record:
        script = Path(sys.argv[0])
        RECORDS.mkdir(exist_ok=True)
        (RECORDS / f"{script.stem}.txt").write_text(f"{made_with(script)}\n{''.join(tee.kept)}", "utf-8")


def made_with(script: Path) -> str:
    """What a record was made with, a line each."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=RECORDS.parent, capture_output=True, text=True, check=False
    )
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("selfalign", "torch", "transformers", "scipy"))
    return (
        f"command: python benchmarks/claims/{script.name}\ncommit: {commit.stdout.strip() or 'unknown'}\n"
        f"versions: Python {platform.python_version()}, {versions}\nprocessor: {processor()}, {os.cpu_count()} cores\n"
    )


def processor() -> str:
    """The processor's name, where the system tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
