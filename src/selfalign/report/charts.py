"""Values → inline SVG: how a metric moves over rounds, how a loss falls over steps.

Pure text in, text out; colours are classes the page's style sheet fills in, so one drawing serves light and dark.
It does not know runs, metrics or files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from selfalign.report.visible import visible

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 56, 44, 26, 40
LABEL_HEIGHT = 13
MOST_STEPS_DRAWN = 240
# Beyond this a value is a fault, not a measurement; drawing it would flatten every other point.
LARGEST_DRAWN = 1e15

Point = tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """One line: for each round its mean and the ends of its interval, None where there is none; base first.

    `style` is its colour and mark, so that a split looks alike in every chart, whichever other split is missing there.
    """

    name: str
    points: tuple[Point, ...]
    style: int = 0

    def drawn(self) -> list[tuple[int, tuple[float, float, float]]]:
        """The points that are finite, with their places."""
        return [
            (place, point)
            for place, point in enumerate(self.points)
            if point is not None and all(abs(value) < LARGEST_DRAWN for value in point)
        ]


@dataclass(frozen=True, slots=True)
class Frame:
    """The drawing area: values to pixels."""

    places: int
    low: float
    high: float

    def x(self, place: float) -> float:
        """The horizontal pixel of a place; one place alone stands in the middle."""
        inset = 16
        across = WIDTH - LEFT - RIGHT - 2 * inset
        return LEFT + inset + (across * place / (self.places - 1) if self.places > 1 else across / 2)

    def y(self, value: float) -> float:
        """The vertical pixel of a value."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - self.low) / (self.high - self.low)


