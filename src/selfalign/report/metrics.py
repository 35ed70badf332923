"""`metrics.jsonl`: one line a round, split and metric, for people who plot elsewhere."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from selfalign.folder import RunFolder
from selfalign.store import write_text

NAMES = ("mean", "low", "high", "items")


def readable(value: Any) -> Any:
    """A value as JSON knows it: a mean over no item is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_metrics(folder: RunFolder) -> Path:
    """Write every score of the latest run; gives the file."""
    lines = []
    for index, event in enumerate(folder.rounds()):
        for split, suites in event["scores"].items():
            for metric, score in suites.items():
                line = {
                    "round": index - 1,
                    "label": event["label"],
                    "model": event["model"],
                    "split": split,
                    "metric": metric,
                }
                line |= dict(zip(NAMES, score["mean"], strict=True))
                for change in ("against_base", "against_previous"):
                    if score[change] is not None:
                        line |= {f"{change}_{name}": value for name, value in zip(NAMES, score[change], strict=True)}
                lines.append(json.dumps({name: readable(value) for name, value in line.items()}, allow_nan=False))
    path = folder.path / "metrics.jsonl"
    write_text(path, "\n".join(lines) + "\n")
    return path
