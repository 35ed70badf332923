"""Agreement with people, by hand-made figures and by what rank correlation must satisfy."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import selfalign
from selfalign.data.numbers import read_numbers
from selfalign.data.sources import pinned, read_chats
from selfalign.grading.calibration import agreement, ranks, spearman
from selfalign.types import Grade


def grade(name: str, value: float | None) -> Grade:
    return Grade(id=name, rubric="r", value=value, why_unread="" if value is not None else "no line")


def test_precision_and_recall_by_hand() -> None:
    grades = [grade("a", 5), grade("b", 4), grade("c", 4.5), grade("d", 2), grade("e", None), grade("f", 1)]
    gold = {"a": 5.0, "b": 5.0, "c": 1.0, "d": 5.0, "e": 5.0, "f": 1.0}
    found = agreement(grades, gold, threshold=4, gold_threshold=4, seed=0)
    assert (found.kept, found.rows) == (3, 6)
    assert found.precision.mean == pytest.approx(2 / 3)
    assert found.recall.mean == pytest.approx(2 / 4), "an unread good row is a missed one"
    assert found.unread_share == pytest.approx(1 / 6)
    assert found.good_share == pytest.approx(4 / 6)
    assert found.precision.low <= found.precision.mean <= found.precision.high
    assert [(level.gold, level.rows, level.unread, level.kept, level.mean) for level in found.levels] == [
        (1.0, 2, 0, 1, 2.75), (5.0, 4, 1, 2, pytest.approx(11 / 3)),
    ]  # fmt: skip


def test_nothing_kept_and_nothing_read() -> None:
    found = agreement([grade("a", None)], {"a": 5.0}, threshold=4, gold_threshold=4, seed=0)
    assert found.precision.items == 0
    assert math.isnan(found.precision.mean)
    assert found.recall.mean == 0
    assert found.rank_correlation is None
    assert found.levels[0].mean is None


def test_a_row_without_gold_is_refused() -> None:
    with pytest.raises(ValueError, match="gold"):
        agreement([grade("a", 1)], {}, threshold=1, gold_threshold=1, seed=0)


def test_ranks_and_correlation_with_ties() -> None:
    assert ranks([10, 20, 20, 5]) == [2, 3.5, 3.5, 1]
    # by hand: ranks 1 2.5 2.5 4 and 1 3 2 4 -> 4.5 / sqrt(4.5 * 5)
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman([1, 2, 3], [3, 2, 1]) == -1
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1], [1]) is None
    with pytest.raises(ValueError, match="numbers"):
        spearman([1, math.nan], [1, 2])


PAIRS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=30)


@given(PAIRS)
def test_correlation_depends_on_order_alone(pairs: list[tuple[int, int]]) -> None:
    one, other = [a for a, _ in pairs], [b for _, b in pairs]
    found = spearman(one, other)
    stretched = spearman([math.exp(a) for a in one], [b**3 for b in other])
    turned = spearman([-a for a in one], other)
    assert found == spearman(other, one)
    assert (found is None) == (len(set(one)) == 1 or len(set(other)) == 1)
    if found is not None:
        assert -1 <= found <= 1
        assert stretched == pytest.approx(found)
        assert turned == pytest.approx(-found)


@given(st.lists(st.integers(-5, 5), max_size=30))
def test_ranks_sum_as_if_there_were_no_ties(values: list[int]) -> None:
    assert sum(ranks(values)) == pytest.approx(len(values) * (len(values) + 1) / 2)


def test_the_gold_set_keeps_its_promises() -> None:
    source = pinned("embedded:grading-gold#all")
    rows = list(read_chats(source))
    grades = list(read_numbers(source, "grade"))
    counted = Counter(grades)
    assert set(counted) == {1, 3, 5}
    assert min(counted.values()) >= 20
    assert len(rows) == len(grades) >= 60
    assert all(len(row.answer or "") < 700 for row in rows)
    text = (Path(selfalign.__file__).parent / "embedded" / "grading_gold.jsonl").read_text("ascii")
    raw = [json.loads(line) for line in text.splitlines()]
    assert all(bool(row["fault"]) == (row["grade"] == 1) for row in raw)
    assert len({row["topic"] for row in raw}) >= 20
