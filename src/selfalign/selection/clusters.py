"""One row for each of so many clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfalign.errors import StageError
from selfalign.selection.by_score import SEEDS, candidates
from selfalign.selection.picks import Picks
from selfalign.selection.space import CACHED_BYTES, Frame, checked, framed, squares


def k_means(
    vectors_ND: Any,
    count: int,
    *,
    seed: int,
    iterations: int = 25,
    chosen: Sequence[int] = (),
    among: Any = None,
) -> Picks:
    """The row nearest to the centre of each of `count` clusters, largest cluster first; `nearest` is -1.

    `values` are the Euclidean distances of the rows to their centres. Only rows that may be picked are clustered:
    `among` or all, without `chosen`. Lloyd's iterations (1982) from a k-means++ start (Arthur & Vassilvitskii 2007),
    until no row changes its cluster or `iterations` are done. A cluster that loses all its rows starts again at the
    row farthest from its centre. Each row stands for its own cluster, so none does for two; where there are fewer
    different rows than clusters, a cluster without rows takes the nearest row that is left.

    O(iterations N K D) time in matrix products for the clusters and O(N K D) in K readings of the vectors for the
    start; O(K D + N) memory. The seed fixes the start; the order of the rows enters it.

    Raises:
        StageError: fewer rows than `count`, `count` or `iterations` below 1, a seed not in 0 … 2^64 - 1, or a value
            that is not finite (names the row).
    """
    frame, rows_M, centres_KD, label_M = clustered(
        vectors_ND, count, seed=seed, iterations=iterations, chosen=chosen, among=among
    )
    return representatives(frame, rows_M, centres_KD, label_M)


def cluster_labels(vectors_ND: Any, count: int, *, seed: int, iterations: int = 25) -> Any:
    """Which of `count` clusters each row belongs to, int64 [N]; clustered as `k_means` does it.

    Raises:
        StageError: as `k_means`.
    """
    return clustered(vectors_ND, count, seed=seed, iterations=iterations, chosen=(), among=None)[3]


def clustered(
    vectors_ND: Any, count: int, *, seed: int, iterations: int, chosen: Sequence[int], among: Any
) -> tuple[Frame, Any, Any, Any]:
    """The rows that may be picked, where they are seen from, the centres [K, D] and each row's centre [M]."""
    import numpy

    vectors_ND = checked(vectors_ND)
    rows_M = candidates(len(vectors_ND), count, chosen=chosen, among=among)
    if iterations < 1 or not 0 <= seed < SEEDS:
        raise StageError(
            f"k-means got {iterations} iterations and seed {seed}: at least 1 and a seed from 0 to 2^64 - 1 are due"
        )
    frame = framed(vectors_ND, rows_M)
    centres_KD = spread(frame, rows_M, count, seed=seed)
    before_M = None
    for _ in range(iterations):
        found = assigned(frame, rows_M, centres_KD)
        if before_M is not None and numpy.array_equal(before_M, found.label_M):
            break
        before_M = found.label_M
        label_M, centres_KD = moved(frame, rows_M, centres_KD, found)
    return frame, rows_M, centres_KD, label_M


def spread(frame: Frame, rows_M: Any, count: int, *, seed: int) -> Any:
    """The k-means++ start: rows drawn with a chance that grows as the squared distance to those drawn before, [K, D].

    Drawn by the raw bits of Philox, which are specified for good where numpy's distributions are not.
    """
    import numpy

    bits_K = numpy.random.Philox(key=seed).random_raw(count)
    uniform_K = (bits_K >> numpy.uint64(11)).astype(numpy.float64) * 2.0**-53
    gap_M = numpy.full(len(rows_M), numpy.inf)
    left_M = numpy.ones(len(rows_M), dtype=bool)
    centres_KD = numpy.empty((count, len(frame.middle_D)), dtype=frame.kind)
    for number, uniform in enumerate(uniform_K.tolist()):
        sums_M = numpy.cumsum(gap_M) if number else numpy.arange(1.0, len(rows_M) + 1)
        place = int(numpy.searchsorted(sums_M, uniform * sums_M[-1], side="right"))
        if place >= len(rows_M) or not left_M[place]:
            # Nothing is apart from what was drawn, or rounding put the draw past the last row.
            place = int(numpy.where(left_M, gap_M, -1.0).argmax())
        left_M[place] = False
        centre_D = frame.rows(rows_M[place : place + 1])[0]
        centres_KD[number] = centre_D
        for part, block_BD in frame.blocks(rows_M, block_bytes=CACHED_BYTES):
            apart_B = squares(block_BD) - 2.0 * (block_BD @ centre_D) + centre_D @ centre_D
            gap_M[part] = numpy.minimum(gap_M[part], numpy.maximum(apart_B, 0.0))
        gap_M[~left_M] = 0.0
    return centres_KD


