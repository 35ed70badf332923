"""Counts → inline SVG: how often each grade was given.

Pure text in, text out, as in `charts`. Bars are drawn and not coloured boxes, so they are on paper too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from selfalign.report.charts import line, svg, text, tick_text, ticks

WIDTH, HEIGHT = 360, 180
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 26, 34
MOST_NUMBERED = 12
GAP = 0.15


def grades_chart(counts: Sequence[int], *, low: float, high: float, title: str, name: str) -> str:
    """A bar for each count, evenly spread from `low` to `high`; few bars have their numbers on top."""
    most, across, base = max(counts, default=0) or 1, WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM
    tall, wide = HEIGHT - TOP - BOTTOM, (WIDTH - LEFT - RIGHT) / len(counts)
    marks = [value for value in ticks(0.0, float(most), most=4) if value == int(value)]
    parts = [text(8, 12, "rows", "unit")]
    for value in marks:
        y = base - tall * value / most
        parts.append(line((LEFT, y), (WIDTH - RIGHT, y), "grid"))
        parts.append(text(LEFT - 6, y + 3.5, tick_text(value, 1.0), "tick end"))
    for place, count in enumerate(counts):
        left, height = LEFT + wide * (place + GAP / 2), tall * count / most
        parts.append(
            f'<rect class="pillar" x="{left:.1f}" y="{base - height:.1f}" width="{wide * (1 - GAP):.1f}" '
            f'height="{height:.1f}"/>'
        )
        if count and len(counts) <= MOST_NUMBERED:
            parts.append(text(left + wide * (1 - GAP) / 2, base - height - 4, f"{count:,}", "tick middle strong"))
    for value in whole_marks(low, high):
        parts.append(text(LEFT + across * (value - low) / (high - low), base + 16, f"{value}", "tick middle"))
    parts.append(text(LEFT - 12, base + 16, "grade", "tick end"))
    return svg(parts, title=title, description=told(counts, low, high), name=name, size=(WIDTH, HEIGHT))


def whole_marks(low: float, high: float) -> list[int]:
    """Whole numbers between two ends, not more than fit below a drawing."""
    numbers = range(math.ceil(low), math.floor(high) + 1)
    return list(numbers[:: math.ceil(len(numbers) / MOST_NUMBERED) or 1])


def told(counts: Sequence[int], low: float, high: float) -> str:
    """The drawing in words, for those who do not see it."""
    step = (high - low) / len(counts)
    bars = [
        f"{count:,} from {low + step * place:.3g} to {low + step * (place + 1):.3g}"
        for place, count in enumerate(counts)
        if count
    ]
    return f"Rows by grade: {', '.join(bars)}."
