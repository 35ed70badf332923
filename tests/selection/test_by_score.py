"""Rows by one number each: the order, its ties, what may be picked, and messages that say what to do."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.errors import StageError
from selfalign.selection.by_score import (
    at_random,
    band,
    best_share,
    entropy,
    hardest,
    highest,
    instruction_following_difficulty,
    least_confidence,
    lowest,
    margin,
)

SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30)


@settings(deadline=None)
@given(SCORES, st.data())
def test_the_lowest_and_the_highest_are_those_of_a_sort_with_ties_to_the_lowest_row(
    scores: list[float], data: st.DataObject
) -> None:
    rows = range(len(scores))
    chosen = data.draw(st.lists(st.sampled_from(rows), max_size=len(scores) - 1, unique=True))
    among = data.draw(st.one_of(st.none(), st.just(sorted(set(rows) - set(chosen[:1])))))
    allowed = [row for row in (rows if among is None else among) if row not in chosen]
    if not allowed:
        return
    count = data.draw(st.integers(1, len(allowed)))
    picks = lowest(scores, count, chosen=chosen, among=among)
    assert picks.rows.tolist() == sorted(allowed, key=lambda row: (scores[row], row))[:count]
    assert picks.values.tolist() == [scores[row] for row in picks.rows]
    assert set(picks.nearest.tolist()) == {-1}
    found = highest(scores, count, chosen=chosen, among=among).rows.tolist()
    assert found == sorted(allowed, key=lambda row: (-scores[row], row))[:count]


def test_the_least_sure_rows_are_low_in_confidence_small_in_margin_high_in_entropy() -> None:
    scores = np.array([3.0, 1.0, 2.0])
    assert least_confidence(scores, 2).rows.tolist() == [1, 2]
    assert margin(scores, 2).rows.tolist() == [1, 2]
    assert entropy(scores, 2).rows.tolist() == [0, 2]
    assert least_confidence(scores.astype(np.float16), 1, chosen=[1]).rows.tolist() == [2]


@pytest.mark.parametrize(
    ("scores", "wanted", "message"),
    [
        ([1.0, 2.0], {"count": 0}, "0 rows were to be picked: ask for at least 1"),
        ([1.0, 2.0], {"count": 3}, "3 rows were to be picked, but 2 of 2 may be"),
        ([1.0, 2.0], {"count": 2, "chosen": [1]}, "but 1 of 2 may be .1 were chosen before"),
        ([1.0, math.nan], {"count": 1}, "the score of row 1 is nan"),
        ([-math.inf, 1.0], {"count": 1}, "the score of row 0 is -inf"),
        ([1.0, 2.0], {"count": 1, "chosen": [2]}, "row 2 of `chosen` is not there: .* 0 to 1"),
        ([1.0, 2.0], {"count": 1, "among": [-1]}, "row -1 of `among` is not there"),
        ([[1.0], [2.0]], {"count": 1}, r"scores of shape \(2, 1\)"),
        ([], {"count": 1}, "0 of 0 may be"),
    ],
)
def test_what_cannot_be_picked_is_refused(scores: list[float], wanted: dict[str, int], message: str) -> None:
    with pytest.raises(StageError, match=message):
        lowest(scores, **wanted)


# ------------------------------------------------------------------------------------------- difficulty


def test_ifd_is_the_ratio_of_the_losses_and_nan_where_there_is_none() -> None:
    ratio = instruction_following_difficulty([1.0, 3.0, 1.0, math.nan, 0.0], [2.0, 2.0, 0.0, 1.0, 0.0])
    np.testing.assert_array_equal(ratio, [0.5, 1.5, math.nan, math.nan, math.nan])


def test_losses_that_are_none_are_refused() -> None:
    with pytest.raises(StageError, match="2 losses with the instruction came with 1 without"):
        instruction_following_difficulty([1.0, 2.0], [1.0])
    with pytest.raises(StageError, match=r"the direct loss of row 1 is -2\.0.*sign"):
        instruction_following_difficulty([1.0, 2.0], [1.0, -2.0])
    with pytest.raises(StageError, match="the conditioned loss of row 0 is inf"):
        instruction_following_difficulty([math.inf], [1.0])
    # Rounding below 0 is no sign slip.
    assert instruction_following_difficulty([-1e-7], [1.0]).tolist() == [0.0]


def test_the_hardest_are_those_nearest_below_one() -> None:
    picks = hardest([0.9, 1.01, math.nan, 1.0, 0.2, 0.9], 3)
    assert picks.rows.tolist() == [3, 0, 5]
    assert picks.values.tolist() == [1.0, 0.9, 0.9]
    assert hardest([0.9, 1.01, math.nan, 1.0, 0.2, 0.9], 2, chosen=[3]).rows.tolist() == [0, 5]


def test_too_few_hard_rows_say_how_many_were_left_out() -> None:
    with pytest.raises(StageError, match=r"only 1 of 4 remain: 2 left out for an IFD above 1 .* 1 could not be scored"):
        hardest([0.5, 1.5, 2.0, math.nan], 2)
    with pytest.raises(StageError, match="ask for at least 1"):
        hardest([0.5, 1.5], 0)


# ------------------------------------------------------------------------------------- band, share, chance


def test_a_band_is_between_nearest_rank_percentiles_and_picked_evenly() -> None:
    values = np.arange(100.0)[::-1]
    picks = band(values, 10)
    # Percentile 25 of 0 … 99 is 24, percentile 75 is 74: 51 rows, of which the picks are the middles of ten parts.
    assert picks.values.tolist() == [26, 31, 36, 41, 46, 52, 57, 62, 67, 72]
    assert picks.rows.tolist() == [99 - int(value) for value in picks.values]
    assert band(values, 1).values.tolist() == [49]
    assert band(values, 51).values.tolist() == [*range(24, 75)]


@settings(deadline=None)
@given(st.lists(st.integers(0, 9).map(float), min_size=1, max_size=40), st.integers(0, 2**32))
def test_a_band_does_not_depend_on_the_order_of_the_rows(values: list[float], seed: int) -> None:
    middle = band(values, 1, low_percentile=0, high_percentile=100)
    shuffled = random.Random(seed).sample(values, len(values))
    assert band(shuffled, 1, low_percentile=0, high_percentile=100).values == middle.values
    everything = band(values, len(values), low_percentile=0, high_percentile=100)
    assert everything.rows.tolist() == sorted(range(len(values)), key=lambda row: (values[row], row))


def test_a_band_leaves_out_unscored_and_chosen_rows_and_says_when_it_is_too_small() -> None:
    assert band([1.0, math.nan, 2.0, 3.0], 1, low_percentile=0, high_percentile=100).rows.tolist() == [2]
    assert band([1.0, 5.0, 2.0, 3.0], 3, low_percentile=0, high_percentile=100, chosen=[1]).rows.tolist() == [0, 2, 3]
    with pytest.raises(StageError, match="4 rows were to be picked from percentile 25 to 75, where 3 of 4 rows lie"):
        band([1.0, 2.0, 3.0, 4.0], 4)
    with pytest.raises(StageError, match="percentile 75 to 25 is none"):
        band([1.0], 1, low_percentile=75, high_percentile=25)
    with pytest.raises(StageError, match="0 of 1 rows lie"):
        band([math.nan], 1)


def test_the_best_share_is_rounded_up_and_keeps_the_order_of_the_rows() -> None:
    assert best_share([1.0, 5.0, 4.0, 5.0, 2.0], 0.5).tolist() == [1, 2, 3]
    assert best_share([1.0, 5.0, 5.0], 0.01).tolist() == [1]
    assert best_share([1.0, 5.0, 5.0], 1.0).tolist() == [0, 1, 2]
    assert best_share([1.0, 5.0, 4.0, 3.0], 0.5, among=[0, 3]).tolist() == [3]
    assert len(best_share(np.arange(100.0), 0.07)) == 7
    with pytest.raises(StageError, match="share of the best rows"):
        best_share([1.0], 0.0)
    with pytest.raises(StageError, match="row 1 is nan"):
        best_share([1.0, math.nan], 0.5)


def test_a_draw_is_the_same_in_every_version() -> None:
    assert at_random(1000, 5, seed=0).rows.tolist() == [998, 162, 670, 664, 185]
    assert at_random(1000, 5, seed=2**64 - 1).rows.tolist() == [280, 215, 682, 493, 845]


@settings(deadline=None)
@given(st.integers(2, 200), st.integers(0, 2**64 - 1), st.data())
def test_a_longer_draw_begins_with_a_shorter_one_and_goes_on_beside_it(
    rows: int, seed: int, data: st.DataObject
) -> None:
    few = data.draw(st.integers(1, rows - 1))
    order = at_random(rows, rows, seed=seed).rows.tolist()
    assert sorted(order) == list(range(rows))
    first = at_random(rows, few, seed=seed).rows.tolist()
    assert first == order[:few]
    assert at_random(rows, rows - few, seed=seed, chosen=first).rows.tolist() == order[few:]
    assert at_random(rows, few, seed=seed, among=order[:few]).rows.tolist() == first


def test_draws_are_even() -> None:
    counts = np.zeros(20)
    for seed in range(2000):
        counts[at_random(20, 5, seed=seed).rows] += 1
    # 500 expected of each, standard deviation 19.4.
    assert np.abs(counts - 500).max() < 80
    assert all(
        at_random(20, 5, seed=one).rows.tolist() != at_random(20, 5, seed=two).rows.tolist()
        for one, two in pairwise(range(20))
    )


def test_a_draw_refuses_a_seed_out_of_range_and_too_few_rows() -> None:
    with pytest.raises(StageError, match="the seed of a draw"):
        at_random(5, 1, seed=-1)
    with pytest.raises(StageError, match="6 rows were to be picked, but 5 of 5"):
        at_random(5, 6, seed=0)
