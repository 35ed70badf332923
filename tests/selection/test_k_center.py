"""Farthest-first selection against the textbook in float64, the laws it obeys, and what it refuses."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.errors import StageError
from selfalign.selection.k_center import farthest, k_center, nearest_chosen, nearest_to_mean

# One row a block at most sizes below, some blocks, one block: what is picked must not depend on it.
BLOCK_BYTES = (1, 1 << 13, 1 << 20)


def textbook(vectors: Any, count: int, *, chosen: Any = (), among: Any = None, unit: bool = False) -> Any:
    """Rows, squared distances and nearest rows of the naive algorithm, in float64 by direct differences."""
    rows = numpy.ascontiguousarray(vectors, dtype=numpy.float64)
    if unit:
        rows = rows / numpy.sqrt((rows**2).sum(-1))[:, None]
    least, nearest = numpy.full(len(rows), numpy.inf), numpy.full(len(rows), -1)
    free = numpy.isin(numpy.arange(len(rows)), numpy.arange(len(rows)) if among is None else among)

    def add(centre: int) -> None:
        distances = ((rows - rows[centre]) ** 2).sum(-1)
        nearer = distances < least
        least[nearer], nearest[nearer], free[centre] = distances[nearer], centre, False

    for centre in chosen:
        add(centre)
    picks = []
    for _ in range(count):
        row = int(numpy.where(free, least, -numpy.inf).argmax())
        picks.append((row, float(least[row]), int(nearest[row])))
        add(row)
    return tuple(map(list, zip(*picks, strict=True)))


def agrees(vectors: Any, count: int, *, chosen: Any = (), among: Any = None, metric: Any = "euclidean") -> None:
    """Picks, values and nearest rows are those of the textbook, number by number, whatever the block size."""
    unit = metric == "cosine"
    rows, squared, nearest = textbook(vectors, count, chosen=chosen, among=among, unit=unit)
    values = numpy.where(numpy.isinf(squared), numpy.nan, numpy.array(squared) / 2 if unit else numpy.sqrt(squared))
    for block_bytes in BLOCK_BYTES:
        picks = k_center(vectors, count, chosen=chosen, among=among, metric=metric, block_bytes=block_bytes)
        assert picks.rows.tolist() == rows
        assert picks.nearest.tolist() == nearest
        numpy.testing.assert_array_equal(picks.values, values)
        assert {array.dtype.name for array in (picks.rows, picks.nearest)} == {"int64"}


def clustered(count: int, width: int, *, clusters: int = 30, seed: int = 0) -> Any:
    """Unit vectors around some directions, float32."""
    draw = numpy.random.default_rng(seed)
    rows = draw.standard_normal((clusters, width))[draw.integers(0, clusters, count)]
    rows += 0.5 * draw.standard_normal((count, width))
    return (rows / numpy.linalg.norm(rows, axis=1, keepdims=True)).astype(numpy.float32)


KINDS = ("lattice", "duplicates", "offset", "norms", "huge", "subnormal", "axes", "near duplicates", "plain")


@st.composite
def matrices(draw: st.DrawFn) -> Any:
    """Small matrices of the kinds that break ties, cancel digits, overflow or underflow."""
    kind, dtype = draw(st.sampled_from(KINDS)), draw(st.sampled_from(["float16", "float32", "float64"]))
    count, width = draw(st.integers(1, 200)), draw(st.sampled_from([1, 2, 3, 8, 40]))
    rng = numpy.random.default_rng(draw(st.integers(0, 2**32)))
    plain = rng.standard_normal((count, width))
    few = rng.standard_normal((1 + count // 10, width))[rng.integers(0, 1 + count // 10, count)]
    largest = {"float16": 6e4, "float32": 3e38, "float64": 1e150}[dtype]
    rows = {
        "lattice": rng.integers(-2, 3, (count, width)).astype(float),
        "duplicates": few,
        "offset": plain + 1e4,
        "norms": plain * 10.0 ** rng.integers(-30, 30, (count, 1)),
        "huge": plain * largest / 3,
        "subnormal": plain * {"float16": 6e-8, "float32": 1e-44, "float64": 1e-200}[dtype],
        "axes": numpy.eye(count, width),
        "near duplicates": few + 1e-5 * plain,
        "plain": plain,
    }[kind]
    return numpy.clip(rows, -largest, largest).astype(dtype)


@settings(deadline=None, max_examples=150)
@given(vectors=matrices(), data=st.data())
def test_picks_are_those_of_the_textbook(vectors: Any, data: st.DataObject) -> None:
    rows = st.integers(0, len(vectors) - 1)
    chosen = data.draw(st.lists(rows, unique=True, max_size=min(6, len(vectors) - 1)))
    left = sorted(set(range(len(vectors))) - set(chosen))
    among = data.draw(st.none() | st.lists(st.sampled_from(left), min_size=1, unique=True))
    count = data.draw(st.integers(1, len(left if among is None else among)))
    agrees(vectors, count, chosen=chosen, among=among)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), dtype=st.sampled_from(["float32", "float64"]), few=st.booleans())
def test_cosine_picks_are_those_of_unit_rows(seed: int, dtype: str, few: bool) -> None:
    rng = numpy.random.default_rng(seed)
    rows = rng.integers(1, 4, (90, 3)) if few else rng.standard_normal((90, 24)) + 2
    unit = (rows / numpy.linalg.norm(rows, axis=1, keepdims=True) * rng.uniform(0.9995, 1.0005, (90, 1))).astype(dtype)
    agrees(unit, 60, chosen=[4, 7], metric="cosine")


@pytest.mark.parametrize("initial", [0, 1, 10, 500])
def test_picks_are_those_of_the_textbook_over_many_blocks(initial: int) -> None:
    agrees(clustered(3000, 256), 150, chosen=range(initial))


def test_a_large_common_offset_changes_no_pick() -> None:
    agrees(clustered(1000, 64) + numpy.float32(1e4), 100)


def test_rows_that_differ_in_the_last_bit_are_told_apart() -> None:
    rows = numpy.ones((500, 32), numpy.float32)
    rows[numpy.arange(500), numpy.arange(500) % 32] += numpy.float32(2.0**-23) * (numpy.arange(500) % 5)
    agrees(rows, 200)


def test_layout_and_place_do_not_matter(tmp_path: Path) -> None:
    vectors = clustered(500, 32)
    numpy.save(tmp_path / "vectors.npy", numpy.asfortranarray(vectors))
    mapped = numpy.load(tmp_path / "vectors.npy", mmap_mode="r")
    assert k_center(mapped, 100).rows.tolist() == k_center(vectors, 100).rows.tolist()


def test_a_permutation_of_the_rows_permutes_the_picks() -> None:
    vectors = clustered(800, 32)
    order = numpy.random.default_rng(1).permutation(800)
    picks = k_center(vectors, 200, chosen=[5])
    permuted = k_center(vectors[order], 200, chosen=numpy.flatnonzero(order == 5))
    assert order[permuted.rows].tolist() == picks.rows.tolist()
    assert permuted.values.tolist() == picks.values.tolist()


def test_duplicates_of_a_centre_are_picked_last() -> None:
    vectors = numpy.concatenate([numpy.repeat(clustered(1, 16), 50, axis=0), clustered(100, 16, seed=1)])
    picks = k_center(vectors, 149, chosen=[3])
    assert sorted(picks.rows[:100]) == list(range(50, 150))
    assert picks.rows[100:].tolist() == [row for row in range(50) if row != 3]
    assert set(picks.values[100:]) == {0.0}
    assert set(picks.nearest[100:]) == {3}


def test_a_hundred_thousand_equal_rows_are_picked_in_order() -> None:
    picks = k_center(numpy.ones((100_000, 8), numpy.float32), 300)
    assert picks.rows.tolist() == list(range(300))
    assert picks.values[1:].tolist() == [0.0] * 299


def test_a_shorter_selection_begins_a_longer_one() -> None:
    vectors = clustered(600, 24)
    longest = k_center(vectors, 300).rows.tolist()
    assert all(k_center(vectors, count).rows.tolist() == longest[:count] for count in (1, 2, 17, 150))
    assert k_center(vectors, 100, chosen=longest[:200]).rows.tolist() == longest[200:]


def test_the_earliest_of_equally_near_rows_is_named() -> None:
    corners = numpy.array([[0, 1], [0, -1], [0, 0], [0, 0]], numpy.float32)
    assert k_center(corners, 2, chosen=[1, 0]).nearest.tolist() == [1, 2]
    assert k_center(corners.astype(float) * [[3e-200], [1e-200], [0], [0]], 1, chosen=[0, 1]).nearest.tolist() == [0]


def test_the_covering_radius_never_grows() -> None:
    vectors = clustered(400, 16)
    picks = k_center(vectors, 60)
    assert (numpy.diff(picks.values[1:]) <= 0).all()
    radii = [float(nearest_chosen(vectors, picks.rows[:count])[0].max()) for count in range(1, 60)]
    assert radii == picks.values[1:].tolist()


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 4))
def test_the_radius_is_at_most_twice_the_least_possible(seed: int, count: int) -> None:
    points = numpy.random.default_rng(seed).standard_normal((9, 2))
    between = numpy.sqrt(((points[:, None] - points) ** 2).sum(-1))
    least = min(between[:, centres].min(1).max() for centres in map(list, itertools.combinations(range(9), count)))
    assert nearest_chosen(points, k_center(points, count).rows)[0].max() <= 2 * least * (1 + 1e-12)


@settings(deadline=None, max_examples=60)
@given(vectors=matrices(), data=st.data())
def test_nearest_chosen_and_farthest_are_those_of_the_textbook(vectors: Any, data: st.DataObject) -> None:
    if len(vectors) == 1:
        vectors = numpy.repeat(vectors, 2, axis=0)
    size = min(90, len(vectors) - 1)
    chosen = data.draw(st.lists(st.integers(0, len(vectors) - 1), unique=True, min_size=1, max_size=size))
    rows = vectors.astype(numpy.float64)
    squared = numpy.array([((rows - rows[centre]) ** 2).sum(-1) for centre in chosen])
    block_bytes = data.draw(st.sampled_from(BLOCK_BYTES))
    distances, nearest = nearest_chosen(vectors, chosen, block_bytes=block_bytes)
    assert distances.tolist() == numpy.sqrt(squared.min(0)).tolist()
    assert nearest.tolist() == [chosen[first] for first in squared.argmin(0)]
    left = sorted(set(range(len(vectors))) - set(chosen))
    ranked = sorted(left, key=lambda row: (-squared.min(0)[row], row))
    picks = farthest(vectors, len(left), chosen=chosen, block_bytes=block_bytes)
    assert picks.rows.tolist() == ranked
    assert picks.values.tolist() == distances[ranked].tolist()
    assert picks.nearest.tolist() == nearest[ranked].tolist()
    assert farthest(vectors, 1, chosen=chosen, among=[left[-1]]).rows.tolist() == [left[-1]]


def test_picks_at_once_do_not_repel_each_other() -> None:
    line = numpy.array([[0.0], [1.0], [9.0], [10.0]])
    assert farthest(line, 2, chosen=[0]).rows.tolist() == [3, 2]
    assert k_center(line, 2, chosen=[0]).rows.tolist() == [3, 1]


def test_the_row_nearest_to_the_mean_is_the_lowest_of_equals() -> None:
    assert nearest_to_mean(numpy.array([[9.0], [1.0], [-1.0], [-9.0]])) == 1
    vectors = clustered(700, 48) + numpy.float32(100)
    rows = vectors.astype(numpy.float64)
    assert nearest_to_mean(vectors) == ((rows - rows.mean(0)) ** 2).sum(-1).argmin()


def test_every_pick_is_heard_of() -> None:
    heard: list[int] = []

    def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        heard.append(rows)

    k_center(clustered(200, 8), 70, advance=advance)
    assert heard == [1] * 70


def test_extra_memory_is_a_small_share_of_the_matrix() -> None:
    vectors = clustered(20_000, 256)
    tracemalloc.start()
    try:
        k_center(vectors, 100, chosen=range(50))
        assert tracemalloc.get_traced_memory()[1] <= 0.1 * vectors.nbytes
    finally:
        tracemalloc.stop()


GOOD = clustered(5, 4)


def with_value(value: float, row: int = 2) -> Any:
    vectors = GOOD.astype(numpy.float64)
    vectors[row, 1] = value
    return vectors


BAD = {
    "row 2 holds a value that is not a finite number: embed it again, or leave it out": (with_value(numpy.nan), {}),
    "row 3 holds a value that is not a finite number": (with_value(-numpy.inf, row=3), {}),
    "row 'c' holds a value that is not a finite": (with_value(numpy.inf), {"row_ids": list("abcde")}),
    "row 2 holds values above 1e+150, whose squares overflow: scale the vectors": (with_value(1e200), {}),
    "metric 'cosine' needs rows of unit length; row 2 has norm 7.": (with_value(7), {"metric": "cosine"}),
    "row 0 has norm 0: normalise them": (numpy.zeros((5, 4)), {"metric": "cosine"}),
    "there is no metric 'manhattan': use one of euclidean, cosine": (GOOD, {"metric": "manhattan"}),
    "vectors must be a matrix of float16, float32 or float64 with a row for each": (GOOD.astype(int), {}),
    "not float32 (4,)": (GOOD[0], {}),
    "vectors have no columns": (GOOD[:, :0], {}),
    "chosen names row 5, but the matrix has rows 0 to 4": (GOOD, {"chosen": [0, 5]}),
    "chosen names row -1": (GOOD, {"chosen": [-1]}),
    "row 1 is chosen more than once": (GOOD, {"chosen": [1, 0, 1]}),
    "among names row 9": (GOOD, {"chosen": [1], "among": numpy.array([9])}),
    "among must be a list of row indices, not bool (5,)": (GOOD, {"chosen": [1], "among": GOOD[:, 0] > 0}),
    "2 rows asked for, but only 1 of 5 may be picked (1 are chosen already)": (GOOD, {"chosen": [1], "among": [1, 2]}),
    "only 0 of 0 may be picked": (GOOD[:0], {}),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_with_its_reason(message: str) -> None:
    vectors, options = BAD[message]
    for selector in (k_center, farthest):
        with pytest.raises(StageError) as raised:
            selector(vectors, 2, **{"chosen": [], **options})
        assert message in str(raised.value)


def test_some_refusals_belong_to_one_function() -> None:
    with pytest.raises(StageError, match="0 rows asked for: ask for at least one"):
        k_center(GOOD, 0)
    with pytest.raises(StageError, match="farthest from what"):
        farthest(GOOD, 1, chosen=[])
    with pytest.raises(StageError, match="nothing is chosen"):
        nearest_chosen(GOOD, [])
    with pytest.raises(StageError, match="no rows have no mean"):
        nearest_to_mean(GOOD[:0])


@pytest.mark.slow
def test_hundreds_of_picks_of_twenty_thousand_rows() -> None:
    vectors = clustered(20_000, 576, clusters=200)
    rows, squared, nearest = textbook(vectors, 300, chosen=range(100))
    picks = k_center(vectors, 300, chosen=range(100))
    assert picks.rows.tolist() == rows
    assert picks.values.tolist() == numpy.sqrt(squared).tolist()
    assert picks.nearest.tolist() == nearest