def frame_for(values: Sequence[float], places: int) -> Frame:
    """A frame that holds all values with some air; it starts at zero rather than below it when nothing is negative."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    air = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return Frame(places, max(0.0, low - air) if low >= 0 else low - air, high + air)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) between two ends, at most `most` of them."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_text(value: float, step: float) -> str:
    """A tick as people read it, with no more digits than its step needs."""
    if abs(value) >= 1e5 or step < 1e-4:
        return f"{value:.1e}".replace("-", "−")
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}".replace("-", "−")


def rounds_chart(
    series: Sequence[Series], *, labels: Sequence[str], kept: int | None, title: str, unit: str, name: str
) -> str:
    """A line for each series over rounds, intervals as whiskers, the base dashed, the kept round on a band.

    `name` makes the ids of this drawing differ from those of others on the page.
    """
    values = [value for one in series for _, point in one.drawn() for value in point]
    frame = frame_for(values, len(labels))
    parts = [*y_axis(frame, unit), *round_axis(frame, labels, kept)]
    for number, one in enumerate(series):
        parts += drawn_series(frame, one, aside=3 * (2 * number - len(series) + 1))
    parts += end_labels(frame, series)
    return svg(parts, title=title, description=told(series, labels, kept, unit), name=name)


def y_axis(frame: Frame, unit: str) -> list[str]:
    """Grid lines with their values, and the unit above them."""
    values = ticks(frame.low, frame.high)
    step = values[1] - values[0] if len(values) > 1 else frame.high - frame.low
    parts = [text(8, 14, unit, "unit")] if unit else []
    for value in values:
        height = frame.y(value)
        parts.append(line((LEFT, height), (WIDTH - RIGHT, height), "grid"))
        parts.append(text(LEFT - 6, height + 3.5, tick_text(value, step), "tick end"))
    return parts


def round_axis(frame: Frame, labels: Sequence[str], kept: int | None) -> list[str]:
    """Round names below the drawing, as many as fit, and a band for the kept round."""
    parts = []
    every = math.ceil(len(labels) / 12)
    if kept is not None:
        middle, width = frame.x(kept), 30 if len(labels) <= 8 else 12
        left, tall = middle - width / 2, HEIGHT - TOP - BOTTOM
        parts.append(f'<rect class="kept" x="{left:.1f}" y="{TOP}" width="{width}" height="{tall}"/>')
        parts.append(text(middle, HEIGHT - BOTTOM + 30, "kept", "tick middle strong"))
    parts.append(text(LEFT - 6, HEIGHT - BOTTOM + 16, "round", "tick end"))
    for place, label in enumerate(labels):
        if place % every == 0:
            parts.append(text(frame.x(place), HEIGHT - BOTTOM + 16, label.removeprefix("round "), "tick middle"))
    return parts


def drawn_series(frame: Frame, series: Series, *, aside: float) -> list[str]:
    """One series: its base as a dashed line, whiskers, the line itself and a mark for each round."""
    parts = []
    points, number = series.drawn(), series.style
    if points and points[0][0] == 0:
        height = frame.y(points[0][1][0])
        parts.append(line((LEFT, height), (WIDTH - RIGHT, height), f"base series-{number}"))
    places = [(frame.x(place) + aside, frame.y(point[0])) for place, point in points]
    for (x, _), (_, (_, low, high)) in zip(places, points, strict=True):
        bottom, top = frame.y(low), frame.y(high)
        parts += [
            line((x, bottom), (x, top), f"whisker series-{number}"),
            line((x - 3, bottom), (x + 3, bottom), f"whisker series-{number}"),
            line((x - 3, top), (x + 3, top), f"whisker series-{number}"),
        ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline class="line series-{number}" points="{path}"/>')
    return [*parts, *(mark(x, y, number) for x, y in places)]


def mark(x: float, y: float, number: int) -> str:
    """A circle for the first style, a square for the second: told apart without colour."""
    if number == 0:
        return f'<circle class="mark series-0" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>'
    return f'<rect class="mark series-{number}" x="{x - 3.3:.1f}" y="{y - 3.3:.1f}" width="6.6" height="6.6"/>'


def end_labels(frame: Frame, series: Sequence[Series]) -> list[str]:
    """Each series named beside its last point, names pushed apart where they would touch."""
    ends = [(frame.y(points[-1][1][0]), one.style, one.name) for one in series if (points := one.drawn())]
    parts = []
    lowest = TOP - LABEL_HEIGHT + 4.0
    for height, number, name in sorted(ends):
        lowest = max(height, lowest + LABEL_HEIGHT)
        parts.append(text(WIDTH - RIGHT + 4, lowest + 4, name, f"name series-{number}"))
    return parts


def told(series: Sequence[Series], labels: Sequence[str], kept: int | None, unit: str) -> str:
    """The drawing in words, for those who do not see it."""
    said = [
        f"{one.name}: "
        + ", ".join(f"{labels[place]} {point[0]:.4g} [{point[1]:.4g}, {point[2]:.4g}]" for place, point in one.drawn())
        for one in series
    ]
    return f"{unit}. {'; '.join(said)}." + (f" Kept: {labels[kept]}." if kept is not None else "")


def loss_chart(losses: Sequence[float], *, first_step: int, title: str, name: str) -> str:
    """The training loss over optimiser steps as one thin line; steps in between are thinned out, the ends never."""
    drawn = [(place, loss) for place, loss in enumerate(losses) if abs(loss) < LARGEST_DRAWN]
    every = math.ceil(len(drawn) / MOST_STEPS_DRAWN) or 1
    drawn = [point for number, point in enumerate(drawn) if number % every == 0 or number == len(drawn) - 1]
    frame = frame_for([loss for _, loss in drawn], len(losses))
    path = " ".join(f"{frame.x(place):.1f},{frame.y(loss):.1f}" for place, loss in drawn)
    parts = [*y_axis(frame, "loss"), text(LEFT - 6, HEIGHT - BOTTOM + 16, "step", "tick end")]
    parts += [
        text(frame.x(place), HEIGHT - BOTTOM + 16, f"{first_step + place:,}", "tick middle")
        for place in sorted({0, (len(losses) - 1) // 2, len(losses) - 1})
        if place >= 0
    ]
    parts.append(f'<polyline class="line series-0" points="{path}"/>')
    if len(drawn) == 1:
        parts.append(mark(frame.x(drawn[0][0]), frame.y(drawn[0][1]), 0))
    ends = f"{drawn[0][1]:.4g} at first, {drawn[-1][1]:.4g} at last" if drawn else "no finite loss"
    return svg(parts, title=title, description=f"Loss over {len(losses)} steps: {ends}.", name=name)


def svg(
    parts: Sequence[str], *, title: str, description: str, name: str, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> str:
    """A drawing that scales with its column and says in words what it shows."""
    return (
        f'<svg viewBox="0 0 {size[0]} {size[1]}" role="img" aria-labelledby="{name}-title {name}-said">'
        f'<title id="{name}-title">{escape(visible(title))}</title>'
        f'<desc id="{name}-said">{escape(visible(description))}</desc>{"".join(parts)}</svg>'
    )


def line(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'


def text(x: float, y: float, words: str, kind: str) -> str:
    """Words at a place, escaped."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(visible(words))}</text>'
