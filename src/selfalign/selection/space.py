"""Vectors as a space: read in blocks, seen from their mean, of unit length, whitened, flattened for a picture.

A matrix may be memory-mapped and larger than memory: it is read a few megabytes at a time, and nothing of its size is
made but what a call gives back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from selfalign.errors import StageError

# Large blocks make large products; where each row is used once, a block should stay in a core's cache.
BLOCK_BYTES = 4 << 20
CACHED_BYTES = 1 << 20
# However short the vectors are: two blocks of rows meet in one table of distances.
MOST_ROWS = 2048
MOST_OUTLYING = 64.0  # the largest squared length from the mean, over their average

# ---------------------------------------------------------------------------------------------- reading


def checked(vectors_ND: Any) -> Any:
    """The vectors as an array [N, D], mapped ones still mapped.

    Raises:
        StageError: it is no table of at least one row and one column.
    """
    import numpy

    array_ND = numpy.asarray(vectors_ND)
    if array_ND.ndim != 2 or not all(array_ND.shape):
        raise StageError(f"vectors of shape {array_ND.shape} came: a table is due, one row for each vector")
    return array_ND


def kind_of(vectors_ND: Any) -> Any:
    """The type to compute in: float32 for floats of at most 4 bytes, else float64."""
    import numpy

    small = vectors_ND.dtype.kind == "f" and vectors_ND.dtype.itemsize <= 4
    return numpy.dtype(numpy.float32 if small else numpy.float64)


def row_blocks(vectors_ND: Any, rows_M: Any, *, block_bytes: int = BLOCK_BYTES) -> Iterator[slice]:
    """Runs of places in `rows_M` whose vectors take at most so many bytes together as float64, a few megabytes."""
    step = max(1, min(MOST_ROWS, block_bytes // (8 * vectors_ND.shape[1])))
    for start in range(0, len(rows_M), step):
        yield slice(start, min(start + step, len(rows_M)))


def read(vectors_ND: Any, rows_B: Any) -> Any:
    """Those rows; without a copy where they stand side by side."""
    first, last = int(rows_B[0]), int(rows_B[-1])
    if last - first + 1 == len(rows_B) and bool((rows_B[1:] > rows_B[:-1]).all()):
        return vectors_ND[first : last + 1]
    return vectors_ND[rows_B]


def finite_rows(vectors_ND: Any, rows_B: Any) -> Any:
    """Those rows as float64 [B, D].

    Raises:
        StageError: a value is not finite (names the row).
    """
    import numpy

    block_BD = read(vectors_ND, rows_B).astype(numpy.float64)
    finite_B = numpy.isfinite(block_BD).all(axis=1)
    if not finite_B.all():
        row = int(rows_B[int(finite_B.argmin())])
        raise StageError(f"row {row} of the vectors holds a value that is not finite: embed it again or leave it out")
    return block_BD


def mean_of(vectors_ND: Any, rows_M: Any) -> Any:
    """The mean of those rows, float64 [D]; refuses rows that are not finite."""
    import numpy

    total_D = numpy.zeros(vectors_ND.shape[1])
    for part in row_blocks(vectors_ND, rows_M):
        total_D += finite_rows(vectors_ND, rows_M[part]).sum(axis=0)
    return total_D / len(rows_M)


@dataclass(frozen=True, slots=True)
class Frame:
    """Vectors moved to their mean and scaled by a power of two so that no value passes 1.

    Hidden states lie far from the origin and close together; distances from products lose their digits there, and in
    this frame they do not. `scale`: what a length is multiplied by. `kind`: the type computed in.
    """

    vectors_ND: Any
    middle_D: Any
    scale: float
    kind: Any

    def rows(self, rows_B: Any) -> Any:
        """Those rows in the frame, [B, D]."""
        import numpy

        block_BD = numpy.multiply(read(self.vectors_ND, rows_B), self.kind.type(self.scale), dtype=self.kind)
        block_BD -= self.middle_D
        return block_BD

    def blocks(self, rows_M: Any, *, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[slice, Any]]:
        """Places in `rows_M` and their rows in the frame, a block at a time."""
        for part in row_blocks(self.vectors_ND, rows_M, block_bytes=block_bytes):
            yield part, self.rows(rows_M[part])


def framed(vectors_ND: Any, rows_M: Any) -> Frame:
    """The frame of those rows; O(N D), three readings.

    Raises:
        StageError: a value is not finite (names the row).
    """
    import numpy

    mean_D, peak = mean_of(vectors_ND, rows_M), 0.0
    for part in row_blocks(vectors_ND, rows_M):
        peak = max(peak, float(numpy.abs(finite_rows(vectors_ND, rows_M[part]) - mean_D).max()))
    scale = 2.0 ** -math.frexp(peak)[1]
    total = longest = 0.0
    for part in row_blocks(vectors_ND, rows_M):
        length_B = squares((finite_rows(vectors_ND, rows_M[part]) - mean_D) * scale)
        total, longest = total + float(length_B.sum()), max(longest, float(length_B.max()))
    # Beside one row far out, the distances of all others are lost in the rounding of float32 products.
    alike = longest * len(rows_M) <= MOST_OUTLYING * total
    kind = kind_of(vectors_ND) if alike else numpy.dtype(numpy.float64)
    return Frame(vectors_ND, (mean_D * scale).astype(kind), scale, kind)


def squares(block_BD: Any) -> Any:
    """The squared length of each row, [B]."""
    import numpy

    return numpy.einsum("bd,bd->b", block_BD, block_BD)


# ------------------------------------------------------------------------------------------ unit length


def unit_block(vectors_ND: Any, rows_B: Any) -> Any:
    """Those rows divided by their Euclidean lengths, in the type computed in, [B, D].

    Raises:
        StageError: a row is zero or not finite (names the row).
    """
    block_BD = finite_rows(vectors_ND, rows_B)
    return over_length(block_BD, rows_B).astype(kind_of(vectors_ND))


def over_length(block_BD: Any, rows_B: Any) -> Any:
    """A block over the lengths of its rows, float64; refuses a zero row."""
    import numpy

    # The largest value goes first, so that no square overflows or vanishes.
    peak_B = numpy.abs(block_BD).max(axis=1)
    if not peak_B.all():
        raise StageError(
            f"row {int(rows_B[int(peak_B.argmin())])} of the vectors is zero and has no direction: leave it out, or "
            "use vectors as they are"
        )
    block_BD = block_BD / peak_B[:, None]
    return block_BD / numpy.sqrt(squares(block_BD))[:, None]


def unit_rows(vectors_ND: Any) -> Any:
    """Every row divided by its Euclidean length: float32 [N, D] (float64 for float64). O(N D).

    Raises:
        StageError: a row is zero or not finite (names the row).
    """
    import numpy

    vectors_ND = checked(vectors_ND)
    unit_ND = numpy.empty(vectors_ND.shape, dtype=kind_of(vectors_ND))
    rows_N = numpy.arange(len(vectors_ND))
    for part in row_blocks(vectors_ND, rows_N):
        unit_ND[part] = unit_block(vectors_ND, rows_N[part])
    return unit_ND


# ----------------------------------------------------------------------------------- principal directions


@dataclass(frozen=True, slots=True)
class Principal:
    """The directions in which vectors vary, most first: `axes_DR` of unit length, `variance_R` above rounding.

    `mean_D` is what to subtract first; `variance` is that of all directions together.
    """

    mean_D: Any
    axes_DR: Any
    variance_R: Any
    variance: float


def principal(vectors_ND: Any) -> Principal:
    """The eigenvectors of the vectors' covariance, in float64; O(N D min(N, D) + min(N, D)³), min(N, D)² memory.

    Each is turned so that its largest entry (the first of equals) is positive. Directions whose variance is within
    rounding of none are left out, so their number R is the rank: what float64 sums lose, and what the type of the
    vectors cannot tell from the mean.

    Raises:
        StageError: a value is not finite (names the row).
    """
    import numpy

    rows_N = numpy.arange(len(vectors_ND))
    mean_D, squared = mean_of(vectors_ND, rows_N), 0.0
    for part in row_blocks(vectors_ND, rows_N):
        squared += float(squares(finite_rows(vectors_ND, rows_N[part])).sum()) / len(rows_N)
    few = len(rows_N) <= vectors_ND.shape[1]
    # Of fewer rows than columns the N x N products have the same spectrum; the rows fit where D x D would.
    table = finite_rows(vectors_ND, rows_N) - mean_D if few else covariance(vectors_ND, mean_D)
    value_R, vector_R = numpy.linalg.eigh(table @ table.T / len(rows_N) if few else table)
    rounding = numpy.finfo(kind_of(vectors_ND)).eps ** 2 * squared
    least = max(rounding, max(vectors_ND.shape) * numpy.finfo(numpy.float64).eps * max(0.0, float(value_R[-1])))
    order = numpy.flatnonzero(value_R > least)[::-1]
    axes_DR = vector_R[:, order]
    if few:
        axes_DR = table.T @ axes_DR / numpy.sqrt(value_R[order] * len(rows_N))
    largest_R = numpy.abs(axes_DR).argmax(axis=0)
    axes_DR = axes_DR * numpy.sign(axes_DR[largest_R, numpy.arange(len(order))])
    return Principal(mean_D, axes_DR, value_R[order], float(numpy.maximum(value_R, 0.0).sum()))


def covariance(vectors_ND: Any, mean_D: Any) -> Any:
    """The covariance of all rows, over N, float64 [D, D]."""
    import numpy

    total_DD = numpy.zeros((vectors_ND.shape[1],) * 2)
    rows_N = numpy.arange(len(vectors_ND))
    for part in row_blocks(vectors_ND, rows_N):
        block_BD = finite_rows(vectors_ND, rows_N[part]) - mean_D
        total_DD += block_BD.T @ block_BD
    return total_DD / len(rows_N)


def whitened(vectors_ND: Any, components: int) -> Any:
    """The first `components` directions with equal variance, then of unit length: float32 [N, components].

    x becomes (x - mean) U diag(s^-1/2), U and s the eigenvectors and eigenvalues of the covariance, largest first;
    then x / |x|. DiverseEvol's option (released code, off in its configurations), after Su et al. 2021 (BERT-whitening,
    arXiv 2103.15316). Cost: `principal`, and O(N D components).

    Raises:
        StageError: `components` is below 1 or above the rank of the vectors (named), a value is not finite, or a row
            lies at the mean of all and has no direction (names the row).
    """
    import numpy

    vectors_ND = checked(vectors_ND)
    found = principal(vectors_ND)
    rank = len(found.variance_R)
    if not 1 <= components <= rank:
        raise StageError(
            f"{components} whitened components were asked of {len(vectors_ND)} vectors of {vectors_ND.shape[1]} "
            f"values, which vary in {rank} independent directions: ask for 1 to {rank}"
        )
    change_DC = found.axes_DR[:, :components] / numpy.sqrt(found.variance_R[:components])
    white_NC = numpy.empty((len(vectors_ND), components), dtype=numpy.float32)
    rows_N = numpy.arange(len(vectors_ND))
    for part in row_blocks(vectors_ND, rows_N):
        block_BC = (finite_rows(vectors_ND, rows_N[part]) - found.mean_D) @ change_DC
        white_NC[part] = over_length(block_BC, rows_N[part])
    return white_NC


def principal_plane(vectors_ND: Any) -> tuple[Any, Any]:
    """Where the vectors lie in the plane in which they vary most, float32 [N, 2], and each axis's share of variance.

    For a picture. The shares are float64 [2]; an axis along which nothing varies is all zeros. Cost: `principal`.

    Raises:
        StageError: a value is not finite (names the row).
    """
    import numpy

    vectors_ND = checked(vectors_ND)
    found = principal(vectors_ND)
    axes = min(2, len(found.variance_R))
    plane_N2, share_2 = numpy.zeros((len(vectors_ND), 2), dtype=numpy.float32), numpy.zeros(2)
    rows_N = numpy.arange(len(vectors_ND))
    for part in row_blocks(vectors_ND, rows_N):
        plane_N2[part, :axes] = (finite_rows(vectors_ND, rows_N[part]) - found.mean_D) @ found.axes_DR[:, :axes]
    if axes:
        share_2[:axes] = found.variance_R[:axes] / found.variance
    return plane_N2, share_2
