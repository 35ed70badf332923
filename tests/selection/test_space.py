"""Vectors as a space: unit length, whitening and the plane agree with plain linear algebra, in blocks and on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.errors import StageError
from selfalign.selection.space import framed, principal_plane, unit_rows, whitened

ROWS_OF_SEVERAL_BLOCKS = 5000


def normal(rows: int, columns: int, *, seed: int = 0) -> Any:
    """Vectors that vary more in some directions than in others, away from the origin."""
    dice = np.random.default_rng(seed)
    return dice.normal(size=(rows, columns)) @ dice.normal(size=(columns, columns)) + 7.0


def plainly_whitened(vectors_ND: Any, components: int) -> Any:
    """The released code's formula, the sign of each column free."""
    centred = vectors_ND - vectors_ND.mean(axis=0)
    u, s, _ = np.linalg.svd(np.cov(centred.T))
    white = centred @ (u @ np.diag(s**-0.5))[:, :components]
    return white / np.linalg.norm(white, axis=1, keepdims=True)


def test_unit_rows_have_unit_length_and_their_direction() -> None:
    vectors = normal(ROWS_OF_SEVERAL_BLOCKS, 6).astype(np.float32)
    unit = unit_rows(vectors)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(unit * np.linalg.norm(vectors, axis=1)[:, None], vectors, rtol=1e-5, atol=1e-5)
    # Neither overflow nor underflow of squares.
    np.testing.assert_allclose(unit_rows([[3e300, 4e300], [3e-300, -4e-300]]), [[0.6, 0.8], [0.6, -0.8]])
    assert unit_rows(np.array([[3, 4]], dtype=np.float16)).dtype == np.float32


def test_a_row_without_direction_or_with_a_value_that_is_none_is_named() -> None:
    vectors = np.ones((ROWS_OF_SEVERAL_BLOCKS, 3), dtype=np.float32)
    vectors[4321] = 0.0
    with pytest.raises(StageError, match="row 4321 of the vectors is zero"):
        unit_rows(vectors)
    vectors[4321, 1] = np.nan
    for call in (unit_rows, principal_plane, lambda these: whitened(these, 1)):
        with pytest.raises(StageError, match="row 4321 of the vectors holds a value that is not finite"):
            call(vectors)
    with pytest.raises(StageError, match=r"vectors of shape \(3,\)"):
        unit_rows(np.ones(3))
    with pytest.raises(StageError, match=r"vectors of shape \(0, 3\)"):
        unit_rows(np.ones((0, 3)))


@pytest.mark.parametrize("rows", [60, 3000])
def test_whitening_is_the_released_codes(rows: int) -> None:
    vectors = normal(rows, 8)
    found, plain = whitened(vectors, 5), plainly_whitened(vectors, 5)
    assert found.dtype == np.float32
    signs = np.sign((found * plain).sum(axis=0))
    np.testing.assert_allclose(found, plain * signs, atol=1e-5)


def test_whitening_few_long_rows_goes_by_their_products() -> None:
    vectors = normal(30, 40)
    few = whitened(vectors, 10)
    # More columns that say nothing change nothing; here one way is taken, with the rows repeated the other.
    many = whitened(np.concatenate([vectors] * 3), 10)
    np.testing.assert_allclose(np.concatenate([few] * 3), many, atol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_changes_nothing(seed: int) -> None:
    vectors = normal(50, 4, seed=seed % 7)
    order = np.random.default_rng(seed).permutation(50)
    np.testing.assert_allclose(whitened(vectors[order], 2), whitened(vectors, 2)[order], atol=1e-5)
    np.testing.assert_allclose(principal_plane(vectors[order])[0], principal_plane(vectors)[0][order], atol=1e-3)


def test_more_components_than_the_rows_vary_in_are_refused_with_the_rank() -> None:
    flat = (normal(200, 3) @ np.random.default_rng(1).normal(size=(3, 10))).astype(np.float32)
    assert whitened(flat, 3).shape == (200, 3)
    with pytest.raises(StageError, match=r"4 whitened components .* 200 vectors of 10 values, which vary in 3"):
        whitened(flat, 4)
    with pytest.raises(StageError, match="which vary in 4 independent directions"):
        whitened(normal(5, 9), 5)
    with pytest.raises(StageError, match="0 whitened components"):
        whitened(flat, 0)
    with pytest.raises(StageError, match="which vary in 0"):
        whitened(np.ones((4, 3)), 1)


def test_a_row_at_the_mean_has_no_direction_once_whitened() -> None:
    with pytest.raises(StageError, match="row 2 of the vectors is zero"):
        whitened([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], 1)


def test_the_plane_holds_the_most_variance_and_says_how_much() -> None:
    vectors = normal(500, 6)
    plane, shares = principal_plane(vectors)
    centred = vectors - vectors.mean(axis=0)
    scores, spectrum, _ = np.linalg.svd(centred, full_matrices=False)
    assert (plane.shape, plane.dtype) == ((500, 2), np.float32)
    np.testing.assert_allclose(np.abs(plane), np.abs(scores[:, :2] * spectrum[:2]), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(shares, spectrum[:2] ** 2 / (spectrum**2).sum(), rtol=1e-9)


def test_a_plane_of_what_hardly_varies_is_zero_there() -> None:
    plane, shares = principal_plane(np.ones((4, 3), dtype=np.float32))
    assert not plane.any()
    assert not shares.any()
    plane, shares = principal_plane(np.array([[0.0], [2.0]]))
    assert plane.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert shares.tolist() == [1.0, 0.0]


def test_a_mapped_matrix_gives_what_one_in_memory_gives(tmp_path: Path) -> None:
    vectors = normal(ROWS_OF_SEVERAL_BLOCKS, 5).astype(np.float32)
    np.save(tmp_path / "matrix.npy", vectors)
    mapped = np.load(tmp_path / "matrix.npy", mmap_mode="r")
    np.testing.assert_array_equal(unit_rows(mapped), unit_rows(vectors))
    np.testing.assert_array_equal(whitened(mapped, 3), whitened(vectors, 3))


def test_a_frame_keeps_the_digits_of_vectors_far_from_the_origin() -> None:
    small = np.random.default_rng(0).integers(-8, 9, size=(100, 4)).astype(np.float32)
    far = small * 2.0**-6 + np.float32(1000.0)
    frame = framed(far, np.arange(100))
    moved = frame.rows(np.arange(100)).astype(np.float64) / frame.scale
    np.testing.assert_allclose(moved - moved[0], (small - small[0]) * 2.0**-6, atol=1e-5)
    assert 0.25 <= np.abs(frame.rows(np.arange(100))).max() <= 1.0
