"""How far grades agree with gold ones: precision, recall, rank correlation, and what was not read. Pure.

The unit of the gold grades need not be that of the grader: each side has a threshold of its own. A row that the grader
left unread is not kept, as in a run: it counts against recall and, having no value, not at all in the correlation.

Where gold follows answer length, so does a grader that has only learnt to count: the correlations with length say what
the one with gold is worth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from selfalign.measures.intervals import Interval, bootstrap_mean
from selfalign.types import Grade


@dataclass(frozen=True, slots=True)
class Level:
    """What the grader made of the rows of one gold grade: `mean` is None when it read none of them."""

    gold: float
    rows: int
    unread: int
    kept: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Grades beside gold grades. `precision` has no items where nothing was kept, `recall` none where nothing is good.

    `best_precision` is the share of good rows among the `good` rows graded highest, of which there are as many as are
    good by gold: it needs no threshold. Rows that share the lowest grade among these count by the share of good ones
    among all with that grade, so that the order of the rows decides nothing. None where fewer rows were read.

    `rank_correlation` is Spearman's, over the rows that were read; so is `grade_by_length`, of the grades with answer
    length, while `gold_by_length` is over all rows; None where one is not defined. `good_share` is what the precision
    of a grader that keeps rows at random would be.
    """

    rows: int
    threshold: float
    gold_threshold: float
    kept: int
    good: int
    good_share: float
    unread_share: float
    precision: Interval
    recall: Interval
    best_precision: float | None
    rank_correlation: float | None
    gold_by_length: float | None
    grade_by_length: float | None
    levels: tuple[Level, ...]


def agreement(
    grades: Sequence[Grade],
    gold: Mapping[str, float],
    lengths: Mapping[str, int],
    *,
    threshold: float,
    gold_threshold: float,
    seed: int,
) -> Agreement:
    """How far grades agree with gold grades, matched by id; a row is kept at `threshold` or above.

    `lengths` are those of the answers, in characters.

    Humpback, table 7: precision and recall of the selected rows. Intervals are bootstrapped over rows.

    Raises:
        ValueError: there are no grades, or one of them has no gold grade or no length.
    """
    if not grades or any(one.id not in gold or one.id not in lengths for one in grades):
        raise ValueError("agreement needs grades, and a gold grade and a length for each")
    kept = [one for one in grades if is_kept(one, threshold)]
    good = [one for one in grades if gold[one.id] >= gold_threshold]
    read = [(one.value, gold[one.id], lengths[one.id]) for one in grades if one.value is not None]
    values = [value for value, _, _ in read]
    return Agreement(
        rows=len(grades),
        threshold=threshold,
        gold_threshold=gold_threshold,
        kept=len(kept),
        good=len(good),
        good_share=len(good) / len(grades),
        unread_share=1 - len(read) / len(grades),
        precision=bootstrap_mean((float(gold[one.id] >= gold_threshold) for one in kept), seed),
        recall=bootstrap_mean((float(is_kept(one, threshold)) for one in good), seed),
        best_precision=precision_of_best([(value, true >= gold_threshold) for value, true, _ in read], len(good)),
        rank_correlation=spearman(values, [true for _, true, _ in read]),
        gold_by_length=spearman([gold[one.id] for one in grades], [lengths[one.id] for one in grades]),
        grade_by_length=spearman(values, [length for _, _, length in read]),
        levels=tuple(
            level_of(value, [one for one in grades if gold[one.id] == value], threshold)
            for value in sorted({gold[one.id] for one in grades})
        ),
    )


def is_kept(one: Grade, threshold: float) -> bool:
    """Whether a grade is there and reaches the threshold."""
    return one.value is not None and one.value >= threshold


def precision_of_best(graded: Sequence[tuple[float, bool]], count: int) -> float | None:
    """The share of good rows among the `count` rows graded highest; None for no row, or more than there are.

    What is expected of it when rows of one grade come in any order.
    """
    if not 0 < count <= len(graded):
        return None
    border = sorted((value for value, _ in graded), reverse=True)[count - 1]
    above = [good for value, good in graded if value > border]
    at_border = [good for value, good in graded if value == border]
    return (sum(above) + (count - len(above)) * sum(at_border) / len(at_border)) / count


def level_of(value: float, grades: Sequence[Grade], threshold: float) -> Level:
    """What the grader made of the rows of one gold grade."""
    read = [one.value for one in grades if one.value is not None]
    return Level(
        gold=value,
        rows=len(grades),
        unread=len(grades) - len(read),
        kept=sum(is_kept(one, threshold) for one in grades),
        mean=math.fsum(read) / len(read) if read else None,
    )


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, equal values sharing their mean rank.

    None for fewer than two pairs, or where a side has one value only.

    Raises:
        ValueError: the sides differ in length, or a value is no number.
    """
    if len(one) != len(other) or any(math.isnan(value) for value in (*one, *other)):
        raise ValueError("a rank correlation needs two lists of numbers of one length")
    left, right = ranks(one), ranks(other)
    middle = (len(one) + 1) / 2
    spreads = [math.fsum((rank - middle) ** 2 for rank in side) for side in (left, right)]
    if len(one) < 2 or not all(spreads):
        return None
    shared = math.fsum((a - middle) * (b - middle) for a, b in zip(left, right, strict=True))
    return max(-1.0, min(1.0, shared / math.sqrt(spreads[0] * spreads[1])))


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value from 1, the smallest; equal values get the mean of the ranks they take up."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        stop = start
        while stop < len(order) and values[order[stop]] == values[order[start]]:
            stop += 1
        for place in order[start:stop]:
            found[place] = (start + 1 + stop) / 2
        start = stop
    return found
