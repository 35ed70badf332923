"""How different vectors are from one another, and how well some of them cover all. Pure; in blocks, no N x N table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfalign.errors import StageError
from selfalign.selection.by_score import at_random, candidates
from selfalign.selection.space import checked, finite_rows, framed, row_blocks, squares, unit_block

# Of two cosines that differ by less, float32 products cannot say which is larger.
COSINE_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Vendi:
    """A Vendi score, and over how many rows it was taken."""

    score: float
    rows: int


def vendi_score(vectors_ND: Any, *, sample: int = 4096, seed: int = 0) -> Vendi:
    """The effective number of different rows, from 1 (all alike) to the number of rows (all orthogonal).

    exp of the Shannon entropy of the eigenvalues of K / n, where K holds the cosines of n rows (Friedman & Dieng 2023,
    arXiv 2210.02410). The D x D products of the unit rows have the same eigenvalues but for zeros, and are taken where
    they are smaller. Of more than `sample` rows an even sample of that many is taken, drawn by `seed`; the score
    depends on n, so compare scores of one number of rows. O(n D min(n, D) + min(n, D)³), float64, min(n, D)² memory.

    Raises:
        StageError: a row is zero or not finite (names the row), or `sample` is below 1.
    """
    import numpy

    vectors_ND = checked(vectors_ND)
    rows_n = sampled(len(vectors_ND), sample, seed=seed)
    few = len(rows_n) <= vectors_ND.shape[1]
    table = numpy.zeros((min(len(rows_n), vectors_ND.shape[1]),) * 2)
    for part in row_blocks(vectors_ND, rows_n):
        block_BD = unit_block(vectors_ND, rows_n[part]).astype(numpy.float64)
        if not few:
            table += block_BD.T @ block_BD
            continue
        for other in row_blocks(vectors_ND, rows_n[: part.stop]):
            table[part, other] = block_BD @ unit_block(vectors_ND, rows_n[other]).astype(numpy.float64).T
    # Only the lower half is read.
    share = numpy.linalg.eigvalsh(table / len(rows_n), UPLO="L")
    share = share[share > 0.0] / share[share > 0.0].sum()
    return Vendi(float(numpy.exp(-(share * numpy.log(share)).sum())), len(rows_n))


def mean_nearest_distance(vectors_ND: Any, *, sample: int = 4096, seed: int = 0) -> float:
    """The mean Euclidean distance of a row to its nearest other row; nan of a single row.

    Of more than `sample` rows, over an even sample of that many, drawn by `seed`, each compared with all rows: so the
    sample changes how sure the mean is, not what it means. O(min(N, sample) N D).

    Raises:
        StageError: a value is not finite (names the row), or `sample` is below 1.
    """
    import numpy

    vectors_ND = checked(vectors_ND)
    rows_n = sampled(len(vectors_ND), sample, seed=seed)
    if len(vectors_ND) == 1:
        return math.nan
    return float(nearest_distances(vectors_ND, rows_n, numpy.arange(len(vectors_ND))).mean())


def near_duplicate_share(vectors_ND: Any, *, threshold: float = 0.98, sample: int = 4096, seed: int = 0) -> float:
    """The share of rows that have another row at a cosine of at least `threshold`, in [0, 1].

    What cosine means "the same" depends on the vectors: mean-pooled hidden states share a large common part, and even
    unrelated texts may pass 0.9; 0.98 is a guess to be looked at, better taken on whitened vectors. Of more than
    `sample` rows, over an even sample, drawn by `seed`, each compared with all rows. O(min(N, sample) N D).

    Raises:
        StageError: a row is zero or not finite (names the row), the threshold is not in (-1, 1], or `sample` is
            below 1.
    """
    import numpy

    if not -1.0 < threshold <= 1.0:
        raise StageError(f"a near-duplicate threshold is a cosine above -1 and at most 1, not {threshold}")
    vectors_ND = checked(vectors_ND)
    rows_N, rows_n = numpy.arange(len(vectors_ND)), sampled(len(vectors_ND), sample, seed=seed)
    largest_n = numpy.full(len(rows_n), -numpy.inf)
    for part in row_blocks(vectors_ND, rows_n):
        block_BD = unit_block(vectors_ND, rows_n[part])
        for other in row_blocks(vectors_ND, rows_N):
            cosine_BC = block_BD @ unit_block(vectors_ND, rows_N[other]).T
            cosine_BC[rows_n[part, None] == rows_N[other]] = -numpy.inf
            largest_n[part] = numpy.maximum(largest_n[part], cosine_BC.max(axis=1))
    return float((largest_n >= threshold - COSINE_ROUNDING).mean())


def covering_radius(vectors_ND: Any, chosen: Sequence[int]) -> float:
    """The largest Euclidean distance of a row to its nearest chosen row: what k-center keeps small. O(N K D).

    Raises:
        StageError: nothing is chosen, a chosen row is not there, or a value is not finite (names the row).
    """
    import numpy

    vectors_ND = checked(vectors_ND)
    if not len(chosen):
        raise StageError("no row was chosen, so nothing is covered: choose at least one")
    chosen_K = candidates(len(vectors_ND), 1, among=chosen)
    others_M = numpy.setdiff1d(numpy.arange(len(vectors_ND)), chosen_K)
    return float(nearest_distances(vectors_ND, others_M, chosen_K).max(initial=0.0))


def nearest_distances(vectors_ND: Any, rows_Q: Any, others_M: Any) -> Any:
    """The Euclidean distance of each of `rows_Q` to the nearest of `others_M` but itself, float64 [Q].

    The nearest is found by products, seen from the mean of all; its distance is then taken from the difference.
    """
    import numpy

    frame = framed(vectors_ND, numpy.arange(len(vectors_ND)))
    distance_Q = numpy.empty(len(rows_Q))
    for part, block_BD in frame.blocks(rows_Q):
        least_B = numpy.full(len(block_BD), numpy.inf)
        nearest_B = numpy.empty(len(block_BD), dtype=numpy.int64)
        for other, other_CD in frame.blocks(others_M):
            apart_BC = block_BD @ other_CD.T
            apart_BC *= -2.0
            apart_BC += squares(other_CD)
            apart_BC[rows_Q[part, None] == others_M[other]] = numpy.inf
            place_B = apart_BC.argmin(axis=1)
            found_B = apart_BC[numpy.arange(len(place_B)), place_B]
            nearer_B = found_B < least_B
            least_B[nearer_B] = found_B[nearer_B]
            nearest_B[nearer_B] = others_M[other][place_B[nearer_B]]
        difference_BD = finite_rows(vectors_ND, rows_Q[part]) - finite_rows(vectors_ND, nearest_B)
        distance_Q[part] = numpy.sqrt(squares(difference_BD))
    return distance_Q


def sampled(rows_count: int, sample: int, *, seed: int) -> Any:
    """All rows, or an even sample of them in rising order, int64."""
    import numpy

    if sample < 1:
        raise StageError(f"a sample of {sample} rows was asked for: at least 1 is due")
    if rows_count <= sample:
        return numpy.arange(rows_count)
    return numpy.sort(at_random(rows_count, sample, seed=seed).rows)
