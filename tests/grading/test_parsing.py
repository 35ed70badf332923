"""What a reply is read as: never a number by accident."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfalign.grading import parsing
from selfalign.grading.parsing import CUT, EMPTY, NO_LINE, NO_NUMBER, OTHER_TOP, OUTSIDE, TWO_SCORES, read_grade
from selfalign.grading.rubrics import BACKTRANSLATION, HELPFUL_10

READ = [
    ("Score: 4", 4),
    ("It is clear and complete.\nScore: 5", 5),
    ("reasons\n\nscore:3\n", 3),
    ("reasons\nSCORE : 2", 2),
    ("reasons\n**Score:** 4", 4),
    ("reasons\n**Score: 4**", 4),
    ("reasons\n**Score**: 4", 4),
    ("### Score: `4`", 4),
    ("- Score: 4", 4),
    ("| Score: 4 |", 4),
    ("Final score: 4.", 4),
    ("Overall Score: 4", 4),
    ("Score：4", 4),
    ("Score: <4>", 4),
    ('Score: "4"', 4),
    ("Score: [4/5]", 4),
    ("Score: 4/5", 4),
    ("Score: 4 / 5.", 4),
    ("Score: 4 out of 5", 4),
    ("Score: 4 out of 5 stars", 4),
    ("Score: 4.0/5.0", 4),
    ("Score: 4 points", 4),
    ("Score: 4.5", 4.5),
    ("Score: 4,5", 4.5),
    ("Score: 4.333", 4.333),
    ("Score: 04", 4),
    ("Score: ٤", 4),
    ("Score: ٤٫٥", 4.5),
    ("Score: ４", 4),
    ("Score: ४", 4),
    # a remark set off by a mark, without a number in it
    ("Score: 4. It answers directly.", 4),
    ("Score: 4 (clear, complete)", 4),
    ("Score: 4 - clear", 4),
    ("Score: **4** – clear", 4),
    # before the reasoning, as long as no other number is given
    ("Score: 4\nIt answers directly and is complete.", 4),
    ("Score: 4\nreasons\nScore: 4", 4),
    ("Score: <rating>\nreasons\nScore: 4", 4),
    ("I first thought of Score: 2.\nScore: 4", 4),
]
UNREAD = [
    ("", EMPTY),
    (" \n\t\n", EMPTY),
    ("It is a good answer.", NO_LINE),
    ("4", NO_LINE),
    ("I would say Score: 4", NO_LINE),
    ("Score 4", NO_LINE),
    ("Relevance score: 4", NO_LINE),
    ("Underscore: 4", NO_LINE),
    ("Scores: 4", NO_LINE),
    ("Score: 10", OUTSIDE),
    ("Score: 0", OUTSIDE),
    ("Score: 5.01", OUTSIDE),
    ("Score: -4", OUTSIDE),
    ("Score: −4", OUTSIDE),
    ("Score: 44", OUTSIDE),
    ("Score: 10502", OUTSIDE),
    ("Score: 100000000000000000000000000000000", OUTSIDE),
    ("Score: 4/10", OTHER_TOP),
    ("Score: 8 out of 10", OTHER_TOP),
    ("Score: 4/5.5", OTHER_TOP),
    ("Score:", NO_NUMBER),
    ("Score: five", NO_NUMBER),
    ("Score: NaN", NO_NUMBER),
    ("Score: inf", NO_NUMBER),
    ("Score: -inf", NO_NUMBER),
    ("Score: 3-4", NO_NUMBER),
    ("Score: 3 – 4", NO_NUMBER),
    ("Score: 3 to 4", NO_NUMBER),
    ("Score: 3 or 4", NO_NUMBER),
    ("Score: 4, or 5", NO_NUMBER),
    ("Score: 4, or Ⅴ", NO_NUMBER),
    ("Score: 4/5/10", NO_NUMBER),
    ("Score: 4½", NO_NUMBER),
    ("Score: 4²", NO_NUMBER),
    ("Score: 4e1", NO_NUMBER),
    ("Score: 4%", NO_NUMBER),
    ("Score: 4 and a half", NO_NUMBER),
    ("Score: 4.5.2", NO_NUMBER),
    ("Score: 1,000", NO_NUMBER),
    ("Score: +4", NO_NUMBER),
    ("Score: ④", NO_NUMBER),
    ("Score: about 4", NO_NUMBER),
    ("Score: 4\nreasons\nScore: five", NO_NUMBER),
    # quoted, taken back, or of another scale
    ("The text claims:\n> Score: 5\nI do not believe that.", NO_LINE),
    ("Score: 4 (out of ten)", NO_NUMBER),
    ("Score: 4, out of the possible points", NO_NUMBER),
    ("Score: 4 (on another scale)", NO_NUMBER),
    ("Score: 4 - five", NO_NUMBER),
    ("Score: 4, or rather three", NO_NUMBER),
    ("Score: 4; minus a lot for style", NO_NUMBER),
    ("Score: 4\nout of 10", NO_NUMBER),
    ("Score: 4\n/10", NO_NUMBER),
    ("Score: 4\n\n.5", NO_NUMBER),
    ("Score: 4\u20285", NO_NUMBER),
    ("Score: 4\x1c.5", NO_NUMBER),
    ("Score: " + "4" * 1000, NO_NUMBER),
    ("Score: 4\nreasons\nScore: 3", TWO_SCORES),
    ("Score: 10\nreasons\nScore: 4", TWO_SCORES),
    ("Score: 4\nScore: 10", TWO_SCORES),
]


@pytest.mark.parametrize(("reply", "value"), READ)
def test_a_score_is_read(reply: str, value: float) -> None:
    reading = read_grade(reply, BACKTRANSLATION)
    assert (reading.value, reading.why_unread) == (value, "")


@pytest.mark.parametrize(("reply", "why"), UNREAD)
def test_what_is_no_score_of_the_scale_has_no_number_and_a_reason(reply: str, why: str) -> None:
    reading = read_grade(reply, BACKTRANSLATION)
    assert (reading.value, reading.why_unread) == (None, why)


def test_the_scale_decides() -> None:
    assert read_grade("Score: 10", HELPFUL_10).value == 10
    assert read_grade("Score: 10/10", HELPFUL_10).value == 10
    assert read_grade("Score: 4/5", HELPFUL_10).why_unread == OTHER_TOP
    assert read_grade("Score: 0", replace(BACKTRANSLATION, lowest=0, criteria=("x",) * 6,
                                          answer_format="Score: from 0 to 5")).value == 0  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "value", "why"),
    [
        ("", None, CUT),
        ("It is a goo", None, CUT),
        ("reasons\nScore:", None, CUT),
        ("reasons\nScore: 4", None, CUT),  # 4 may have been going to be 4.5
        ("reasons\nScore: 4\n", 4, ""),
        ("Score: 4\nreasons that go on and", None, CUT),  # which may be taken back, and may have been quoted
        ("<think>The user wrote\nScore: 5\nbut I should not belie", None, CUT),
    ],
)
def test_a_reply_that_was_cut(reply: str, value: float | None, why: str) -> None:
    reading = read_grade(reply, BACKTRANSLATION, finished=False)
    assert (reading.value, reading.why_unread) == (value, why)


@pytest.mark.parametrize(
    "reply",
    [
        "Score: " + " " * 1_000_000, " " * 1_000_000 + "score", "score" + "*" * 1_000_000,
        "Score: 4 " + "-" * 1_000_000,
        "Score: 4" + ". word" * 170_000, "Score: 4\n" * 100_000, "final " * 170_000, "Score: " + "4." * 500_000,
        "Score: " + "<" * 1_000_000, "Score: 4 out" + " " * 1_000_000 + "5", "final" + " " * 1_000_000 + "x",
        "Score: 4" + " " * 1_000_000 + "x", ">#*_" * 250_000,
    ],
)  # fmt: skip
def test_a_megabyte_is_read_at_once(reply: str) -> None:
    started = time.perf_counter()
    read_grade(reply, BACKTRANSLATION)
    assert time.perf_counter() - started < 2


PIECES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["Score:", "score :", "**", "4", "5", "10", ".", ",", "/5", " out of ", "-", "\n", "½", "٤", "nan"]
    ),
)


@given(st.lists(PIECES, max_size=12).map("".join), st.booleans())
def test_no_reply_raises_or_leaves_the_scale(reply: str, finished: bool) -> None:
    for rubric in (BACKTRANSLATION, HELPFUL_10):
        reading = read_grade(reply, rubric, finished=finished)
        assert reading.why_unread in parsing.WHYS
        assert (reading.value is None) == bool(reading.why_unread)
        assert reading.value is None or rubric.lowest <= reading.value <= rubric.highest


def test_the_reasons_are_the_reply_without_its_scores() -> None:
    assert parsing.reasoning_of("Score: 3\nclear\n\n**Score:** 4\n") == "clear"
    assert parsing.reasoning_of("Score: 4") == ""
