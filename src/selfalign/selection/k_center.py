"""Rows that cover a set of vectors: farthest-first (k-center greedy), its one-shot variant, and where to start.

Knows vectors and row indices only; not what a row says, nor which round of a loop it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from selfalign.errors import StageError
from selfalign.ports import Advance, unheard
from selfalign.selection.blocks import BLOCK_BYTES, Metric, Space, blocks, space
from selfalign.selection.covering import Cover, squared_to_nearest
from selfalign.selection.picks import Picks

# Rows that are added up at once; fixed, so that a mean does not depend on how much memory there is.
ROWS_OF_A_SUM = 256


def k_center(
    vectors_ND: Any,
    count: int,
    *,
    chosen: Sequence[int] = (),
    metric: Metric = "euclidean",
    among: Any = None,
    row_ids: Sequence[str] | None = None,
    advance: Advance = unheard,
    block_bytes: int = BLOCK_BYTES,
) -> Picks:
    """`count` rows, each the farthest from all rows chosen before it; the lowest index on ties.

    The same rows in the same order as `argmax_i min_c ((x_i - c)**2).sum()` in float64, for any finite rows; for the
    metric "cosine" as that of the rows divided by their length, which orders rows as 1 − cosine does. The greedy
    2-approximation of the least covering radius (Gonzalez 1985; Sener & Savarese 2018, core-set; DiverseEvol
    2311.08182, eq. 1-2).

    `vectors_ND` may be a memory map. `values` are distances at selection (Euclidean, or 1 − cosine), `nearest` the
    earliest of the nearest rows chosen before. Only rows `among` (indices; all when None) that are not `chosen` are
    picked; with nothing chosen, the first pick is the lowest of them. `advance` hears of every pick.

    Two passes over the matrix, then only rows that may be farthest are read again, each compared with any centre
    once: O(N·(K + count)·D) at worst. Holds 24 bytes a row, at most max(64, N/64) rows, and a few blocks.

    Raises:
        StageError: an unfit matrix or row (see `space`); fewer rows to pick from than `count`; bad indices.
    """
    seen = space(vectors_ND, metric, row_ids=row_ids, block_bytes=block_bytes)
    allowed_N = _allowed(len(vectors_ND), count, chosen=chosen, among=among)
    picks: list[tuple[int, float, int]] = []
    if not len(chosen):
        picks.append((int(allowed_N.argmax()), numpy.nan, -1))
        chosen = [picks[0][0]]
        allowed_N[chosen] = False
        advance(rows=1)
    if len(picks) < count:
        cover = Cover.of(seen, chosen, allowed_N=allowed_N)
        while len(picks) < count:
            picks += cover.hold().picks(count - len(picks), advance=advance)
    return _picks(seen, *zip(*picks, strict=True))


def farthest(
    vectors_ND: Any,
    count: int,
    *,
    chosen: Sequence[int],
    metric: Metric = "euclidean",
    among: Any = None,
    row_ids: Sequence[str] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Picks:
    """The `count` rows farthest from the chosen ones, all at once: rows picked here do not repel each other.

    The variant of arXiv 2410.09335; arguments, exactness and `Picks` as for `k_center`. O(N·K·D) time, O(N) memory.

    Raises:
        StageError: as `k_center`; nothing chosen.
    """
    seen = space(vectors_ND, metric, row_ids=row_ids, block_bytes=block_bytes)
    allowed_N = _allowed(len(vectors_ND), count, chosen=chosen, among=among)
    if not len(chosen):
        raise StageError("farthest from what? nothing is chosen yet: choose a first row, or use k_center")
    squared_N, nearest_N = squared_to_nearest(seen, chosen)
    rows = numpy.flatnonzero(allowed_N)
    rows = rows[(-squared_N[rows]).argsort(kind="stable")[:count]]
    return _picks(seen, rows, squared_N[rows], nearest_N[rows])


def nearest_chosen(
    vectors_ND: Any,
    chosen: Sequence[int],
    *,
    metric: Metric = "euclidean",
    row_ids: Sequence[str] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> tuple[Any, Any]:
    """Distance of every row to its nearest chosen row (float64 [N]) and that row (int64 [N]; the earliest on ties).

    The largest distance is the covering radius. Units, exactness and `Raises` as for `farthest`.
    """
    seen = space(vectors_ND, metric, row_ids=row_ids, block_bytes=block_bytes)
    if not len(_chosen(chosen, len(vectors_ND))):
        raise StageError("nothing is chosen, so no row has a nearest chosen one: choose at least one row")
    squared_N, nearest_N = squared_to_nearest(seen, chosen)
    return seen.distance(squared_N), nearest_N


def nearest_to_mean(vectors_ND: Any, *, row_ids: Sequence[str] | None = None) -> int:
    """Index of the row nearest to the mean of all rows (Euclidean, float64), the lowest on ties. Two passes.

    Raises:
        StageError: an unfit matrix or row (see `space`); no rows.
    """
    seen = space(vectors_ND, row_ids=row_ids)
    count, width = vectors_ND.shape
    if not count:
        raise StageError("no rows have no mean: the matrix is empty")
    total_D = numpy.zeros(width)
    for part in blocks(count, ROWS_OF_A_SUM):
        total_D += vectors_ND[part].sum(0, dtype=numpy.float64)
    mean_D = total_D / count
    best, least = 0, numpy.inf
    for part in blocks(count, seen.block_rows):
        difference = seen.exact(part)
        difference -= mean_D
        difference *= difference
        squared = difference.sum(-1)
        if squared.min() < least:
            best, least = part.start + int(squared.argmin()), float(squared.min())
    return best


def _picks(seen: Space, rows: Any, squared: Any, nearest: Any) -> Picks:
    distances = seen.distance(numpy.array(squared, numpy.float64))
    return Picks(numpy.array(rows, numpy.int64), distances, numpy.array(nearest, numpy.int64))


def _allowed(size: int, count: int, *, chosen: Sequence[int], among: Any) -> Any:
    """Which rows may be picked: bool [N]."""
    if count < 1:
        raise StageError(f"{count} rows asked for: ask for at least one")
    chosen_K = _chosen(chosen, size)
    allowed_N = numpy.ones(size, bool)
    if among is not None:
        allowed_N[:] = False
        allowed_N[_indices(among, size, name="among")] = True
    allowed_N[chosen_K] = False
    left = int(allowed_N.sum())
    if left < count:
        raise StageError(
            f"{count} rows asked for, but only {left} of {size} may be picked "
            f"({len(chosen_K)} are chosen already): ask for fewer, or give more rows"
        )
    return allowed_N


def _chosen(chosen: Sequence[int], size: int) -> Any:
    chosen_K = _indices(chosen, size, name="chosen")
    once, times = numpy.unique(chosen_K, return_counts=True)
    if len(once) < len(chosen_K):
        raise StageError(f"row {once[times.argmax()]} is chosen more than once: name every chosen row once")
    return chosen_K


def _indices(rows: Any, size: int, *, name: str) -> Any:
    indices = numpy.asarray(rows)
    if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
        raise StageError(f"{name} must be a list of row indices, not {indices.dtype} {indices.shape}")
    outside = indices[(indices < 0) | (indices >= size)]
    if len(outside):
        raise StageError(f"{name} names row {outside[0]}, but the matrix has rows 0 to {size - 1}")
    return indices.astype(numpy.int64)
