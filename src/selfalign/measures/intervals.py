"""How sure a mean or a difference is: percentile bootstrap intervals over items. Pure; the seed fixes every draw.

Degenerate cases. No item: mean and bounds are NaN, which no comparison calls better or worse. One item: the bounds are
the value itself, and nothing is significant, since one item says nothing of its spread. All values equal: an interval
of no width. With few items percentile bounds are somewhat narrow: under about ten, take them as a hint.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RESAMPLES = 10_000
LOW_PERCENTILE, HIGH_PERCENTILE = 2.5, 97.5
# Resampled positions held at once (8 bytes each): bounds memory at any number of items.
MOST_POSITIONS = 2_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over items with a 95 % interval; for a difference also what could not be compared.

    `only_before`, `only_after`: items that one side lacks. `unread`: items without a value (None) on either side.
    """

    mean: float
    low: float
    high: float
    items: int
    only_before: int = 0
    only_after: int = 0
    unread: int = 0

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out zero: of a difference, whether there is one. Never with under two items."""
        return self.items >= 2 and (self.low > 0.0 or self.high < 0.0)

    def describe(self) -> str:
        """The interval in a few words: `+0.142 [+0.101, +0.183], 40 items`."""
        if self.items == 0:
            return "no items"
        noun = "item" if self.items == 1 else "items"
        left_out = self.only_before + self.only_after + self.unread
        more = f" ({left_out} left out)" if left_out else ""
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}], {self.items} {noun}{more}"


def bootstrap_mean(values: Iterable[float], seed: int, *, resamples: int = RESAMPLES) -> Interval:
    """The mean of values with its 95 % percentile bootstrap interval.

    Raises:
        ValueError: a value is not finite, or there are no resamples.
    """
    listed = [float(value) for value in values]
    if not all(map(math.isfinite, listed)):
        raise ValueError("a mean was asked of values that are not all finite")
    low, high = bounds(listed, seed=seed, resamples=resamples)
    mean = math.fsum(listed) / len(listed) if listed else math.nan
    return Interval(mean, low, high, len(listed))


def paired_difference(
    before: Mapping[str, float | None],
    after: Mapping[str, float | None],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Interval:
    """The mean of `after` − `before` over the items (by id) that have a value on both sides, with its interval.

    Items are taken in the order of their ids, so the mappings' order changes nothing. Raises as `bootstrap_mean`.
    """
    shared = sorted(before.keys() & after.keys())
    both = [(before[name], after[name]) for name in shared]
    read = [(earlier, later) for earlier, later in both if earlier is not None and later is not None]
    found = bootstrap_mean([later - earlier for earlier, later in read], seed, resamples=resamples)
    return Interval(
        found.mean,
        found.low,
        found.high,
        found.items,
        only_before=len(before) - len(shared),
        only_after=len(after) - len(shared),
        unread=len(shared) - len(read),
    )


def bounds(values: list[float], *, seed: int, resamples: int) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the means of resamples with replacement."""
    if resamples < 1:
        raise ValueError(f"a bootstrap needs at least one resample, not {resamples}")
    if not values:
        return math.nan, math.nan
    if min(values) == max(values):
        # Resampling equal values gives that value again, but summing them may round.
        return values[0], values[0]
    import numpy

    array_N = numpy.asarray(values)
    generator = numpy.random.default_rng(seed)
    rows = max(1, MOST_POSITIONS // len(values))
    means = numpy.concatenate(
        [
            array_N[generator.integers(0, len(values), size=(min(rows, resamples - start), len(values)))].mean(axis=1)
            for start in range(0, resamples, rows)
        ]
    )
    low, high = numpy.percentile(means, (LOW_PERCENTILE, HIGH_PERCENTILE))
    return float(low), float(high)
