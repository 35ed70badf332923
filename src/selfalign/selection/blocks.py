"""A matrix of vectors read in blocks: checked once, then seen from near its middle, or row by row without rounding.

Knows neither why distances are wanted nor what is picked.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy

from selfalign.errors import StageError

Metric = Literal["euclidean", "cosine"]

# A block and its product stay in a core's cache, so a row is fetched from memory once for all it is compared with.
BLOCK_BYTES = 1 << 18
# Beyond it squared distances would overflow float64.
LARGEST = 1e150
# Largest absolute values between these need no scaling: in float32 their squares neither overflow nor underflow.
PLAIN = (2.0**-20, 2.0**20)
UNIT_TOLERANCE = 1e-3
SMALLEST = 5e-324
# Multiply-adds up to which a matrix product stays on the calling thread. Blocks are small, so waiting for another
# thread after each brings little, and costs ten times as much as the product once other programs want the processors.
OWN_THREAD = 1 << 18


@dataclass(frozen=True, slots=True)
class Space:
    """Rows of a checked matrix, in two forms: near the middle in float32 (fast), or exact in float64 (slow).

    `middle_D` is close to the rows' middle: subtracting it first keeps float32 rounding small when all rows share a
    large common vector. `scale` is a power of two; it makes the largest value of an extreme matrix about 1.
    """

    vectors_ND: Any
    metric: Metric
    middle_D: Any
    scale: float
    block_rows: int

    @property
    def slack(self) -> float:
        """A bound γ on rounding: float32 `|x|² + |c|² − 2x·c` differs from the truth by ≤ γ(|x|² + |c|²) + `tiny`.

        In any order of summation each of three dot products of D terms errs by at most D·2⁻²⁴, relatively to the
        norms; subtracting the middle, adding up and the float64 direct form add less than 40 more.
        """
        return float(1.1 * (2 * self.vectors_ND.shape[1] + 40) * 2.0**-24)

    @property
    def tiny(self) -> float:
        """What underflow may add to that, near the middle or far: whether or not subnormal numbers are flushed."""
        return float(self.vectors_ND.shape[1] * 2.0**-100 + self.underflow * self.scale * self.scale)

    @property
    def underflow(self) -> float:
        """What underflow may take from a squared distance in float64, in the units of the matrix."""
        return float(self.vectors_ND.shape[1] * SMALLEST)

    def near(self, rows: Any, *, out: Any = None) -> Any:
        """Rows (a slice or indices) minus the middle, scaled: float32 [rows, D], into `out` where one is given."""
        if self.scale == 1 and self.metric == "euclidean":
            block = self.vectors_ND[rows]
        else:
            block = self.exact(rows)
            block *= self.scale
        if out is None:
            own = block.dtype == numpy.float32 and not isinstance(rows, slice)
            out = block if own else numpy.empty(block.shape, numpy.float32)
        return numpy.subtract(block, self.middle_D, out=out[: len(block)], casting="same_kind")

    def exact(self, rows: Any) -> Any:
        """Rows (a slice or indices) in float64 [rows, D], a copy; of unit length for the metric "cosine"."""
        block = self.vectors_ND[rows].astype(numpy.float64, order="C")
        if self.metric == "cosine":
            block /= norms(block)[:, None]
        return block

    def squared(self, rows_P: Any, others: Any) -> Any:
        """Squared Euclidean distances between rows P and `others` (P, or one row): float64 [P].

        By direct differences, so two pairs that are equal number by number have equal distances.
        """
        distances_P = numpy.empty(len(rows_P), numpy.float64)
        one = numpy.ndim(others) == 0
        other = self.exact(slice(others, others + 1)) if one else None
        step = max(1, self.block_rows // 8)
        for start in range(0, len(rows_P), step):
            part = slice(start, start + step)
            difference = self.exact(rows_P[part])
            difference -= other if one else self.exact(others[part])
            difference *= difference
            distances_P[part] = difference.sum(-1)
        return distances_P

    def distance(self, squared: Any) -> Any:
        """Distances in the metric's unit: Euclidean, or 1 − cosine, which is half the square on the unit sphere."""
        return numpy.sqrt(squared) if self.metric == "euclidean" else squared / 2


def norms(block_ND: Any) -> Any:
    """Length of each row: float64 [N]. Every row is summed alone, so its length depends on no neighbour."""
    return numpy.sqrt(numpy.square(block_ND, dtype=numpy.float64).sum(-1))