@dataclass(frozen=True, slots=True)
class Assigned:
    """Each row's nearest centre `label_M`, its squared distance `gap_M`, and what the rows of a centre sum to."""

    label_M: Any
    gap_M: Any
    sums_KD: Any


def assigned(frame: Frame, rows_M: Any, centres_KD: Any) -> Assigned:
    """The nearest centre of every row (the first of equals), block by block."""
    import numpy

    label_M = numpy.empty(len(rows_M), dtype=numpy.int64)
    gap_M = numpy.empty(len(rows_M))
    sums_KD = numpy.zeros(centres_KD.shape)
    squares_K = squares(centres_KD)
    for part, block_BD in frame.blocks(rows_M):
        apart_BK = block_BD @ centres_KD.T
        apart_BK *= -2.0
        apart_BK += squares_K
        label_B = apart_BK.argmin(axis=1)
        label_M[part] = label_B
        gap_M[part] = numpy.maximum(apart_BK[numpy.arange(len(label_B)), label_B] + squares(block_BD), 0.0)
        # Sums over runs of one label: no second product, and no loop over rows.
        order = numpy.argsort(label_B, kind="stable")
        present, starts = numpy.unique(label_B[order], return_index=True)
        sums_KD[present] += numpy.add.reduceat(block_BD[order].astype(numpy.float64), starts, axis=0)
    return Assigned(label_M, gap_M, sums_KD)


def moved(frame: Frame, rows_M: Any, centres_KD: Any, found: Assigned) -> tuple[Any, Any]:
    """Labels and centres after one step: each centre the mean of its rows, each empty one at a row far from its own."""
    import numpy

    label_M, gap_M, sums_KD = found.label_M.copy(), found.gap_M.copy(), found.sums_KD
    size_K = numpy.bincount(label_M, minlength=len(centres_KD))
    for empty in numpy.flatnonzero(size_K == 0).tolist():
        free_M = numpy.where(size_K[label_M] > 1, gap_M, 0.0)
        far = int(free_M.argmax())
        if free_M[far] == 0.0:
            break
        row_D = frame.rows(rows_M[far : far + 1])[0]
        size_K[label_M[far]] -= 1
        sums_KD[label_M[far]] -= row_D
        sums_KD[empty], size_K[empty] = row_D, 1
        label_M[far], gap_M[far] = empty, 0.0
    new_KD = centres_KD.copy()
    filled = size_K > 0
    new_KD[filled] = (sums_KD[filled] / size_K[filled, None]).astype(frame.kind)
    return label_M, new_KD


def representatives(frame: Frame, rows_M: Any, centres_KD: Any, label_M: Any) -> Picks:
    """The row of each cluster that is nearest to its centre; distances from differences, in float64."""
    import numpy

    count = len(centres_KD)
    gap_M = numpy.empty(len(rows_M))
    for part, block_BD in frame.blocks(rows_M, block_bytes=CACHED_BYTES):
        gap_M[part] = squares(block_BD.astype(numpy.float64) - centres_KD[label_M[part]])
    order_M = numpy.lexsort((rows_M, gap_M, label_M))
    full, first = numpy.unique(label_M[order_M], return_index=True)
    place_K, gap_K = numpy.full(count, -1), numpy.zeros(count)
    place_K[full] = order_M[first]
    gap_K[full] = gap_M[order_M[first]]
    for empty in numpy.flatnonzero(place_K < 0).tolist():
        for part, block_BD in frame.blocks(rows_M, block_bytes=CACHED_BYTES):
            gap_M[part] = squares(block_BD.astype(numpy.float64) - centres_KD[empty])
        gap_M[place_K[place_K >= 0]] = numpy.inf
        place_K[empty] = gap_M.argmin()
        gap_K[empty] = gap_M[place_K[empty]]
    largest_K = numpy.argsort(-numpy.bincount(label_M, minlength=count), kind="stable")
    return Picks(
        rows_M[place_K[largest_K]],
        numpy.sqrt(gap_K[largest_K]) / frame.scale,
        numpy.full(count, -1, dtype=numpy.int64),
    )
