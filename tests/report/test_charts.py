"""Drawings are well formed, legible and honest whatever the values are."""

from __future__ import annotations

import math
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfalign.report.charts import HEIGHT, WIDTH, Series, loss_chart, rounds_chart, tick_text, ticks

LABELS = ["base", "round 0", "round 1"]
finite = st.floats(min_value=-1e12, max_value=1e12)


def drawn(series: list[Series], labels: list[str] = LABELS, kept: int | None = 1) -> ElementTree.Element:
    return ElementTree.fromstring(
        rounds_chart(series, labels=labels, kept=kept, title="nll over rounds", unit="nats", name="chart")
    )


def of_class(root: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [element for element in root.iter() if kind in element.get("class", "").split()]


def series(name: str, *means: float) -> Series:
    style = {"test": 1, "more": 2}.get(name, 0)
    return Series(name=name, points=tuple((mean, mean - 0.1, mean + 0.1) for mean in means), style=style)


def test_a_split_looks_alike_where_the_other_is_missing() -> None:
    both, alone = (drawn([*some, series("test", 3.1, 2.2)], LABELS[:2]) for some in ([series("dev", 3.0, 2.0)], []))
    assert len(of_class(both, "series-1")) == len(of_class(alone, "series-1")) > 0
    assert not of_class(alone, "series-0")


def test_a_chart_says_in_words_what_it_shows() -> None:
    root = drawn([series("dev", 3.0, 2.0, 1.0)])
    assert root.get("role") == "img"
    assert root.findtext("title") == "nll over rounds"
    said = root.findtext("desc") or ""
    assert "round 0 2 [1.9, 2.1]" in said
    assert "Kept: round 0" in said


def test_a_chart_marks_every_round_the_base_and_the_kept_round() -> None:
    root = drawn([series("dev", 3.0, 2.0, 1.0), series("test", 3.1, 2.2, 1.2)])
    assert len(of_class(root, "mark")) == 6
    assert len(of_class(root, "base")) == 2
    assert len([element for element in of_class(root, "kept") if element.tag == "rect"]) == 1
    words = [element.text for element in root.iter("text")]
    assert {"nats", "base", "0", "1", "round", "kept", "dev", "test"} <= set(words)


def test_series_that_end_together_have_names_apart() -> None:
    root = drawn([series("dev", 3.0, 1.0), series("test", 3.0, 1.0), series("more", 3.0, 1.0)], LABELS[:2])
    heights = sorted(float(element.get("y", "0")) for element in of_class(root, "name"))
    assert all(later - earlier >= 12 for earlier, later in pairwise(heights))


def test_values_that_are_no_numbers_are_left_out() -> None:
    bad = (math.nan, math.nan, math.nan)
    root = drawn([Series(name="dev", points=((1.0, 0.9, 1.1), bad, (math.inf, 1.0, 1.0)))])
    assert len(of_class(root, "mark")) == 1
    assert len(of_class(drawn([Series(name="dev", points=(bad, None, None))]), "mark")) == 0


def test_many_rounds_do_not_crowd_the_axis() -> None:
    labels = ["base", *(f"round {number}" for number in range(60))]
    root = drawn([series("dev", *range(61))], labels)
    assert len(of_class(root, "middle")) <= 14


def test_a_name_cannot_leave_its_place() -> None:
    text = rounds_chart(
        [series("</svg><script>", 1.0)], labels=["<b>\x00"], kept=None, title="</title><script>", unit="&", name="chart"
    )
    assert "<script>" not in text
    assert ElementTree.fromstring(text).findtext("title") == "</title><script>"


@given(st.lists(st.tuples(finite, finite, finite), min_size=1, max_size=30))
def test_everything_is_drawn_inside_the_picture(points: list[tuple[float, float, float]]) -> None:
    labels = [f"round {number}" for number in range(len(points))]
    root = drawn([Series(name="dev", points=tuple(points))], labels, 0)
    for element in root.iter():
        for name in ("x", "x1", "x2", "cx"):
            assert 0 <= float(element.get(name, "0")) <= WIDTH
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= float(element.get(name, "0")) <= HEIGHT


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_ticks_are_few_and_within_the_axis(low: float, span: float) -> None:
    high = low + span
    if high - low < 1e-9 * max(1.0, abs(low)):
        return
    found = ticks(low, high)
    assert len(found) <= 6
    assert all(low - 1e-6 * span <= tick <= high + 1e-6 * span for tick in found)


def test_ticks_carry_no_more_digits_than_they_need() -> None:
    assert [tick_text(tick, 0.5) for tick in (0.0, 0.5, 1.0)] == ["0.0", "0.5", "1.0"]
    assert tick_text(20.0, 20.0) == "20"
    assert tick_text(-2000.0, 1000.0) == "−2,000"
    assert tick_text(0.3, 0.1) == "0.3"


@pytest.mark.parametrize("losses", [[], [0.7], [0.7, math.nan, 0.1], [5.0] * 10, [1 / (n + 1) for n in range(5000)]])
def test_a_loss_curve_is_drawn_however_long_the_training_was(losses: list[float]) -> None:
    text = loss_chart(losses, first_step=1, title="Training loss", name="loss")
    root = ElementTree.fromstring(text)
    assert len(text) < 12_000
    (path,) = of_class(root, "line")
    assert len((path.get("points") or "").split()) <= 241
