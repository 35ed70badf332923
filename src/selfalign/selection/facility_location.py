"""Rows that stand for all rows: the facility-location objective, maximised greedily and lazily."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from selfalign.errors import StageError
from selfalign.selection.by_score import at_random, candidates
from selfalign.selection.picks import Picks
from selfalign.selection.space import Frame, checked, framed, squares

FIRST_BATCH, LARGEST_BATCH = 32, 1024


def facility_location(
    vectors_ND: Any,
    count: int,
    *,
    chosen: Sequence[int] = (),
    among: Any = None,
    represented: int = 20_000,
    seed: int = 0,
) -> Picks:
    """`count` rows that make sum over rows i of max over picked j of s(i, j) large, in the order they were picked.

    The similarity is s(i, j) = m - |x_i - x_j|², where m = 4 max |x - mean|² is at least every squared distance, so
    that s is never negative. The picks do not depend on m: they minimise the mean squared distance to the nearest
    pick (k-medoids, greedily). Of `unit_rows`, s is twice the cosine and a constant; there an outlier counts little,
    in a space as it comes it counts with the square of its distance.

    Greedy, at least 1 - 1/e of the best value for `count` rows (Nemhauser, Wolsey & Fisher 1978), and lazy (Minoux
    1978): a gain never grows, so an old one bounds the new one from above and few rows are looked at again. `values`
    are the gains per represented row, in squared units of the vectors; they never rise (but for rounding), and with
    nothing chosen they sum to the mean similarity of a row to its nearest pick. `nearest` is -1: no one row stands for
    a gain. Gains within rounding of each other (1e-6 of them in float32) are ties, and go to the lowest row.

    Represented are all N rows, those not in `among` too; of more than `represented` rows an even sample of that many,
    drawn by `seed`. With R represented rows: O(N R D) for the first two picks, then as many rows as the bounds leave,
    O(R D) each; no table larger than a block is kept.

    Raises:
        StageError: fewer rows than `count`, `count` or `represented` below 1, or a value that is not finite (names
            the row).
    """
    import numpy

    vectors_ND = checked(vectors_ND)
    rows_M = candidates(len(vectors_ND), count, chosen=chosen, among=among)
    if represented < 1:
        raise StageError(f"{represented} rows were to be represented: at least 1 is due")
    standing_R = numpy.arange(len(vectors_ND))
    frame = framed(vectors_ND, standing_R)
    if represented < len(vectors_ND):
        standing_R = numpy.sort(at_random(len(vectors_ND), represented, seed=seed).rows)
    covered = Coverage(frame, standing_R, numpy.unique(numpy.asarray(chosen, dtype=numpy.int64)))
    bound_M = numpy.full(len(rows_M), numpy.inf) if len(chosen) else covered.first_gains(rows_M)
    known_M = numpy.full(len(rows_M), not len(chosen))
    places: list[int] = []
    gains: list[float] = []
    for _ in range(count):
        place = best(bound_M, known_M, rows_M, covered)
        places.append(place)
        gains.append(float(bound_M[place]))
        covered.add(rows_M[place : place + 1])
        bound_M[place] = -numpy.inf
        known_M[:] = False
    unit = len(standing_R) * frame.scale**2
    return Picks(rows_M[places], numpy.array(gains) / unit, numpy.full(count, -1, dtype=numpy.int64))


class Coverage:
    """How far every represented row is from its nearest pick, and what another pick would gain; lengths in the frame.

    `near_R` starts at m, as if a pick were farther than any row.
    """

    def __init__(self, frame: Frame, standing_R: Any, chosen_M: Any) -> None:
        import numpy

        self.frame = frame
        self.standing_R = standing_R
        everything = numpy.arange(len(frame.vectors_ND))
        longest = max(float(squares(block_BD).max()) for _, block_BD in frame.blocks(everything))
        digits = float(numpy.finfo(frame.kind).eps)
        # Below this a squared distance from products is rounding: rows that are equal are at distance 0.
        self.least = 16.0 * digits * longest
        self.tie = 1e-6 if digits > 1e-12 else 1e-12
        self.near_R = numpy.full(len(standing_R), 4.0 * longest, dtype=frame.kind)
        for start in range(0, len(chosen_M), LARGEST_BATCH):
            self.add(chosen_M[start : start + LARGEST_BATCH])

    def apart(self, block_BD: Any, others_CD: Any) -> Any:
        """Squared distances between two blocks of rows, [B, C]."""
        import numpy

        apart_BC = block_BD @ others_CD.T
        apart_BC *= -2.0
        apart_BC += squares(others_CD)
        apart_BC += squares(block_BD)[:, None]
        numpy.putmask(apart_BC, apart_BC < self.least, 0.0)
        return apart_BC

    def add(self, rows_B: Any) -> None:
        """Count those rows as picked."""
        import numpy

        picked_BD = self.frame.rows(rows_B)
        for part, block_RD in self.frame.blocks(self.standing_R):
            nearest_R = self.apart(block_RD, picked_BD).min(axis=1)
            self.near_R[part] = numpy.minimum(self.near_R[part], nearest_R)

    def gains(self, rows_B: Any) -> Any:
        """What each of those rows would gain: the sum over represented rows of what it takes off their squares, [B]."""
        import numpy

        picked_BD = self.frame.rows(rows_B)
        total_B = numpy.zeros(len(rows_B))
        for part, block_RD in self.frame.blocks(self.standing_R):
            gain_RB = self.apart(block_RD, picked_BD)
            numpy.subtract(self.near_R[part, None], gain_RB, out=gain_RB)
            numpy.maximum(gain_RB, 0.0, out=gain_RB)
            total_B += gain_RB.sum(axis=0, dtype=numpy.float64)
        return total_B

    def first_gains(self, rows_M: Any) -> Any:
        """The gains while nothing is picked, in O((R + M) D).

        The mean of |x_i - x_j|² over i is |x_j|² - 2 x_j · mean + mean |x_i|²: no pairs are needed.
        """
        import numpy

        mean_D, mean_square = numpy.zeros(len(self.frame.middle_D)), 0.0
        for _, block_RD in self.frame.blocks(self.standing_R):
            mean_D += block_RD.sum(axis=0, dtype=numpy.float64) / len(self.standing_R)
            mean_square += float(squares(block_RD).sum(dtype=numpy.float64)) / len(self.standing_R)
        gain_M = numpy.empty(len(rows_M))
        for part, block_BD in self.frame.blocks(rows_M):
            exact_BD = block_BD.astype(numpy.float64)
            gain_M[part] = squares(exact_BD) - 2.0 * (exact_BD @ mean_D)
        return (float(self.near_R[0]) - mean_square - gain_M) * len(self.standing_R)


def best(bound_M: Any, known_M: Any, rows_M: Any, covered: Coverage) -> int:
    """The place of the row that gains most now, the lowest of equals; bounds that were looked at become exact.

    `known_M`: which bounds are exact already. Bounds are tried from the highest down, in batches that double.
    """
    import numpy

    batch = FIRST_BATCH
    while True:
        top = max(0.0, float(bound_M[known_M].max(initial=0.0)))
        # A bound of 0 cannot fall; one just below the best may still be a tie.
        open_M = numpy.flatnonzero(~known_M & (bound_M > 0.0) & (bound_M >= top * (1.0 - covered.tie)))
        if not len(open_M):
            break
        if len(open_M) > batch:
            open_M = open_M[numpy.argpartition(-bound_M[open_M], batch)[:batch]]
        open_M = numpy.sort(open_M)
        bound_M[open_M] = covered.gains(rows_M[open_M])
        known_M[open_M] = True
        batch = min(2 * batch, LARGEST_BATCH)
    return int(numpy.flatnonzero(bound_M >= bound_M.max() * (1.0 - covered.tie))[0])
