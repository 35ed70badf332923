"""Values → inline SVG: where the chosen rows lie among all, and how the value they were chosen by falls.

Pure text in, text out, as in `charts`. Chosen rows differ from others by shape and size as well as colour, so the
picture holds in print and for those who do not tell the colours apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from selfalign.report.charts import LARGEST_DRAWN, MOST_STEPS_DRAWN, line, svg, text, tick_text, ticks

WIDTH, EDGE, FOOT = 720, 12, 30
LOWEST, TALLEST = 180, 460
DOT, DIAMOND = 1.6, 4.2
CHART_WIDTH, CHART_HEIGHT, CHART_LEFT, CHART_RIGHT, CHART_TOP, CHART_FOOT = 720, 240, 64, 16, 26, 40

Point = tuple[float, float]


def plane_chart(all_rows: Sequence[Point], chosen: Sequence[Point], *, shares: Point, title: str, name: str) -> str:
    """All rows as grey dots and the chosen ones as coloured diamonds, one scale for both axes."""
    points = [*all_rows, *chosen]
    (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
    inner = WIDTH - 2 * EDGE
    scale = inner / (right - left) if right > left else 1.0
    height = min(TALLEST, max(LOWEST, scale * (high - low)))
    if high > low:
        scale = min(scale, height / (high - low))
    middle, centre = (left + right) / 2, (low + high) / 2

    def at(point: Point) -> Point:
        return WIDTH / 2 + scale * (point[0] - middle), EDGE + height / 2 - scale * (point[1] - centre)

    dots = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in map(at, all_rows))
    d = DIAMOND
    marks = "".join(f"M{x:.1f} {y - d:.1f}l{d} {d}-{d} {d}-{d}-{d}z" for x, y in map(at, chosen))
    first, second = (f"{100 * share:.1f} % of the variance" for share in shares)
    under = EDGE + height + 20
    parts = [
        f'<rect class="frame" x="1" y="1" width="{WIDTH - 2}" height="{height + 2 * EDGE - 2:.1f}"/>',
        f'<path class="dots" d="{dots}"/>',
        f'<path class="picked" d="{marks}"/>',
        text(EDGE, under + 6, f"across: first principal component, {first}", "tick"),
        text(WIDTH - EDGE, under + 6, f"up: second, {second}", "tick end"),
    ]
    said = (
        f"{len(all_rows):,} rows as grey dots and {len(chosen):,} chosen rows as diamonds, in the plane in which the "
        f"vectors vary most: {first} across, {second} up."
    )
    size = (WIDTH, math.ceil(height + 2 * EDGE + FOOT))
    return svg(parts, title=title, description=said, name=name, size=size)


def order_chart(values: Sequence[float | None], *, unit: str, title: str, name: str) -> str:
    """The value of each choice over the order of choosing, many thinned out; empty where no choice has a value."""
    known = [(place, value) for place, value in enumerate(values) if value is not None and abs(value) < LARGEST_DRAWN]
    if not known:
        return ""
    every = math.ceil(len(known) / MOST_STEPS_DRAWN)
    drawn = [point for number, point in enumerate(known) if number % every == 0 or number == len(known) - 1]
    low, high = min(value for _, value in known), max(value for _, value in known)
    air = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = (max(0.0, low - air) if low >= 0 else low - air), high + air
    tall, across = CHART_HEIGHT - CHART_TOP - CHART_FOOT, CHART_WIDTH - CHART_LEFT - CHART_RIGHT

    def at(place: float, value: float) -> Point:
        x = CHART_LEFT + across * (place / (len(values) - 1) if len(values) > 1 else 0.5)
        return x, CHART_HEIGHT - CHART_FOOT - tall * (value - low) / (high - low)

    marks = ticks(low, high)
    step = marks[1] - marks[0] if len(marks) > 1 else high - low
    parts = [text(8, 14, unit, "unit")]
    for value in marks:
        y = at(0, value)[1]
        parts.append(line((CHART_LEFT, y), (CHART_WIDTH - CHART_RIGHT, y), "grid"))
        parts.append(text(CHART_LEFT - 6, y + 3.5, tick_text(value, step), "tick end"))
    foot = CHART_HEIGHT - CHART_FOOT + 16
    parts.append(text(CHART_LEFT - 6, foot + 14, "choice", "tick end"))
    for place in sorted({0, (len(values) - 1) // 2, len(values) - 1}):
        parts.append(text(at(place, low)[0], foot + 14, f"{place + 1:,}", "tick middle"))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in drawn))
    parts.append(f'<polyline class="line series-0" points="{path}"/>')
    if len(drawn) <= 40:
        for x, y in (at(*point) for point in drawn):
            parts.append(f'<circle class="mark series-0" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    said = f"{unit} over {len(values):,} choices: {drawn[0][1]:.4g} at first, {drawn[-1][1]:.4g} at last."
    return svg(parts, title=title, description=said, name=name, size=(CHART_WIDTH, CHART_HEIGHT))
