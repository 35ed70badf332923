"""Selectors, the values they choose by, and measures of chosen sets, as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from selfalign.types import SetMeasure

LEAST_SHARE = 0.01
SHARES = ("language:", "near_duplicate")


class Value(NamedTuple):
    """What the value of a choice is: in a few words, and as a chart's unit."""

    says: str
    unit: str


DISTANCE = Value("distance to the nearest row chosen before", "distance")
SELECTORS = {
    "k-center": "one after another, each the row farthest from all rows chosen before it",
    "farthest": "the rows farthest from the middle one, all at once",
    "k-means": "the row nearest to the centre of each cluster, the largest cluster first",
    "facility-location": "one after another, each the row that brings all rows nearest to a chosen one",
    "random": "drawn evenly at random",
    "least-confidence": "the rows whose tokens the model is least confident of",
    "margin": "the rows where the model's first two guesses at a token are closest",
    "entropy": "the rows whose next tokens the model finds hardest to foresee",
    "ifd": "the rows whose instruction helps the model least to foresee the answer",
    "perplexity": "spread evenly over a band of the answers' perplexity",
}
VALUES = {
    "k-center": DISTANCE,
    "farthest": Value("distance to the middle row, which was chosen first", "distance"),
    "k-means": Value("distance to the centre of its cluster", "distance"),
    "facility-location": Value("gain in nearness of all rows", "gain"),
    "random": Value("none", ""),
    "least-confidence": Value("confidence (largest logit or probability), mean over tokens", "confidence"),
    "margin": Value("margin between the first two guesses, mean over tokens", "margin"),
    "entropy": Value("entropy of the next token, mean over tokens", "nats per token"),
    "ifd": Value("instruction-following difficulty (IFD)", "IFD"),
    "perplexity": Value("logarithm of the answer's perplexity", "nats per token"),
}


class Measured(NamedTuple):
    """One measure as people read it."""

    id: str
    says: str
    chosen: str
    pool: str


def short_number(value: float) -> str:
    """A number with four significant digits, whole from a thousand on, and a real minus."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")


def measured(measures: Sequence[SetMeasure]) -> tuple[Measured, ...]:
    """Measures as text, shares in per cent."""
    return tuple(
        Measured(one.id, one.says, measure_text(one, one.chosen), measure_text(one, one.pool))
        for one in measures
        if worth_a_line(one)
    )


def worth_a_line(measure: SetMeasure) -> bool:
    """Whether a measure tells something: a language that one row in a hundred has on neither side does not."""
    return not measure.id.startswith("language:") or max(measure.chosen or 0.0, measure.pool or 0.0) >= LEAST_SHARE


def measure_text(measure: SetMeasure, value: float | None) -> str:
    """One side of a measure."""
    if value is None or not math.isfinite(value):
        return "–"
    if measure.id.startswith(SHARES):
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if measure.id == "rows" else short_number(value)
