"""Diversity of vectors: known sets have known values, and blocks, samples and order change nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.errors import StageError
from selfalign.measures.diversity import (
    Vendi,
    covering_radius,
    mean_nearest_distance,
    near_duplicate_share,
    vendi_score,
)

POINTS = st.lists(st.tuples(*[st.integers(-4, 4)] * 3), min_size=2, max_size=20)


def distances(vectors_ND: Any) -> Any:
    """Every row's distance to every row, by differences."""
    vectors_ND = np.asarray(vectors_ND, dtype=float)
    return np.sqrt(((vectors_ND[:, None] - vectors_ND) ** 2).sum(axis=2))


# ------------------------------------------------------------------------------------------------- Vendi


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_orthogonal_rows_count_each_and_equal_rows_count_once(rows: int) -> None:
    orthogonal = np.eye(rows, 64, dtype=np.float32) * np.arange(1, rows + 1, dtype=np.float32)[:, None]
    assert vendi_score(orthogonal) == Vendi(pytest.approx(rows, rel=1e-6), rows)
    assert vendi_score(np.full((rows, 64), 3.0)) == Vendi(pytest.approx(1.0, rel=1e-6), rows)
    assert vendi_score(np.full((rows, 3), 3.0)).score == pytest.approx(1.0, rel=1e-6)


def test_both_products_have_the_same_score_and_it_is_the_definitions() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 20)) + 1.0
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.clip(np.linalg.eigvalsh(unit @ unit.T / 40), 1e-300, None)
    plain = math.exp(-float((values * np.log(values)).sum()))
    assert vendi_score(vectors).score == pytest.approx(plain, rel=1e-9)
    # Columns of zeros make the other product the smaller one.
    assert vendi_score(np.pad(vectors, ((0, 0), (0, 30)))).score == pytest.approx(plain, rel=1e-9)


def test_repeating_all_rows_leaves_the_score() -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 6))
    assert vendi_score(np.tile(vectors, (4, 1))).score == pytest.approx(vendi_score(vectors).score, rel=1e-9)


def test_many_rows_are_sampled_and_the_result_says_so() -> None:
    vectors = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    found = vendi_score(vectors, sample=500, seed=2)
    assert found.rows == 500
    assert found == vendi_score(vectors, sample=500, seed=2)
    assert found != vendi_score(vectors, sample=500, seed=3)
    assert found.score == pytest.approx(vendi_score(vectors).score, rel=0.02)


def test_a_wide_matrix_of_several_blocks_agrees_with_one_block() -> None:
    few = np.random.default_rng(0).normal(size=(700, 1600)).astype(np.float32)
    unit = few / np.linalg.norm(few.astype(float), axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    values = values[values > 1e-12]
    assert vendi_score(few).score == pytest.approx(math.exp(-float((values * np.log(values)).sum())), rel=1e-4)


# ----------------------------------------------------------------------------------- distances and radius


@settings(deadline=None)
@given(POINTS, st.data())
def test_distances_and_radius_are_those_of_a_full_table(points: list[tuple[int, ...]], data: st.DataObject) -> None:
    vectors, table = np.array(points, dtype=np.float32), distances(points)
    chosen = data.draw(st.lists(st.sampled_from(range(len(points))), min_size=1, unique=True))
    assert covering_radius(vectors, chosen) == pytest.approx(table[:, chosen].min(axis=1).max(), abs=1e-6)
    np.fill_diagonal(table, np.inf)
    assert mean_nearest_distance(vectors) == pytest.approx(table.min(axis=1).mean(), abs=1e-6)
    order = data.draw(st.permutations(range(len(points))))
    assert mean_nearest_distance(vectors[order]) == pytest.approx(mean_nearest_distance(vectors))


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_several_blocks_and_a_far_origin_change_no_distance(tmp_path: Path, offset: float) -> None:
    vectors = (np.random.default_rng(0).normal(size=(2300, 3)) + offset).astype(np.float32)
    np.save(tmp_path / "matrix.npy", vectors)
    mapped = np.load(tmp_path / "matrix.npy", mmap_mode="r")
    table = distances(vectors)
    chosen = np.arange(0, 2300, 11)
    assert covering_radius(mapped, chosen) == pytest.approx(table[:, chosen].min(axis=1).max(), rel=1e-4)
    np.fill_diagonal(table, np.inf)
    assert mean_nearest_distance(mapped) == pytest.approx(table.min(axis=1).mean(), rel=1e-3)


def test_sampled_rows_are_compared_with_all_rows() -> None:
    # Pairs of equal rows: a sample compared with itself would seldom find the other of a pair.
    vectors = np.repeat(np.random.default_rng(0).normal(size=(1000, 6)), 2, axis=0)
    assert mean_nearest_distance(vectors, sample=50) == 0.0
    assert near_duplicate_share(vectors, sample=50) == 1.0


def test_a_single_row_has_no_neighbour() -> None:
    assert math.isnan(mean_nearest_distance([[1.0, 2.0]]))
    assert near_duplicate_share([[1.0, 2.0]]) == 0.0
    assert covering_radius([[1.0, 2.0]], [0]) == 0.0


def test_the_radius_never_grows_with_more_chosen_rows() -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 5))
    radii = [covering_radius(vectors, range(count)) for count in (1, 5, 50, 200)]
    assert radii == sorted(radii, reverse=True)
    assert radii[-1] == 0.0


# ----------------------------------------------------------------------------------------- near-duplicates


def test_rows_of_nearly_one_direction_are_near_duplicates_however_long() -> None:
    angles = np.radians([0.0, 5.0, 90.0, 180.0, 240.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1.0], [9.0], [1.0], [2.0], [1.0]])
    assert near_duplicate_share(vectors) == pytest.approx(0.4)
    assert near_duplicate_share(vectors, threshold=0.999) == 0.0
    assert near_duplicate_share(vectors, threshold=0.4) == pytest.approx(0.8)
    assert near_duplicate_share(np.ones((3, 7), dtype=np.float32), threshold=1.0) == 1.0


def test_what_has_no_diversity_is_refused() -> None:
    with pytest.raises(StageError, match="row 1 of the vectors is zero"):
        vendi_score([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(StageError, match="row 1 of the vectors is zero"):
        near_duplicate_share([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(StageError, match="row 0 of the vectors holds a value that is not finite"):
        mean_nearest_distance([[math.nan, 0.0], [0.0, 0.0]])
    with pytest.raises(StageError, match="a sample of 0 rows"):
        vendi_score([[1.0]], sample=0)
    with pytest.raises(StageError, match="a near-duplicate threshold"):
        near_duplicate_share([[1.0]], threshold=2.0)
    with pytest.raises(StageError, match="no row was chosen"):
        covering_radius([[1.0]], [])
    with pytest.raises(StageError, match="row 1 of `among` is not there"):
        covering_radius([[1.0]], [1])
