"""Intervals: fixed by the seed, right on average, defined at the edges."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.measures.intervals import Interval, bootstrap_mean, paired_difference

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30)


@settings(deadline=None, max_examples=50)
@given(VALUES, st.integers(0, 2**63 - 1))
def test_an_interval_lies_within_the_values_and_repeats(values: list[float], seed: int) -> None:
    found = bootstrap_mean(values, seed, resamples=200)
    slack = 1e-6 * max(1.0, *map(abs, values))
    assert min(values) - slack <= found.low <= found.high <= max(values) + slack
    assert found == bootstrap_mean(values, seed, resamples=200)
    assert found.mean == pytest.approx(sum(values) / len(values), abs=slack)


def test_the_interval_agrees_with_theory() -> None:
    dice = random.Random(1)
    values = [dice.gauss(0.0, 1.0) for _ in range(400)]
    mean = sum(values) / 400
    error = math.sqrt(sum((value - mean) ** 2 for value in values)) / 400
    found = bootstrap_mean(values, seed=0)
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.01)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.01)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    dice = random.Random(2)
    samples = [[dice.random() for _ in range(40)] for _ in range(300)]
    found = [bootstrap_mean(sample, seed=number, resamples=1000) for number, sample in enumerate(samples)]
    assert 0.90 <= sum(interval.low <= 0.5 <= interval.high for interval in found) / 300 <= 0.98


def test_many_items_are_resampled_in_parts() -> None:
    assert bootstrap_mean([0.0, 1.0] * 5000, seed=0, resamples=1000).low == pytest.approx(0.49, abs=0.003)


def test_the_edges() -> None:
    none = bootstrap_mean([], seed=0)
    assert (math.isnan(none.mean), none.items, none.significant, none.describe()) == (True, 0, False, "no items")
    one = bootstrap_mean([3.0], seed=0)
    assert (one.mean, one.low, one.high, one.significant) == (3.0, 3.0, 3.0, False)
    same = bootstrap_mean([0.1] * 3, seed=0)
    assert (same.low, same.high, same.significant) == (0.1, 0.1, True)
    assert not bootstrap_mean([0.0] * 9, seed=0).significant


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not all finite"):
        bootstrap_mean([1.0, value], seed=0)
    with pytest.raises(ValueError, match="at least one resample"):
        bootstrap_mean([1.0], seed=0, resamples=0)


def test_pairs_are_matched_by_id_and_what_is_left_out_is_counted() -> None:
    before = {"a": 1.0, "b": 2.0, "c": None, "d": 4.0, "gone": 9.0, "e": 0.0}
    after = {"e": None, "d": 5.0, "c": 1.0, "b": 3.0, "a": 2.0, "new": 9.0, "newer": None}
    found = paired_difference(before, after, seed=0)
    assert (found.mean, found.low, found.high, found.items) == (1.0, 1.0, 1.0, 3)
    assert (found.only_before, found.only_after, found.unread) == (1, 2, 2)
    assert found.describe() == "+1.000 [+1.000, +1.000], 3 items (5 left out)"


def test_order_of_items_changes_nothing_and_direction_turns_the_sign() -> None:
    dice = random.Random(3)
    before = {str(number): dice.random() for number in range(60)}
    after = {name: value + dice.random() - 0.2 for name, value in before.items()}
    found = paired_difference(before, after, seed=5)
    assert found == paired_difference(dict(reversed(before.items())), after, seed=5)
    assert found.significant
    back = paired_difference(after, before, seed=5)
    assert back.significant
    assert back.mean == pytest.approx(-found.mean)
    assert back.low == pytest.approx(-found.high)
    assert back.high == pytest.approx(-found.low)


def test_pairing_finds_what_means_alone_hide() -> None:
    before = {str(number): float(number) for number in range(40)}
    after = {name: value + 0.5 for name, value in before.items()}
    before_mean, after_mean = bootstrap_mean(before.values(), 0), bootstrap_mean(after.values(), 0)
    assert before_mean.high > after_mean.low
    assert paired_difference(before, after, seed=0).significant


@pytest.mark.parametrize(
    ("interval", "significant", "text"),
    [
        (Interval(0.142, 0.101, 0.183, 40), True, "+0.142 [+0.101, +0.183], 40 items"),
        (Interval(-0.2, -0.3, -0.1, 2), True, "-0.200 [-0.300, -0.100], 2 items"),
        (Interval(0.1, -0.1, 0.3, 40), False, "+0.100 [-0.100, +0.300], 40 items"),
        (Interval(0.1, 0.0, 0.3, 40), False, "+0.100 [+0.000, +0.300], 40 items"),
        (Interval(0.1, 0.1, 0.1, 1), False, "+0.100 [+0.100, +0.100], 1 item"),
    ],
)
def test_descriptions(interval: Interval, significant: bool, text: str) -> None:
    assert (interval.significant, interval.describe()) == (significant, text)
