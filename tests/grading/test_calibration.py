"""Agreement with gold grades, by hand-made figures and by what rank correlation must satisfy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfalign.grading.calibration import Agreement, agreement, ranks, spearman
from selfalign.types import Grade


def grade(name: str, value: float | None) -> Grade:
    return Grade(id=name, rubric="r", value=value, why_unread="" if value is not None else "no line")


def compared(grades: Sequence[Grade], gold: Mapping[str, float], **lengths: int) -> Agreement:
    known = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, **lengths}
    return agreement(grades, gold, known, threshold=4, gold_threshold=4, seed=0)


def test_precision_and_recall_by_hand() -> None:
    grades = [grade("a", 5), grade("b", 4), grade("c", 4.5), grade("d", 2), grade("e", None), grade("f", 1)]
    gold = {"a": 5.0, "b": 5.0, "c": 1.0, "d": 5.0, "e": 5.0, "f": 1.0}
    found = compared(grades, gold)
    assert (found.kept, found.good, found.rows) == (3, 4, 6)
    assert found.precision.mean == pytest.approx(2 / 3)
    assert found.recall.mean == pytest.approx(2 / 4), "an unread good row is a missed one"
    assert found.unread_share == pytest.approx(1 / 6)
    assert found.good_share == pytest.approx(4 / 6)
    assert found.precision.low <= found.precision.mean <= found.precision.high
    assert [(level.gold, level.rows, level.unread, level.kept, level.mean) for level in found.levels] == [
        (1.0, 2, 0, 1, 2.75), (5.0, 4, 1, 2, pytest.approx(11 / 3)),
    ]  # fmt: skip


def test_nothing_kept_and_nothing_read() -> None:
    found = compared([grade("a", None)], {"a": 5.0})
    assert found.precision.items == 0
    assert math.isnan(found.precision.mean)
    assert found.recall.mean == 0
    assert found.rank_correlation is found.grade_by_length is found.best_precision is None
    assert found.levels[0].mean is None


def test_a_row_without_gold_or_length_is_refused() -> None:
    with pytest.raises(ValueError, match="gold"):
        compared([grade("a", 1)], {})
    with pytest.raises(ValueError, match="length"):
        compared([grade("z", 1)], {"z": 1.0})


def test_the_best_rows_need_no_threshold() -> None:
    """Three are good, and the three graded highest are c, a and one of b, d, e, of which one is good: 1 + 1 + 1/3."""
    grades = [grade("a", 1.5), grade("b", 1), grade("c", 2), grade("d", 1), grade("e", 1), grade("f", 0)]
    gold = {"a": 5.0, "b": 1.0, "c": 5.0, "d": 5.0, "e": 1.0, "f": 1.0}
    found = compared(grades, gold)
    assert (found.kept, found.good) == (0, 3)
    assert found.best_precision == pytest.approx((2 + 1 / 3) / 3)
    backwards = compared(grades[::-1], gold)
    assert backwards.best_precision == found.best_precision, "the order of rows decides nothing"
    few = compared([grade("a", 1), grade("b", None), grade("c", None)], {"a": 5.0, "b": 5.0, "c": 1.0})
    assert few.best_precision is None, "of two rows that are good, one has a grade"


def test_how_far_grades_and_gold_follow_length() -> None:
    grades = [grade("a", 3), grade("b", 2), grade("c", 1), grade("d", None)]
    found = compared(grades, {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}, a=10, b=20, c=30, d=15)
    assert found.grade_by_length == found.rank_correlation == -1
    # by hand: ranks 1 2 3 4 and 1 3 4 2 -> 2 / 5
    assert found.gold_by_length == pytest.approx(0.4), "over all rows, read or not"


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=12), st.integers(0, 99))
def test_the_share_of_good_ones_among_the_best_is_what_shuffling_gives(rows: list[tuple[int, bool]], seed: int) -> None:
    names = [str(number) for number in range(len(rows))]
    gold = {name: 5.0 if good else 1.0 for name, (_, good) in zip(names, rows, strict=True)}
    grades = [grade(name, value) for name, (value, _) in zip(names, rows, strict=True)]
    found = compared(grades, gold, **dict.fromkeys(names, 1))
    good = sum(good for _, good in rows)
    assert (found.best_precision is None) == (good == 0)
    if found.best_precision is not None:
        assert 0 <= found.best_precision <= 1
        shuffled = rows[:]
        Random(seed).shuffle(shuffled)
        chosen = sorted(shuffled, key=lambda row: -row[0])[:good]
        tied = sum(value == chosen[-1][0] for value, _ in rows)
        assert abs(sum(right for _, right in chosen) / good - found.best_precision) <= tied / good


def test_ranks_and_correlation_with_ties() -> None:
    assert ranks([10, 20, 20, 5]) == [2, 3.5, 3.5, 1]
    # by hand: ranks 1 2.5 2.5 4 and 1 3 2 4 -> 4.5 / sqrt(4.5 * 5)
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman([1, 2, 3], [3, 2, 1]) == -1
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1], [1]) is None
    with pytest.raises(ValueError, match="numbers"):
        spearman([1, math.nan], [1, 2])


PAIRS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30)


@given(PAIRS)
def test_correlation_depends_on_order_alone(pairs: list[tuple[int, int]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = spearman(one, other)
    stretched = spearman([math.exp(a) for a in one], [b**3 for b in other])
    turned = spearman([-a for a in one], other)
    assert found == spearman(other, one)
    assert (found is None) == (len(set(one)) == 1 or len(set(other)) == 1)
    if found is not None:
        assert -1 <= found <= 1
        assert stretched == pytest.approx(found)
        assert turned == pytest.approx(-found)


@given(st.lists(st.integers(-5, 5), max_size=30))
def test_ranks_sum_as_if_there_were_no_ties(values: list[int]) -> None:
    assert sum(ranks(values)) == pytest.approx(len(values) * (len(values) + 1) / 2)
