"""Every verifier with answers that follow, that do not, and that only seem to; and no answer can break one."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfalign.errors import RecipeError
from selfalign.measures.verifiers import KINDS, check_faults, loose_variants, sentences, verified, verified_loosely

Case = tuple[str, dict[str, Any], str, bool]


def case(kind: str, answer: str, follows: bool, **parameters: Any) -> Case:
    return kind, parameters, answer, follows


CASES: list[Case] = [
    case("words_at_most", "one two three", True, count=3),
    case("words_at_most", "one two three four", False, count=3),
    case("words_at_most", "- one – two ... three", True, count=3),
    case("words_at_least", "it's well-known", True, count=2),
    case("words_at_least", "one - - -", False, count=2),
    case("sentences_exactly", "One. Two! Three?", True, count=3),
    case("sentences_exactly", "One. Two", True, count=2),
    case("sentences_exactly", "Dr. Smith paid 3.5 dollars, e.g. for tea.", True, count=1),
    case("sentences_exactly", "Tea, milk, etc. are cheap. Buy tea, etc. Then go.", True, count=3),
    case("sentences_exactly", 'He said "Go." Then he left.', True, count=2),
    case("sentences_exactly", "The answer is no. Why?! Because...", True, count=3),
    case("sentences_exactly", "Wait... what?", True, count=1),
    case("sentences_exactly", "hello there. how are you.", True, count=2),
    case("sentences_exactly", "1. First do this.\n2. Then do that.", True, count=2),
    case("sentences_exactly", "One.\nTwo.", False, count=1),
    case("sentences_exactly", "... !!! ???", True, count=0),
    case("lines_exactly", "a\n\nb\r\nc\n", True, count=3),
    case("lines_exactly", "a b", False, count=2),
    case("lines_exactly", "a\u2028b", True, count=1),
    case("paragraphs_exactly", "a\nb\n\n \n\nc", True, count=2),
    case("paragraphs_exactly", "a\nb", False, count=2),
    case("bullets_exactly", "Here:\n- a\n* b\n  + c\n• d", True, count=4),
    case("bullets_exactly", "-a\n---\n**b**\n1. c", True, count=0),
    case("bullets_exactly", "- a - b", False, count=2),
    case("contains_all", "The MOON rose over the boat.", True, words=["moon", "Boat"]),
    case("contains_all", "The moonlight rose over the boat.", False, words=["moon", "boat"]),
    case("contains_all", "We had ice\n  cream!", True, words=["ice cream"]),
    case("contains_all", "C++ is old.", True, words=["c++"]),
    case("contains_none", "a hotel", True, words=["hot", "lava"]),
    case("contains_none", "very HOT.", False, words=["hot", "lava"]),
    case("contains_none", "snake_hot_case", True, words=["hot"]),
    case("word_times_at_least", "wind, Wind and WIND", True, word="wind", count=3),
    case("word_times_at_least", "wind winds windy", False, word="wind", count=2),
    case("word_times_at_least", "no no no", True, word="no no", count=1),
    case("all_lowercase", "all of it, 3 times.", True),
    case("all_lowercase", "all of It", False),
    case("all_lowercase", "123", False),
    case("all_uppercase", "ALL OF IT!", True),
    case("all_uppercase", "ALL oF IT", False),
    case("no_commas", "one two", True),
    case("no_commas", "one, two", False),
    case("starts_with", "\n Dear Sam and all", True, text="Dear Sam"),
    case("starts_with", "dear Sam", False, text="Dear Sam"),
    case("ends_with", "Go on. Good luck!\n", True, text="Good luck!"),
    case("ends_with", "Good luck! Bye", False, text="Good luck!"),
    case("wrapped_in_quotes", ' "Land!" ', True),
    case("wrapped_in_quotes", "“Land!”", True),
    case("wrapped_in_quotes", '"Land!" he said', False),
    case("wrapped_in_quotes", '""', False),
    case("wrapped_in_quotes", '"', False),
    case("valid_json", '{"city": "Madrid", "country": null, "x": 1}', True, keys=["city", "country"]),
    case("valid_json", '```json\n{"city": 1}\n```', True, keys=["city"]),
    case("valid_json", '{"city": 1}', False, keys=["City"]),
    case("valid_json", '["city"]', False, keys=["city"]),
    case("valid_json", '{"city": NaN}', False, keys=["city"]),
    case("valid_json", 'Sure: {"city": 1}', False, keys=["city"]),
    case("valid_json", "{}", True, keys=[]),
    case("valid_json", '{"a":' * 100_000, False, keys=["a"]),
    case("valid_json", '{"a": ' + "9" * 10_000 + "}", False, keys=["a"]),
    case("valid_json", "``````", False, keys=[]),
    case("valid_json", "```", False, keys=[]),
]


@pytest.mark.parametrize(("kind", "parameters", "answer", "follows"), CASES, ids=[item[0] for item in CASES])
def test_cases(kind: str, parameters: dict[str, Any], answer: str, follows: bool) -> None:
    assert verified(answer, [{"kind": kind, **parameters}]) == [follows]


def test_every_kind_has_a_case_on_both_sides() -> None:
    assert {(kind, follows) for kind, _, _, follows in CASES} == {
        (kind, side) for kind in KINDS for side in (True, False)
    }


def test_verdicts_come_in_the_order_of_the_checks() -> None:
    checks: list[dict[str, Any]] = [
        {"kind": "no_commas"},
        {"kind": "words_at_most", "count": 1},
        {"kind": "all_lowercase"},
    ]
    assert verified("one two", checks) == [True, False, True]
    assert verified("one two", []) == verified_loosely("one two", []) == []


@pytest.mark.parametrize("answer", ["", " \n\t"])
def test_an_empty_answer_follows_nothing(answer: str) -> None:
    checks: list[dict[str, Any]] = [
        {"kind": "no_commas"},
        {"kind": "contains_none", "words": ["x"]},
        {"kind": "words_at_most", "count": 9},
    ]
    assert verified(answer, checks) == verified_loosely(answer, checks) == [False, False, False]


@pytest.mark.parametrize(
    ("answer", "check"),
    [
        ("Sure, here it is:\nDear Sam", {"kind": "starts_with", "text": "Dear Sam"}),
        ("**Dear Sam** hello", {"kind": "starts_with", "text": "Dear Sam"}),
        ("Good luck!\nAnything else?", {"kind": "ends_with", "text": "Good luck!"}),
        ('Sure:\n{"a": 1}\nDone.', {"kind": "valid_json", "keys": ["a"]}),
    ],
)
def test_the_loose_reading_forgives_a_frame_and_asterisks(answer: str, check: dict[str, Any]) -> None:
    assert (verified(answer, [check]), verified_loosely(answer, [check])) == ([False], [True])


def test_the_loose_reading_tries_eight_variants() -> None:
    assert loose_variants("*a*\nb\nc") == ["*a*\nb\nc", "a\nb\nc", "b\nc", "b\nc", "*a*\nb", "a\nb", "b", "b"]


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ({"kind": "words_at_mots", "count": 3}, "unknown kind 'words_at_mots': did you mean 'words_at_most'?"),
        ({"kind": "zzz"}, "unknown kind 'zzz': known are words_at_most, words_at_least"),
        ({"count": 3}, 'must be an object with a "kind"'),
        ("no_commas", 'must be an object with a "kind"'),
        ({"kind": "words_at_most"}, "words_at_most lacks 'count': it takes count"),
        ({"kind": "no_commas", "count": 3}, "no_commas has no parameter 'count': it takes none"),
        ({"kind": "words_at_most", "count": "3"}, "'count' must be a whole number of at least 0, not '3'"),
        ({"kind": "words_at_most", "count": True}, "'count' must be a whole number of at least 0, not True"),
        ({"kind": "words_at_most", "count": -1}, "'count' must be a whole number of at least 0, not -1"),
        ({"kind": "contains_all", "words": []}, "'words' must be a list of at least one text, not []"),
        ({"kind": "contains_all", "words": "moon"}, "'words' must be a list of at least one text, not 'moon'"),
        ({"kind": "starts_with", "text": " "}, "'text' must be a text that is not blank, not ' '"),
        ({"kind": "valid_json", "keys": [1]}, "'keys' must be a list of texts, not [1]"),
    ],
)
def test_a_malformed_check_is_named_with_its_fault(check: Any, fault: str) -> None:
    assert len(check_faults([{"kind": "no_commas"}, check])) == 1
    for verify in (verified, verified_loosely):
        with pytest.raises(RecipeError) as caught:
            verify("x", [{"kind": "no_commas"}, check])
        assert str(caught.value).startswith("check 2: ")
        assert fault in str(caught.value)


PARAMETERS: dict[str, Any] = {"count": 2, "text": "a.", "word": "a", "words": ["a", "b c"], "keys": ["a"]}
ALL_CHECKS = [{"kind": name, **{key: PARAMETERS[key] for key in kind.parameters}} for name, kind in KINDS.items()]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text() | st.text(alphabet="aA .!?,\n\r\t*-+\"“”{}[]:1`_'()i") | st.text(alphabet='{["a:1}],\n'))
def test_every_verifier_judges_every_text(answer: str) -> None:
    strict, loose = verified(answer, ALL_CHECKS), verified_loosely(answer, ALL_CHECKS)
    assert len(strict) == len(loose) == len(ALL_CHECKS)
    assert all(type(verdict) is bool for verdict in strict + loose)
    assert all(loosely for strictly, loosely in zip(strict, loose, strict=True) if strictly)


@pytest.mark.parametrize(
    "part", ["a", " ", ". ", "\n", "- ", "[", '{"a":', "a.", "*", "```", "'\".)", "\u2028", "\ud800", "İ"]
)
def test_a_huge_answer_takes_linear_time(part: str) -> None:
    answer, began = part * (400_000 // len(part)), time.process_time()
    verified(answer, ALL_CHECKS)
    assert time.process_time() - began < 10.0


@given(st.integers(0, 6), st.sampled_from([".", "!", "?", '."', ".)"]))
def test_sentences_are_counted(count: int, end: str) -> None:
    assert sentences(" ".join(["The cat sat" + end] * count)) == count
