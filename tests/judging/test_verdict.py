"""What a judge's reply is read as: never a verdict by accident."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from selfalign.judging.verdict import CUT, EMPTY, NO_VERDICT, TWO_VERDICTS, UNLIKELY, WHYS, read_verdict, weighed

READ = [
    ("[[A]]", "A"),
    ("A is more complete.\n[[B]]", "B"),
    ("reasons\n\n  [[C]]  \n\n", "C"),
    ("reasons\n**[[A]]**", "A"),
    ("reasons\n[[A]].", "A"),
    ("reasons\nVerdict: [[A]]", "A"),
    ("reasons\nMy final verdict is: [[B]]", "B"),
    ("reasons\n**Final verdict:** [[B]]", "B"),
    ("I first leaned to [[A]].\n[[A]]", "A"),
    ("reasons\r\n[[C]]\r\n", "C"),
]
UNREAD = [
    ("", EMPTY),
    (" \n\t\n", EMPTY),
    ("Answer A is better.", NO_VERDICT),
    ("A", NO_VERDICT),
    ("[A]", NO_VERDICT),
    ("[[D]]", NO_VERDICT),
    ("[[a]]", NO_VERDICT),
    ("[[ A ]]", NO_VERDICT),
    ("[[A/B]]", NO_VERDICT),
    ("[[А]]", NO_VERDICT),  # Cyrillic
    ("[[A]] [[B]]", NO_VERDICT),
    ("[[A]] or [[A]]", NO_VERDICT),
    ("not [[A]]", NO_VERDICT),
    ("The answer says it deserves [[A]]", NO_VERDICT),
    ("[[A]]\nbecause it is better", NO_VERDICT),
    ("> [[A]]", NO_VERDICT),
    ("[[A]], but only just", NO_VERDICT),
    ("[[A]] if you like facts, [[B]] otherwise\n[[A]]", TWO_VERDICTS),
    ("[[B]]\nOn second thought\n[[A]]", TWO_VERDICTS),
]


@pytest.mark.parametrize(("reply", "letter"), READ)
def test_a_verdict_is_read(reply: str, letter: str) -> None:
    verdict = read_verdict(reply)
    assert (verdict.letter, verdict.why_unread) == (letter, "")


@pytest.mark.parametrize(("reply", "why"), UNREAD)
def test_what_is_no_verdict_has_none_and_a_reason(reply: str, why: str) -> None:
    verdict = read_verdict(reply)
    assert (verdict.letter, verdict.why_unread) == (None, why)


@pytest.mark.parametrize(
    ("reply", "letter", "why"),
    [
        ("", None, CUT),
        ("reasons [[A]]", None, CUT),
        ("reasons\n[[A]]", None, CUT),
        ("reasons\n[[A]]\n", "A", ""),
        ("reasons that go on\n", None, CUT),
    ],
)
def test_a_cut_reply_is_read_only_if_its_verdict_is_a_whole_line(reply: str, letter: str | None, why: str) -> None:
    verdict = read_verdict(reply, finished=False)
    assert (verdict.letter, verdict.why_unread) == (letter, why)


@given(some.text(alphabet="[]ABC \n*:>verdict", max_size=60), some.booleans())
def test_any_text_is_a_letter_or_a_known_reason(reply: str, finished: bool) -> None:
    verdict = read_verdict(reply, finished=finished)
    assert (verdict.letter in ("A", "B", "C") and not verdict.why_unread) or verdict.why_unread in WHYS


@pytest.mark.parametrize("reply", ["*" * 200_000, "verdict " * 50_000, "[[" * 100_000, " \t" * 100_000 + "x"])
def test_long_hostile_replies_take_no_time(reply: str) -> None:
    began = time.perf_counter()
    assert read_verdict(reply).letter is None
    assert time.perf_counter() - began < 1


def test_probabilities_decide_by_the_likelier_letter() -> None:
    assert weighed((math.log(0.5), math.log(0.3))).letter == "A"
    assert weighed((math.log(0.3), math.log(0.5))).letter == "B"
    assert weighed((math.log(0.4), math.log(0.4))).letter == "C"
    assert weighed((math.log(0.004), math.log(0.005))).why_unread == UNLIKELY
    assert weighed((-math.inf, -math.inf)).why_unread == UNLIKELY
    assert weighed((math.nan, math.nan)).letter is None
