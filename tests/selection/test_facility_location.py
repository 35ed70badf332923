"""Facility location: lazily the same picks as by trying every row every time, close to the best there is."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.errors import StageError
from selfalign.selection.facility_location import facility_location
from selfalign.selection.space import unit_rows

POINTS = st.lists(st.tuples(*[st.integers(-4, 4)] * 3), min_size=1, max_size=24)


def similarities(vectors_ND: Any) -> Any:
    """The similarity of every row to every row, as the docstring has it."""
    vectors_ND = np.asarray(vectors_ND, dtype=float)
    centred = vectors_ND - vectors_ND.mean(axis=0)
    return 4 * (centred**2).sum(axis=1).max() - ((vectors_ND[:, None] - vectors_ND) ** 2).sum(axis=2)


def naively(vectors_ND: Any, count: int, *, chosen: list[int], among: list[int]) -> tuple[list[int], list[float]]:
    """Greedy that tries every row every time; gains within 1e-9 are ties and go to the lowest row."""
    similar_NN = similarities(vectors_ND)
    best_N = similar_NN[:, chosen].max(axis=1) if chosen else np.zeros(len(similar_NN))
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(count):
        gain_of = {
            row: float(np.maximum(similar_NN[:, row] - best_N, 0.0).mean())
            for row in among
            if row not in picks and row not in chosen
        }
        most = max(gain_of.values())
        picks.append(min(row for row, gain in gain_of.items() if gain >= most - 1e-9))
        gains.append(most)
        best_N = np.maximum(best_N, similar_NN[:, picks[-1]])
    return picks, gains


@settings(deadline=None, max_examples=200)
@given(POINTS, st.data())
def test_the_picks_are_those_of_trying_every_row_every_time(points: list[tuple[int, ...]], data: st.DataObject) -> None:
    vectors = np.array(points, dtype=float)
    rows = list(range(len(points)))
    chosen = data.draw(st.lists(st.sampled_from(rows), max_size=len(rows) - 1, unique=True))
    among = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(rows), min_size=1, unique=True)))
    allowed = sorted(set(rows if among is None else among) - set(chosen))
    if not allowed:
        return
    count = data.draw(st.integers(1, len(allowed)))
    picks = facility_location(vectors, count, chosen=chosen, among=among)
    plain, gains = naively(vectors, count, chosen=chosen, among=allowed)
    assert picks.rows.tolist() == plain
    np.testing.assert_allclose(picks.values, gains, atol=1e-9)
    assert set(picks.nearest.tolist()) == {-1}


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_the_picks_are_the_same_in_float32_over_several_blocks_and_far_from_the_origin(offset: float) -> None:
    dice = np.random.default_rng(0)
    vectors = (dice.normal(size=(2500, 6)) + offset).astype(np.float32)
    picks = facility_location(vectors, 12)
    plain, gains = naively(vectors, 12, chosen=[], among=list(range(2500)))
    assert picks.rows.tolist() == plain
    np.testing.assert_allclose(picks.values, gains, rtol=1e-3)


def test_a_longer_selection_begins_with_a_shorter_one_and_goes_on_beside_it() -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 4))
    whole = facility_location(vectors, 20)
    first = facility_location(vectors, 8)
    rest = facility_location(vectors, 12, chosen=first.rows)
    assert whole.rows.tolist() == [*first.rows.tolist(), *rest.rows.tolist()]
    np.testing.assert_allclose(whole.values[8:], rest.values)
    assert (np.diff(whole.values) <= 0).all()
    assert whole.values.sum() == pytest.approx(similarities(vectors)[:, whole.rows].max(axis=1).mean())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_changes_nothing_but_ties(seed: int) -> None:
    vectors = np.random.default_rng(5).normal(size=(80, 3))
    order = np.random.default_rng(seed).permutation(80)
    shuffled = facility_location(vectors[order], 10).rows
    assert order[shuffled].tolist() == facility_location(vectors, 10).rows.tolist()


def test_the_objective_reaches_its_guarantee_and_mostly_more() -> None:
    for seed in range(8):
        vectors = np.random.default_rng(seed).normal(size=(12, 2))
        similar = similarities(vectors)
        best = max(similar[:, list(some)].max(axis=1).mean() for some in combinations(range(12), 3))
        found = facility_location(vectors, 3).values.sum()
        assert (1 - np.exp(-1)) * best <= found <= best + 1e-9
        assert found >= 0.95 * best


def test_equal_rows_are_taken_last_and_in_order() -> None:
    vectors = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 3, axis=0).astype(np.float32)
    picks = facility_location(vectors, 15)
    assert sorted(row // 3 for row in picks.rows[:5].tolist()) == [0, 1, 2, 3, 4]
    assert [row % 3 for row in picks.rows[:5].tolist()] == [0] * 5
    assert picks.rows[5:].tolist() == sorted(picks.rows[5:].tolist())
    assert not picks.values[5:].any()
    assert facility_location(np.ones((4, 2)), 3).rows.tolist() == [0, 1, 2]


def test_of_many_rows_a_sample_is_represented() -> None:
    vectors = np.random.default_rng(2).normal(size=(400, 5))
    exact = facility_location(vectors, 10)
    sampled = facility_location(vectors, 10, represented=100, seed=3)
    assert sampled.rows.tolist() == facility_location(vectors, 10, represented=100, seed=3).rows.tolist()
    assert sampled.rows.tolist() != facility_location(vectors, 10, represented=100, seed=4).rows.tolist()
    similar = similarities(vectors)
    value, other = (similar[:, some.rows].max(axis=1).mean() for some in (exact, sampled))
    assert other > 0.97 * value
    # Its values are gains per represented row, so they hardly depend on how many there are.
    assert sampled.values.sum() == pytest.approx(exact.values.sum(), rel=0.1)


def test_of_unit_rows_the_objective_is_the_cosine_to_the_nearest_pick() -> None:
    unit = unit_rows(np.random.default_rng(2).normal(size=(60, 4)))
    picks = facility_location(unit, 4).rows.tolist()
    cosine = unit @ unit.T
    plain: list[int] = []
    for _ in range(4):
        gains = [cosine[:, [*plain, row]].max(axis=1).sum() for row in range(60)]
        plain.append(int(np.argmax(gains)))
    assert picks == plain


def test_a_mapped_matrix_gives_what_one_in_memory_gives(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    np.save(tmp_path / "matrix.npy", vectors)
    mapped = np.load(tmp_path / "matrix.npy", mmap_mode="r")
    assert facility_location(mapped, 5).rows.tolist() == facility_location(vectors, 5).rows.tolist()


def test_what_cannot_be_picked_is_refused() -> None:
    vectors = np.ones((4, 2))
    with pytest.raises(StageError, match="4 rows were to be picked, but 3 of 4 may be"):
        facility_location(vectors, 4, chosen=[0])
    with pytest.raises(StageError, match="0 rows were to be represented"):
        facility_location(vectors, 1, represented=0)
    vectors[2, 0] = np.nan
    with pytest.raises(StageError, match="row 2 of the vectors holds a value that is not finite"):
        facility_location(vectors, 1)