def blocks(count: int, step: int) -> Iterator[slice]:
    """Slices of at most `step` that cover `count` rows."""
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def space(
    vectors_ND: Any,
    metric: Metric = "euclidean",
    *,
    row_ids: Sequence[str] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Space:
    """The matrix (an array or a memory map; float16, float32 or float64 [N, D]) after one pass that checks every row.

    Raises:
        StageError: not a float matrix; an unknown metric; a value that is not finite or above 1e150; for the metric
            "cosine", a row whose length is not 1 within 1e-3. Names the first such row, by its id where it has one.
    """
    dtype = getattr(vectors_ND, "dtype", None)
    if getattr(vectors_ND, "ndim", 0) != 2 or dtype not in (numpy.float16, numpy.float32, numpy.float64):
        shape = getattr(vectors_ND, "shape", type(vectors_ND).__name__)
        raise StageError(
            f"vectors must be a matrix of float16, float32 or float64 with a row for each item, not {dtype} {shape}"
        )
    if metric not in get_args(Metric):
        raise StageError(f"there is no metric {metric!r}: use one of {', '.join(get_args(Metric))}")
    if isinstance(vectors_ND, numpy.memmap):
        # The same memory without what a memory map does after every operation.
        vectors_ND = vectors_ND.view(numpy.ndarray)
    count, width = vectors_ND.shape
    if not width:
        raise StageError("vectors have no columns: rows without numbers have no distances")
    block_rows = max(16, block_bytes // (4 * width))
    largest = _largest(vectors_ND, metric, row_ids=row_ids, block_rows=block_rows)
    plain = metric == "cosine" or largest == 0 or PLAIN[0] <= largest <= PLAIN[1]
    scale = 1.0 if plain else math.ldexp(1.0, -max(-1000, math.frexp(largest)[1]))
    unshifted = Space(vectors_ND, metric, numpy.float32(0), scale, block_rows)
    middle_D = _middle(unshifted, count) if count else numpy.zeros(width)
    low = scale == 1 and metric == "euclidean" and dtype != numpy.float64
    return Space(vectors_ND, metric, middle_D.astype(numpy.float32 if low else numpy.float64), scale, block_rows)


def products(rows_ND: Any, others_KD: Any) -> Any:
    """Dot products of every row with every other row: float32 [N, K], in tiles small enough for the calling thread.

    Very long rows (beyond about four thousand numbers) leave no useful tile: their products go to all threads.
    """
    count, width = rows_ND.shape
    wide = max(1, min(len(others_KD), 48, max(16, OWN_THREAD // (8 * width) // 16 * 16)))
    high = OWN_THREAD // (wide * width)
    if high < 4:
        return rows_ND @ others_KD.T
    high = high // 8 * 8 or high
    products_NK = numpy.empty((count, len(others_KD)), numpy.float32)
    for top, rows, tile_rows in _tiles(count, high):
        for left, columns, tile_columns in _tiles(len(others_KD), wide):
            out = products_NK[top : top + rows, left : left + columns]
            numpy.matmul(
                rows_ND[top : top + rows].reshape(-1, 1, tile_rows, width),
                others_KD[left : left + columns].reshape(1, -1, tile_columns, width).transpose(0, 1, 3, 2),
                out=out.reshape(-1, tile_rows, columns // tile_columns, tile_columns).transpose(0, 2, 1, 3),
            )
    return products_NK


def _tiles(size: int, tile: int) -> Iterator[tuple[int, int, int]]:
    """Start, length and tile of the part that whole tiles cover, and of the rest as one tile."""
    whole = size // tile * tile
    if whole:
        yield 0, whole, tile
    if size > whole:
        yield whole, size - whole, size - whole


def row_name(row: int, row_ids: Sequence[str] | None) -> str:
    """How a message names a row."""
    return f"row {row}" if row_ids is None else f"row {row_ids[row]!r}"


def _largest(vectors_ND: Any, metric: Metric, *, row_ids: Sequence[str] | None, block_rows: int) -> float:
    """The largest absolute value, every row having been found fit."""
    largest = 0.0
    for part in blocks(len(vectors_ND), block_rows):
        block = vectors_ND[part]
        extreme = max(-float(block.min()), float(block.max()))
        if not extreme <= LARGEST:
            bad = ~(numpy.abs(block.astype(numpy.float64)) <= LARGEST)
            row = part.start + int(numpy.flatnonzero(bad.any(-1))[0])
            name = row_name(row, row_ids)
            if numpy.isfinite(vectors_ND[row]).all():
                raise StageError(f"{name} holds values above {LARGEST:g}, whose squares overflow: scale the vectors")
            raise StageError(f"{name} holds a value that is not a finite number: embed it again, or leave it out")
        largest = max(largest, extreme)
        if metric == "cosine":
            lengths = norms(block)
            off = numpy.flatnonzero(numpy.abs(lengths - 1) > UNIT_TOLERANCE)
            if len(off):
                name = row_name(part.start + int(off[0]), row_ids)
                raise StageError(
                    f"metric 'cosine' needs rows of unit length; {name} has norm {lengths[off[0]]:.4g}: "
                    "normalise them (divide each row by its norm; a row of zeros has no direction)"
                )
    return largest


def _middle(space: Space, count: int) -> Any:
    """A point near the rows' middle, float64 [D]: the mean of some rows over the whole matrix, long ones counting less.

    Any point would do, so a sample will; weighting by 1/length keeps one huge row from carrying the point away.
    """
    sample = space.exact(numpy.arange(0, count, max(1, -(-count // max(1, space.block_rows // 2)))))
    sample *= space.scale
    lengths = norms(sample)
    weights = numpy.divide(1.0, lengths, out=numpy.zeros_like(lengths), where=lengths > 2.0**-60)
    return weights @ sample / weights.sum() if weights.any() else numpy.zeros(sample.shape[1])
