"""The rounds of a run as one table: means, changes against the base with their intervals, and which round is kept.

Works on `round` events alone (see `loop.plain_scores`), so it shows finished, running and broken runs alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from selfalign.stages.evaluate import METRICS

FIRST = (
    "nll",
    "house_style",
    "exact_match",
    "instructions",
    "prefers_human",
    "answer_words",
    "near_duplicate",
    "unfinished",
)


def metrics_of(rounds: Sequence[Mapping[str, Any]], split: str) -> list[str]:
    """The metrics measured on a split, the telling ones first."""
    measured = rounds[0]["scores"].get(split, {})
    return [
        name
        for name in (*FIRST, *METRICS)
        if name in measured and name not in FIRST[: FIRST.index(name) if name in FIRST else 0]
    ]


def number(name: str, value: float) -> str:
    """A mean as people read it: shares in per cent."""
    return f"{100 * value:.1f} %" if METRICS[name].share else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def change(name: str, interval: Sequence[float]) -> str:
    """A change with its 95 % interval, in the metric's unit (percentage points for shares)."""
    scale, digits = (100, 1) if METRICS[name].share else (1, 3)
    mean, low, high = (scale * value for value in interval[:3])
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def verdict(name: str, interval: Sequence[float]) -> str:
    """`better`, `worse` or `no clear change`: whether the interval leaves out zero, and on which side."""
    _, low, high = interval[:3]
    if low <= 0 <= high:
        return "no clear change"
    better = METRICS[name].better
    if better is None:
        return "higher" if low > 0 else "lower"
    return "better" if (low > 0) == (better == "higher") else "worse"


COLOURS = {"better": "green", "worse": "red", "no clear change": "dim", "higher": "cyan", "lower": "cyan"}


def rounds_table(rounds: Sequence[Mapping[str, Any]], split: str) -> RichTable:
    """One line a metric, one column a round: the mean, and below it the paired change against the base."""
    kept = rounds[-1]["best"]
    table = RichTable(
        box=box.SIMPLE_HEAD, title=f"{split}: mean, and paired change against the base with its 95 % interval"
    )
    table.add_column("metric")
    for event in rounds:
        table.add_column(f"{event['label']}{' (kept)' if event['label'] == kept else ''}", justify="right")
    for name in metrics_of(rounds, split):
        cells = []
        for event in rounds:
            score = event["scores"][split][name]
            cell = Text(number(name, score["mean"][0]))
            if score["against_base"] is not None:
                cell.append("\n" + change(name, score["against_base"]), COLOURS[verdict(name, score["against_base"])])
            cells.append(cell)
        side = METRICS[name].better
        hint = {"lower": " ↓", "higher": " ↑", None: ""}[side]
        table.add_row(f"{name}{hint}\n[dim]{rounds[0]['scores'][split][name]['mean'][3]} items[/dim]", *cells)
    return table


def conclusions(rounds: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """What the table says, in sentences: every round against the base and the one before, and what is kept."""
    split = "test" if "test" in rounds[0]["scores"] else "dev"
    said = []
    for before, event in zip(rounds, rounds[1:], strict=False):
        score = event["scores"][split][metric]
        text = f"{event['label']}: {metric} on {split} {verdict(metric, score['against_base'])} than the base"
        text = text.replace("no clear change than", "not clearly different from")
        text += f", {change(metric, score['against_base'])}"
        if before is not rounds[0]:
            text += f"; against {before['label']}: {verdict(metric, score['against_previous'])}, {change(metric, score['against_previous'])}"
        said.append(text)
    kept = rounds[-1]["best"]
    said.append(
        f"kept: {kept}, the best {metric} on dev"
        if kept != "base"
        else f"kept: base; no round had a better {metric} on dev"
    )
    return said
