"""Signs of collapse, against their definitions."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.measures.health import (
    answer_words,
    distinct_n,
    distinct_parts,
    near_duplicates,
    repetition,
    shingles,
)


def test_the_length_of_an_answer_counts_words() -> None:
    assert [answer_words(text) for text in ("", " a  b\nc ")] == [0, 3]


def test_the_mean_of_distinct_parts_is_distinct_n() -> None:
    texts = ["a b a b", "a b", "c", ""]
    for n in (1, 2):
        parts = [part for part in distinct_parts(texts, n) if part is not None]
        assert sum(parts) / len(texts) == pytest.approx(distinct_n(texts, n))
    assert distinct_parts(["a", "b"], 2) == [None, None]


def test_answers_that_repeat_nothing_have_one_value_whatever_their_lengths() -> None:
    assert distinct_parts(["a b c d e f", "g h", "i"], 1) == pytest.approx([1.0, 1.0, 1.0])


def test_distinct_n_by_hand() -> None:
    assert distinct_n(["a b a b", "a b"], 1) == 2 / 6
    assert distinct_n(["a b a b", "a b"], 2) == 2 / 4
    assert distinct_n(["a", ""], 2) is None


def test_repetition_by_hand() -> None:
    assert repetition("a b a b a") == 0.5
    assert repetition("a a a a", 1) == 0.75
    assert repetition("all words differ here") == repetition("") == repetition("a") == 0.0


@pytest.mark.parametrize(
    ("texts", "threshold", "expected"),
    [
        ([], 0.5, []),
        (["a b c d", "x y z", "A, b; c. D!"], 1.0, [False, False, True]),
        (["a b c d e", "a b c d e f"], 0.75, [False, True]),
        (["a b c d e", "a b c d e f"], 0.76, [False, False]),
        (["yes", "no", "Yes."], 0.5, [False, False, True]),
        (["", "!?", "a"], 0.5, [False, True, False]),
    ],
)
def test_near_duplicates_by_hand(texts: list[str], threshold: float, expected: list[bool]) -> None:
    assert near_duplicates(texts, threshold) == expected


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be in"):
        near_duplicates(["a"], threshold)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join), max_size=12),
    st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0]),
)
def test_the_index_finds_what_comparing_all_finds(texts: list[str], threshold: float) -> None:
    sets = [shingles(text) for text in texts]

    def alike(one: frozenset[tuple[str, ...]], other: frozenset[tuple[str, ...]]) -> bool:
        return len(one & other) / len(one | other) >= threshold - 1e-9

    expected = [any(alike(sets[j], sets[i]) for j in range(i)) for i in range(len(sets))]
    assert near_duplicates(texts, threshold) == expected


def test_five_thousand_texts_take_seconds() -> None:
    dice = random.Random(0)
    vocabulary = [f"w{number}" for number in range(800)]
    seeds = [dice.choices(vocabulary, k=100) for _ in range(50)]
    texts = [
        " ".join(word if dice.random() > 0.03 else dice.choice(vocabulary) for word in dice.choice(seeds))
        for _ in range(5000)
    ]
    began = time.process_time()
    first = near_duplicates(texts, 0.7)
    assert time.process_time() - began < 30.0
    assert first == near_duplicates(texts, 0.7)
    assert sum(near_duplicates(["the same words again"] * 5000, 0.7)) == 4999
