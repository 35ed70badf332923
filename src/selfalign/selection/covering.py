"""How far rows are from the nearest of some centres: exactly, while only rows that matter are looked at again.

Knows squared Euclidean distances in a `Space`; not what is picked or why. A distance is first bounded from below in
float32, with one matrix product for many; only pairs whose bound could change an answer are computed by differences
in float64. So answers equal those of float64 alone, number by number, ties included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy

from selfalign.ports import Advance
from selfalign.selection.blocks import OWN_THREAD, Space, blocks, products

# More relative rounding than float32 arithmetic on a limit can do.
GUARD = 2.0**-20
# More than any squared distance near the middle, and a float32.
ABOVE_ALL = 2.0**120
# Rows held at once: enough for some twenty picks between two looks at all bounds, and few beside the matrix.
HELD_SHARE, HELD_LEAST, HELD_MOST, HELD_BYTES = 64, 64, 2048, 8 << 20


def squared_to_nearest(seen: Space, chosen: Sequence[int]) -> tuple[Any, Any]:
    """Squared distance of every row to its nearest chosen row (float64 [N]) and that row (int64 [N]; earliest on ties).

    Inf and −1 where nothing is chosen. O(N·K·D) in float32, O(N) memory.
    """
    count = len(seen.vectors_ND)
    squared_N = numpy.full(count, numpy.inf)
    nearest_N = numpy.full(count, -1, numpy.int64)
    centres = distinct(seen, chosen)
    for group in blocks(len(centres), room(seen)):
        compared = Centres.of(seen, centres[group])
        for part in blocks(count, seen.block_rows):
            near = Nearest.of(seen, numpy.arange(part.start, part.stop), squared_N[part], nearest_N[part])
            near.compare(compared)
            squared_N[part], nearest_N[part] = near.squared_T, near.nearest_T
    return squared_N, nearest_N


def distinct(seen: Space, chosen: Sequence[int]) -> list[int]:
    """Of chosen rows that are equal byte by byte, the first: the others are never nearer, and cost time."""
    first: dict[bytes, int] = {}
    for row in chosen:
        first.setdefault(blake2b(seen.vectors_ND[row].tobytes(), digest_size=16).digest(), int(row))
    return list(first.values())


def room(seen: Space) -> int:
    """How many rows to hold in memory at once: a small share of the matrix."""
    count, width = (int(size) for size in seen.vectors_ND.shape)
    return max(HELD_LEAST, min(HELD_MOST, count // HELD_SHARE, HELD_BYTES // (4 * width)))


def square_lengths(near_ND: Any) -> Any:
    """|x|² of each row: float32 [N]."""
    return numpy.einsum("nd,nd->n", near_ND, near_ND)


@dataclass(frozen=True, slots=True)
class Centres:
    """Centres made ready: `doubled_KD` float32 is −2c, `squares_K` float32 is |c|², both near the middle."""

    rows_K: Any
    doubled_KD: Any
    squares_K: Any

    @classmethod
    def of(cls, seen: Space, rows: Sequence[int]) -> Centres:
        """These rows as centres."""
        rows_K = numpy.asarray(rows, numpy.int64)
        near_KD = seen.near(rows_K)
        squares_K = square_lengths(near_KD)
        near_KD *= -2
        return cls(rows_K, near_KD, squares_K)


@dataclass(frozen=True, slots=True)
class Nearest:
    """Some rows and their nearest centres so far; its arrays change in place, and `squared_T` is always exact.

    `lower_T` is what a row adds to the lower bound of a distance; a centre whose part of that bound (`−2x·c + |c|²`,
    shrunk) is above `limit_T` float32 cannot come nearer than `squared_T`.
    """

    seen: Space
    rows_T: Any
    near_TD: Any
    lower_T: Any
    limit_T: Any
    squared_T: Any
    nearest_T: Any

    @classmethod
    def of(cls, seen: Space, rows_T: Any, squared_T: Any, nearest_T: Any) -> Nearest:
        """Rows with what is known of them: float64 squared distances (inf where nothing is) and the nearest rows."""
        near_TD = seen.near(rows_T)
        lower_T = square_lengths(near_TD).astype(numpy.float64) * (1 - seen.slack) - seen.tiny
        limit_T = numpy.empty(len(rows_T), numpy.float32)
        made = cls(seen, rows_T, near_TD, lower_T, limit_T, squared_T.copy(), nearest_T.copy())
        made._limit(slice(None))
        return made

    def compare(self, centres: Centres, *, first: int | None = None) -> None:
        """Take these centres, later than all before, into account for the `first` rows (all when None)."""
        slack = self.seen.slack
        low_TK = products(self.near_TD[:first], centres.doubled_KD)
        low_TK += centres.squares_K * numpy.float32(1 - slack)
        limit_T = self.limit_T[:first]
        some = numpy.flatnonzero(low_TK.min(1) <= limit_T)
        if len(some) < len(low_TK):
            low_TK = low_TK[some]
        # Of the centres below the limit, only those whose lower bound is not above some upper bound can be nearest.
        likely_T = low_TK.argmin(1)
        least_T = low_TK[numpy.arange(len(some)), likely_T] + centres.squares_K[likely_T] * numpy.float32(2 * slack)
        least_T = least_T + self.lower_T[some] * (3 * slack) + 4 * self.seen.tiny
        position_P, centre_P = numpy.nonzero(low_TK <= numpy.minimum(limit_T[some], least_T)[:, None])
        self._settle(some[position_P], centre_P, centres.rows_K)

    def compare_with(self, position: int) -> None:
        """Take one of these rows, as the latest centre, into account for all of them."""
        centre_D = self.near_TD[position]
        row = int(self.rows_T[position])
        # A product with one vector is best left whole, as far as it stays on the calling thread.
        parts = blocks(len(self.near_TD), max(1, OWN_THREAD // len(centre_D)))
        low_T = numpy.concatenate([self.near_TD[part] @ (centre_D * -2) for part in parts])
        low_T += (centre_D @ centre_D) * numpy.float32(1 - self.seen.slack)
        doubtful = numpy.flatnonzero(low_T <= self.limit_T)
        if len(doubtful):
            self._nearer(doubtful, self.seen.squared(self.rows_T[doubtful], row), row)

    def leave(self, position: int) -> None:
        """This row is out: no distance of it matters any more."""
        self.squared_T[position] = -numpy.inf
        self.limit_T[position] = -numpy.inf

    def _settle(self, position_P: Any, centre_P: Any, rows_K: Any) -> None:
        """Compute these pairs exactly and keep, for each row, the least distance and its earliest centre."""
        squared_P = self.seen.squared(self.rows_T[position_P], rows_K[centre_P])
        order = numpy.lexsort((centre_P, squared_P, position_P))
        order = order[numpy.flatnonzero(numpy.diff(position_P[order], prepend=-1))]
        self._nearer(position_P[order], squared_P[order], rows_K[centre_P[order]])

    def _nearer(self, positions: Any, squared: Any, rows: Any) -> None:
        better = squared < self.squared_T[positions]
        positions = positions[better]
        self.squared_T[positions] = squared[better]
        self.nearest_T[positions] = rows[better] if numpy.ndim(rows) else rows
        self._limit(positions)

    def _limit(self, part: Any) -> None:
        scale = self.seen.scale
        squared = self.squared_T[part]
        limit = numpy.minimum(squared * scale * scale * (1 + GUARD) - self.lower_T[part], ABOVE_ALL)
        # Nothing is nearer than 0, and nothing matters to a row that has left.
        self.limit_T[part] = numpy.where(squared > 0, limit, -numpy.inf)


@dataclass(frozen=True, slots=True)
class Cover:
    """What is known of every row: an upper bound on its squared distance to all centres, tightened only on demand.

    `bound_N` float64; −inf for a row that may not be picked. Where `nearest_N` int32 is not −1, the bound is the exact
    distance to the first `known_N` int32 centres, and stays a bound when centres are added.
    """

    seen: Space
    centres: list[int]
    bound_N: Any
    known_N: Any
    nearest_N: Any

    @classmethod
    def of(cls, seen: Space, chosen: Sequence[int], *, allowed_N: Any) -> Cover:
        """One pass (more only for thousands of centres) that bounds every row's distance to the chosen ones."""
        count, width = seen.vectors_ND.shape
        centres, bound_N = distinct(seen, chosen), numpy.full(count, numpy.inf)
        buffer = numpy.empty((min(count, seen.block_rows), width), numpy.float32)
        wide = 1 + seen.slack
        for group in blocks(len(centres), room(seen)):
            compared = Centres.of(seen, centres[group])
            for part in blocks(count, seen.block_rows):
                near_BD = seen.near(part, out=buffer)
                high_BK = products(near_BD, compared.doubled_KD)
                high_BK += compared.squares_K * numpy.float32(wide)
                high_B = high_BK.min(1) + square_lengths(near_BD).astype(numpy.float64) * wide + seen.tiny
                high_B = high_B / seen.scale / seen.scale + seen.underflow
                numpy.minimum(bound_N[part], high_B, out=bound_N[part])
        bound_N[~allowed_N] = -numpy.inf
        return cls(seen, centres, bound_N, numpy.zeros(count, numpy.int32), numpy.full(count, -1, numpy.int32))

    def hold(self) -> Held:
        """The rows of the largest bounds (the lowest indices among equal ones), brought up to date."""
        count = len(self.bound_N)
        held = min(room(self.seen), count)
        least = numpy.partition(self.bound_N, count - held)[count - held]
        rows_T = numpy.flatnonzero(self.bound_N > least)
        beyond = (float(numpy.nextafter(least, -numpy.inf)), -1)
        if least > -numpy.inf:
            equal = numpy.flatnonzero(self.bound_N == least)
            rest = held - len(rows_T)
            rows_T = numpy.concatenate([rows_T, equal[:rest]])
            if len(equal) > rest:
                beyond = (float(least), int(equal[rest]))
        return Held(self, self._current(rows_T), *beyond)

    def _current(self, rows_T: Any) -> Nearest:
        """These rows compared with every centre they have not met; those that have met fewest come first."""
        rows_T = rows_T[self.known_N[rows_T].argsort(kind="stable")]
        known_T, nearest_T = self.known_N[rows_T], self.nearest_N[rows_T]
        squared_T = numpy.where(nearest_T < 0, numpy.inf, self.bound_N[rows_T])
        near = Nearest.of(self.seen, rows_T, squared_T, nearest_T)
        step = max(16, self.seen.block_rows * self.seen.vectors_ND.shape[1] // (2 * len(rows_T)))
        step = min(step, self.seen.block_rows)
        for start in range(int(known_T[0]), len(self.centres), step):
            group = self.centres[start : start + step]
            near.compare(Centres.of(self.seen, group), first=int(numpy.searchsorted(known_T, start + len(group))))
        return near


@dataclass(frozen=True, slots=True)
class Held:
    """The rows that may be farthest, known exactly; no other row beats (`beyond`, `beyond_row`)."""

    cover: Cover
    near: Nearest
    beyond: float
    beyond_row: int

    def picks(self, most: int, *, advance: Advance) -> list[tuple[int, float, int]]:
        """At most `most` picks, until a row not held may be farther; then what is known now is in the cover."""
        picks: list[tuple[int, float, int]] = []
        while len(picks) < most and (position := self._farthest()) is not None:
            picks.append(self._pick(position))
            advance(rows=1)
        rows_T = self.near.rows_T
        self.cover.bound_N[rows_T] = self.near.squared_T
        self.cover.known_N[rows_T] = len(self.cover.centres)
        self.cover.nearest_N[rows_T] = self.near.nearest_T
        return picks

    def _farthest(self) -> int | None:
        """Position of the farthest of all rows, the lowest index on ties; None when it may be a row not held."""
        squared_T, rows_T = self.near.squared_T, self.near.rows_T
        largest = squared_T.max()
        ties = numpy.flatnonzero(squared_T == largest)
        position = int(ties[rows_T[ties].argmin()])
        ahead = largest > self.beyond or (largest == self.beyond and rows_T[position] < self.beyond_row)
        return position if ahead else None

    def _pick(self, position: int) -> tuple[int, float, int]:
        """Make this row a centre; gives the row, its squared distance and the nearest centre before."""
        near = self.near
        picked = int(near.rows_T[position]), float(near.squared_T[position]), int(near.nearest_T[position])
        near.leave(position)
        # A row on top of a centre brings nobody nearer, so it need not become one.
        if picked[1] > 0:
            self.cover.centres.append(picked[0])
            near.compare_with(position)
        return picked
