"""One row for each cluster: of its own cluster, nearest to its centre, the largest cluster first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.errors import StageError
from selfalign.selection.clusters import assigned, k_means, moved
from selfalign.selection.space import framed

SIZES = (60, 40, 30, 20)


def groups(*, seed: int = 0, offset: float = 0.0) -> tuple[Any, Any]:
    """Four groups far apart, of different sizes, in mixed order, and the group of each row."""
    dice = np.random.default_rng(seed)
    labels = dice.permutation(np.repeat(range(4), SIZES))
    centres = 20.0 * np.eye(4, 5)
    return (centres[labels] + dice.normal(size=(len(labels), 5)) + offset).astype(np.float32), labels


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("seed", range(5))
def test_each_of_well_separated_groups_gives_the_row_nearest_to_its_mean(seed: int, offset: float) -> None:
    vectors, labels = groups(offset=offset)
    picks = k_means(vectors, 4, seed=seed)
    assert labels[picks.rows].tolist() == [0, 1, 2, 3]
    for row, value in zip(picks.rows, picks.values, strict=True):
        own = np.flatnonzero(labels == labels[row])
        distances = np.linalg.norm(vectors[own].astype(float) - vectors[own].astype(float).mean(axis=0), axis=1)
        assert own[distances.argmin()] == row
        assert value == pytest.approx(distances.min(), abs=1e-3)
    assert picks.nearest.tolist() == [-1] * 4
    assert picks.rows.dtype == np.int64


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=25),
    st.integers(0, 2**64 - 1),
    st.data(),
)
def test_any_number_of_different_rows_can_be_had_from_any_rows(
    points: list[tuple[int, int]], seed: int, data: st.DataObject
) -> None:
    vectors = np.array(points, dtype=np.float32)
    chosen = data.draw(st.lists(st.sampled_from(range(len(points))), max_size=len(points) - 1, unique=True))
    count = data.draw(st.integers(1, len(points) - len(chosen)))
    picks = k_means(vectors, count, seed=seed, chosen=chosen)
    assert len(set(picks.rows.tolist())) == count
    assert not set(picks.rows.tolist()) & set(chosen)
    assert np.isfinite(picks.values).all()
    again = k_means(vectors, count, seed=seed, chosen=chosen)
    assert again.rows.tolist() == picks.rows.tolist()


def test_as_many_clusters_as_different_rows_find_each_of_them() -> None:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 3) for z in (0, 9)], dtype=np.float32)
    vectors = np.repeat(corners, 5, axis=0)
    for seed in range(10):
        picks = k_means(vectors, 8, seed=seed)
        # Equal rows: the lowest stands for them, and the lowest cluster comes first where all are as large.
        assert sorted(picks.rows.tolist()) == list(range(0, 40, 5))
        np.testing.assert_allclose(picks.values, 0.0, atol=1e-5)


def test_a_cluster_that_lost_all_its_rows_starts_again_at_the_row_farthest_from_its_centre() -> None:
    vectors, rows = np.array([[0.0], [1.0], [2.0], [9.0], [20.0]]), np.arange(5)
    frame = framed(vectors, rows)
    centres = (np.array([[3.0], [30.0], [500.0], [900.0]]) - vectors.mean()) * frame.scale
    label, centres = moved(frame, rows, centres, assigned(frame, rows, centres))
    # 20 is farthest, but alone in its cluster; then 9 from 3, then 0. The others move to the means of their rows.
    assert label.tolist() == [3, 0, 0, 2, 1]
    np.testing.assert_allclose(centres / frame.scale + vectors.mean(), [[1.5], [20.0], [9.0], [0.0]])


def test_more_clusters_than_different_rows_take_equal_rows() -> None:
    vectors = np.repeat(np.array([[0.0, 0.0], [5.0, 5.0]]), 4, axis=0)
    picks = k_means(vectors, 5, seed=0)
    assert len(set(picks.rows.tolist())) == 5
    assert {0, 4} <= set(picks.rows.tolist())
    assert sorted(k_means(np.ones((6, 2)), 6, seed=1).rows.tolist()) == list(range(6))


def test_only_rows_that_may_be_picked_are_clustered() -> None:
    vectors, labels = groups()
    among = np.flatnonzero(labels != 0)
    chosen = np.flatnonzero(labels == 1)
    picks = k_means(vectors, 2, seed=0, among=among, chosen=chosen)
    assert labels[picks.rows].tolist() == [2, 3]
    alone = np.flatnonzero(labels >= 2)
    assert k_means(vectors[alone], 2, seed=0).rows.tolist() == np.searchsorted(alone, picks.rows).tolist()


def test_the_clusters_are_tighter_than_those_of_rows_drawn_at_random() -> None:
    vectors = np.random.default_rng(3).normal(size=(3000, 3))
    centres = vectors[k_means(vectors, 20, seed=0).rows]
    drawn = vectors[np.random.default_rng(4).permutation(3000)[:20]]

    def spread(some: Any) -> float:
        return float(((vectors[:, None] - some) ** 2).sum(axis=2).min(axis=1).mean())

    assert spread(centres) < 0.8 * spread(drawn)


def test_a_mapped_matrix_of_several_blocks_gives_what_one_in_memory_gives(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32)
    np.save(tmp_path / "matrix.npy", vectors)
    picks = k_means(np.load(tmp_path / "matrix.npy", mmap_mode="r"), 6, seed=1, iterations=3)
    assert picks.rows.tolist() == k_means(vectors, 6, seed=1, iterations=3).rows.tolist()


def test_what_cannot_be_clustered_is_refused() -> None:
    vectors, _ = groups()
    with pytest.raises(StageError, match="151 rows were to be picked, but 150 of 150 may be"):
        k_means(vectors, 151, seed=0)
    with pytest.raises(StageError, match="ask for at least 1"):
        k_means(vectors, 0, seed=0)
    with pytest.raises(StageError, match="0 iterations"):
        k_means(vectors, 2, seed=0, iterations=0)
    with pytest.raises(StageError, match="seed -1"):
        k_means(vectors, 2, seed=-1)
    vectors[17, 2] = np.inf
    with pytest.raises(StageError, match="row 17 of the vectors holds a value that is not finite"):
        k_means(vectors, 2, seed=0)
