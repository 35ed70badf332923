"""Rows by one number each: the least sure, the hardest, a band of percentiles, the best share, or at random.

Whatever made the numbers (probabilities or logits, which tokens were averaged) is decided where they are made. Ties go
to the lowest row everywhere. `chosen` rows are never picked again; `among`, where given, are the only rows that may be.
Everything here is O(N log N).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from selfalign.errors import StageError
from selfalign.selection.picks import Picks

# Rounding may put the mean loss of an answer that is certain a little below 0; more than this is a sign slip.
ROUNDING = 1e-3
SEEDS = 2**64

# ------------------------------------------------------------------------------------------ uncertainty


def least_confidence(confidence_N: Any, count: int, *, chosen: Sequence[int] = (), among: Any = None) -> Picks:
    """The `count` rows with the lowest confidence, lowest first; `values` are the confidences.

    Confidence is the mean over tokens of the largest probability or logit of a token. The released DiverseEvol code
    takes the largest *logit*, over all tokens of prompt and answer.

    Raises:
        StageError: as for `lowest`.
    """
    return lowest(confidence_N, count, chosen=chosen, among=among)


def margin(margin_N: Any, count: int, *, chosen: Sequence[int] = (), among: Any = None) -> Picks:
    """The `count` rows with the smallest margin between the two likeliest tokens, smallest first.

    The mean over tokens of a difference of probabilities or of logits (the released DiverseEvol code: logits).

    Raises:
        StageError: as for `lowest`.
    """
    return lowest(margin_N, count, chosen=chosen, among=among)


def entropy(entropy_N: Any, count: int, *, chosen: Sequence[int] = (), among: Any = None) -> Picks:
    """The `count` rows with the highest mean entropy of the next token, highest first.

    Raises:
        StageError: as for `lowest`.
    """
    return highest(entropy_N, count, chosen=chosen, among=among)


def lowest(scores_N: Any, count: int, *, chosen: Sequence[int] = (), among: Any = None) -> Picks:
    """The `count` rows with the lowest scores, lowest first; `values` are the scores, `nearest` is -1.

    Raises:
        StageError: a score is not finite (names the row), rows named that are not there, `count` below 1, or fewer
            rows left than that.
    """
    import numpy

    values_N = finite(scores_N)
    rows_M = candidates(len(values_N), count, chosen=chosen, among=among)
    return picked(values_N, rows_M[numpy.argsort(values_N[rows_M], kind="stable")[:count]])


def highest(scores_N: Any, count: int, *, chosen: Sequence[int] = (), among: Any = None) -> Picks:
    """The `count` rows with the highest scores, highest first; otherwise as `lowest`."""
    import numpy

    values_N = finite(scores_N)
    rows_M = candidates(len(values_N), count, chosen=chosen, among=among)
    return picked(values_N, rows_M[numpy.argsort(-values_N[rows_M], kind="stable")[:count]])


# ------------------------------------------------------------------------------------------- difficulty


def instruction_following_difficulty(conditioned_nll_N: Any, direct_nll_N: Any) -> Any:
    """Each answer's IFD, float64 [N]: its loss given the instruction over its loss without; nan where neither says.

    Both are mean negative log-likelihoods per answer token, in nats. A high ratio: the instruction helps little, the
    row is hard. Above 1 the instruction makes the answer less likely. A ratio of *losses*, as the code released for
    Li et al. 2024 (arXiv 2308.12032) has it; its author elsewhere speaks of a ratio of perplexities, which is the
    exponential of the difference and ranks otherwise. nan: a loss is nan (not scored), or the answer is certain
    without the instruction (0 / 0).

    Raises:
        StageError: the arrays differ in length, or a loss is infinite or negative (names the row).
    """
    import numpy

    conditioned_N, direct_N = losses(conditioned_nll_N, "conditioned"), losses(direct_nll_N, "direct")
    if len(conditioned_N) != len(direct_N):
        raise StageError(
            f"{len(conditioned_N)} losses with the instruction came with {len(direct_N)} without: one of each is due "
            "for every row"
        )
    ratio_N = numpy.full(len(direct_N), numpy.nan)
    numpy.divide(conditioned_N, direct_N, out=ratio_N, where=direct_N > 0)
    # A loss of next to nothing below: the quotient has no finite value, so it says no more than 0 / 0 does.
    ratio_N[numpy.isinf(ratio_N)] = numpy.nan
    return ratio_N


def losses(nll_N: Any, name: str) -> Any:
    """Losses as float64 [N], at least 0 or nan."""
    import numpy

    values_N = numpy.atleast_1d(numpy.asarray(nll_N, dtype=numpy.float64))
    wrong_N = numpy.isinf(values_N) | (values_N < -ROUNDING)
    if wrong_N.any():
        row = int(wrong_N.argmax())
        raise StageError(
            f"the {name} loss of row {row} is {values_N[row]}: a mean negative log-likelihood is finite and at least "
            "0 (nan where there is none); see whether its sign was turned"
        )
    return numpy.maximum(values_N, 0.0)


def hardest(ifd_N: Any, count: int, *, chosen: Sequence[int] = (), among: Any = None) -> Picks:
    """The `count` rows with the highest IFD that is not above 1, highest first; `values` are the IFDs.

    Above 1 the instruction is judged not to belong to its answer (Li et al. 2024); such rows and those that could not
    be scored (nan) are never picked.

    Raises:
        StageError: too few rows remain (says how many were left out and why), or as for `lowest`.
    """
    import numpy

    values_N = finite(ifd_N, unscored=True)
    rows_M = candidates(len(values_N), 1, chosen=chosen, among=among)
    fit_M = values_N[rows_M] <= 1.0
    if count > int(fit_M.sum()):
        unscored = int(numpy.isnan(values_N[rows_M]).sum())
        above = len(rows_M) - unscored - int(fit_M.sum())
        raise StageError(
            f"{count} rows were to be picked by difficulty, but only {int(fit_M.sum())} of {len(rows_M)} remain: "
            f"{above} left out for an IFD above 1 (the instruction does not fit the answer), {unscored} could not be "
            "scored; ask for fewer, or give a larger pool"
        )
    return highest(numpy.where(numpy.isnan(values_N), 2.0, values_N), count, chosen=chosen, among=rows_M[fit_M])


def band(
    values_N: Any,
    count: int,
    *,
    low_percentile: float = 25.0,
    high_percentile: float = 75.0,
    chosen: Sequence[int] = (),
    among: Any = None,
) -> Picks:
    """`count` rows from between two percentiles of the values, both ends in, spread evenly over them by rank.

    The step with which Li et al. 2024 choose by perplexity within each cluster (10 rows from the 25th to the 75th
    percentile). Percentiles are nearest-rank, over the rows that may be picked. With m rows in the band, in order of
    value, pick i of n is the one at (2 i + 1) m / (2 n), rounded down: one pick is the middle of the band. `values`
    are the values, rising. A row whose value is nan was not scored and is never picked.

    Raises:
        StageError: fewer than `count` rows lie in the band, the percentiles are not 0 <= low < high <= 100, a value is
            infinite (names the row), or as for `lowest`.
    """
    import numpy

    if not 0.0 <= low_percentile < high_percentile <= 100.0:
        raise StageError(
            f"a band from percentile {low_percentile:g} to {high_percentile:g} is none: 0 <= low < high <= 100 is due"
        )
    values_N = finite(values_N, unscored=True)
    rows_M = candidates(len(values_N), 1, chosen=chosen, among=among)
    rows_M = rows_M[~numpy.isnan(values_N[rows_M])]
    ordered_M = rows_M[numpy.argsort(values_N[rows_M], kind="stable")]
    low, high = (nearest_rank(values_N[ordered_M], share) for share in (low_percentile, high_percentile))
    within_M = ordered_M[(values_N[ordered_M] >= low) & (values_N[ordered_M] <= high)]
    if not 1 <= count <= len(within_M):
        fewer = f"ask for 1 to {len(within_M)}, or widen the band" if len(within_M) else "leave in rows with a score"
        raise StageError(
            f"{count} rows were to be picked from percentile {low_percentile:g} to {high_percentile:g}, where "
            f"{len(within_M)} of {len(values_N)} rows lie: {fewer}"
        )
    places = [(2 * number + 1) * len(within_M) // (2 * count) for number in range(count)]
    return picked(values_N, within_M[places])


def nearest_rank(ordered_M: Any, percentile: float) -> float:
    """The smallest of the rising values that at least so many percent do not pass; nan when there are none."""
    rank = max(1, math.ceil(percentile * len(ordered_M) / 100))
    return float(ordered_M[rank - 1]) if len(ordered_M) else math.nan


# --------------------------------------------------------------------------------------- quality, chance


def best_share(scores_N: Any, share: float, *, among: Any = None) -> Any:
    """The rows whose scores are in the highest `share` of all, int64 in rising order: ceil(share · N), at least one.

    For quality before diversity: what this keeps is what a selector by vectors may pick from,
    `k_center(vectors_ND, count, among=best_share(scores_N, 0.5), …)`. For IFD pass `among=` the rows not above 1.

    Raises:
        StageError: a score is not finite (names the row), the share is not in (0, 1], or there are no rows.
    """
    import numpy

    if not 0.0 < share <= 1.0:
        raise StageError(f"a share of the best rows must be above 0 and at most 1, not {share}")
    values_N = finite(scores_N)
    rows_M = candidates(len(values_N), 1, among=among)
    # What rounding adds to a product such as 0.07 · 100 must not add a row.
    count = max(1, math.ceil(share * len(rows_M) - 1e-9))
    return numpy.sort(highest(values_N, count, among=among).rows)


def at_random(rows_count: int, count: int, *, seed: int, chosen: Sequence[int] = (), among: Any = None) -> Picks:
    """`count` of `rows_count` rows, drawn evenly without replacement; `values` are nan, `nearest` is -1.

    The rows with the lowest numbers when row i gets the i-th 64-bit number of the seed's Philox stream (Salmon et al.
    2011), whose bits are specified for good where numpy's distributions are not. So a longer draw begins with a
    shorter one, and a draw beside rows drawn before by the same seed goes on where that one ended.

    Raises:
        StageError: the seed is not in 0 … 2^64 - 1, or as for `lowest`.
    """
    import numpy

    rows_M = candidates(rows_count, count, chosen=chosen, among=among)
    if not 0 <= seed < SEEDS:
        raise StageError(f"the seed of a draw must be from 0 to 2^64 - 1, not {seed}")
    numbers_N = numpy.random.Philox(key=seed).random_raw(rows_count)
    rows_M = rows_M[numpy.argsort(numbers_N[rows_M], kind="stable")[:count]]
    return Picks(rows_M, numpy.full(count, numpy.nan), numpy.full(count, -1, dtype=numpy.int64))


# --------------------------------------------------------------------------------------------- checking


def picked(values_N: Any, rows_n: Any) -> Picks:
    """Rows as picks, with their own values."""
    import numpy

    return Picks(rows_n, values_N[rows_n], numpy.full(len(rows_n), -1, dtype=numpy.int64))


def finite(scores_N: Any, *, unscored: bool = False) -> Any:
    """The scores as float64 [N]; `unscored`: whether nan may stand for a row that has none."""
    import numpy

    values_N = numpy.asarray(scores_N, dtype=numpy.float64)
    if values_N.ndim != 1:
        raise StageError(f"scores of shape {values_N.shape} came: one number a row is due")
    wrong_N = numpy.isinf(values_N) if unscored else ~numpy.isfinite(values_N)
    if wrong_N.any():
        row = int(wrong_N.argmax())
        raise StageError(f"the score of row {row} is {values_N[row]}: leave out rows without a score before selecting")
    return values_N


def candidates(rows_count: int, count: int, *, chosen: Sequence[int] = (), among: Any = None) -> Any:
    """The rows that may be picked, int64 in rising order, each once: `among` or all, without those chosen.

    Raises:
        StageError: `count` below 1, a row that is not there, or fewer rows than `count`.
    """
    import numpy

    if count < 1:
        raise StageError(f"{count} rows were to be picked: ask for at least 1")
    taken = numpy.unique(numpy.asarray(chosen, dtype=numpy.int64))
    allowed = numpy.arange(rows_count) if among is None else numpy.unique(numpy.asarray(among, dtype=numpy.int64))
    for name, some in (("chosen", taken), ("among", allowed)):
        if len(some) and not 0 <= some[0] <= some[-1] < rows_count:
            wrong = int(some[0] if some[0] < 0 else some[-1])
            raise StageError(f"row {wrong} of `{name}` is not there: the rows are numbered from 0 to {rows_count - 1}")
    left = numpy.setdiff1d(allowed, taken, assume_unique=True)
    if len(left) < count:
        raise StageError(
            f"{count} rows were to be picked, but {len(left)} of {rows_count} may be ({len(taken)} were chosen "
            "before): ask for fewer, or give a larger pool"
        )
    return left
