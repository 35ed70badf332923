"""Whether an instruction is new, against comparing it with every one before."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.measures.novelty import Novelty, Twin, rouge_l, tokens

THRESHOLDS = [0.01, 0.3, 0.5, 2 / 3, 0.7, 0.75, 0.8, 0.95]


def nearest(known: Sequence[tuple[str, str]], text: str, threshold: float) -> Twin | None:
    """What comparing a text with every known one finds: the highest overlap, the earliest of equals."""
    best = Twin("", threshold)
    for row_id, other in known:
        overlap = rouge_l(text, other)
        if overlap > best.overlap:
            best = Twin(row_id, overlap)
    return best if best.row_id else None


def assert_same_as_the_plain_loop(texts: Sequence[str], threshold: float, *, only_new: bool = False) -> int:
    """Ask about each text, then keep it; how many twins there were."""
    novelty = Novelty(threshold)
    known: list[tuple[str, str]] = []
    twins = 0
    for place, text in enumerate(texts):
        expected = nearest(known, text, threshold)
        assert novelty.twin(text) == expected
        twins += expected is not None
        if expected is None or not only_new:
            novelty.keep(f"row{place}", text)
            known.append((f"row{place}", text))
        assert len(novelty) == len(known)
    return twins


def edited(dice: random.Random, said: list[str], edits: int) -> list[str]:
    """Some words replaced, left out or put in."""
    said = list(said)
    for _ in range(edits):
        place = dice.randrange(len(said))
        said[place : place + dice.randrange(2)] = [f"w{dice.randrange(300)}"] * dice.randrange(2) or said[-1:]
    return said


# ------------------------------------------------------------------------------------------ the measure


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("a b c d", "a b c d", 1.0),
        ("a b c d", "d c b a", 0.25),
        ("a b c d", "x a y b", 0.5),
        ("a a a", "a", 0.5),
        ("Write a POEM!", "write... a poem", 1.0),
        ("a b", "c d", 0.0),
        ("a", "", 0.0),
        ("", "", 1.0),
        ("?!", " ?!\n", 1.0),
        ("?!", "!?", 0.0),
        ("?!", "", 0.0),
    ],
)
def test_overlap_by_hand(one: str, other: str, expected: float) -> None:
    assert rouge_l(one, other) == rouge_l(other, one) == expected


@given(st.text(st.characters(max_codepoint=127)))
def test_words_of_ascii_are_those_of_the_published_rule(text: str) -> None:
    assert tokens(text) == re.findall("[a-z0-9]+", text.lower())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Straße, naïve CAFÉ", ["strasse", "naïve", "café"]),
        ("写一首诗。", ["写", "一", "首", "诗"]),
        ("Write 一首 poem", ["write", "一", "首", "poem"]),
        ("Привет, мир 42", ["привет", "мир", "42"]),
        ("🙂 – …", []),
    ],
)
def test_words_of_other_scripts(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


# ------------------------------------------------------------------------------------------ the index by hand


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be in"):
        Novelty(threshold)


def test_everything_is_new_to_an_empty_index() -> None:
    novelty = Novelty()
    assert len(novelty) == 0
    assert novelty.twin("a b c") is novelty.twin("") is None


@pytest.mark.parametrize("length", range(10, 201, 10))
def test_an_overlap_of_exactly_seven_tenths_is_new_and_one_word_more_is_not(length: int) -> None:
    said = [f"w{place}" for place in range(length)]
    others = [f"x{place}" for place in range(length)]
    shared = length * 7 // 10
    novelty = Novelty(0.7)
    novelty.keep("known", " ".join(said))
    at = " ".join(said[:shared] + others[shared:])
    above = " ".join(said[: shared + 1] + others[shared + 1 :])
    assert rouge_l(at, " ".join(said)) == 0.7
    assert novelty.twin(at) is None
    assert novelty.twin(above) == Twin("known", (shared + 1) / length)


def test_the_same_words_in_another_order_are_new() -> None:
    novelty = Novelty()
    novelty.keep("known", "the dog of the man bit the cat of the woman")
    assert novelty.twin("woman the of cat the bit man the of dog the") is None


def test_the_nearest_is_named_and_the_earliest_of_equals() -> None:
    novelty = Novelty(0.5)
    for row_id, text in [
        ("far", "a b c x y z"),
        ("near", "a b c d e x"),
        ("nearest", "a b c d e"),
        ("again", "a b c d e"),
    ]:
        novelty.keep(row_id, text)
    assert novelty.twin("A, b, c, d, e!") == Twin("nearest", 1.0)
    assert novelty.twin("a b c d e y") == Twin("nearest", 10 / 11)
    assert novelty.twin("a b c d x q") == Twin("near", 10 / 12)
    equals = Novelty(0.5)
    for row_id, text in [("late in the alphabet", "a b c x"), ("early", "a b c y")]:
        equals.keep(row_id, text)
    assert equals.twin("a b c z") == Twin("late in the alphabet", 0.75)


def test_the_earliest_of_equals_is_named_though_thousands_of_later_ones_looked_likelier() -> None:
    dice = random.Random(0)
    text = "a b c d e f g h i j k l"
    novelty = Novelty(0.5)
    # Both share eight words in order, but the later one holds the other four in a wrong order.
    novelty.keep("earlier", "a b c d e f g h w x y z")
    novelty.keep("later", "l k j i a b c d e f g h")
    while len(novelty) < 3000:
        other = " ".join(dice.sample(text.split(), 12))
        if rouge_l(text, other) < 8 / 12:
            novelty.keep("far", other)
    assert novelty.twin(text) == Twin("earlier", 8 / 12)


def test_texts_without_words_repeat_only_the_same_signs() -> None:
    novelty = Novelty()
    for row_id, text in [("blank", " \n"), ("signs", "?!"), ("smile", "🙂")]:
        assert novelty.twin(text) is None
        novelty.keep(row_id, text)
    assert novelty.twin("") == Twin("blank", 1.0)
    assert novelty.twin(" ?! ") == Twin("signs", 1.0)
    assert novelty.twin("🙂") == Twin("smile", 1.0)
    assert novelty.twin("!?") is novelty.twin("a ?!") is None


def test_chinese_instructions_are_told_apart() -> None:
    novelty = Novelty()
    novelty.keep("poem", "写一首关于春天的诗")
    assert novelty.twin("解释什么是量子力学") is None
    assert novelty.twin("写一首关于秋天的诗") == Twin("poem", 16 / 18)


# ------------------------------------------------------------------------------------------ beside the plain loop


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from("abcde"), max_size=14).map(" ".join), max_size=14),
    st.sampled_from(THRESHOLDS),
    st.booleans(),
)
def test_the_index_decides_as_the_plain_loop(texts: list[str], threshold: float, only_new: bool) -> None:
    assert_same_as_the_plain_loop(texts, threshold, only_new=only_new)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text("ab1 ßé写诗ก?\n\u0301\u200b\ud800", max_size=12), max_size=10), st.sampled_from(THRESHOLDS))
def test_the_index_decides_as_the_plain_loop_on_any_signs(texts: list[str], threshold: float) -> None:
    assert_same_as_the_plain_loop(texts, threshold)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("vocabulary", [3, 40, 1000])
def test_long_and_short_texts_together(threshold: float, vocabulary: int) -> None:
    dice = random.Random(vocabulary)
    texts = []
    for length in (1, 2, 30, 31, 32, 33, 62, 63, 64, 65, 100, 127, 128, 129):
        said = [f"w{dice.randrange(vocabulary)}" for _ in range(length)]
        edits = [edited(dice, said, round(share * length)) for share in (0.1, 0.3, 0.5)]
        texts += [" ".join(one) for one in (said, *edits)]
    dice.shuffle(texts)
    assert 5 < assert_same_as_the_plain_loop(texts, threshold) < len(texts)


def test_texts_of_more_than_a_thousand_words() -> None:
    dice = random.Random(0)
    said = [f"w{dice.randrange(200)}" for _ in range(1100)]
    texts = [" ".join(edited(dice, said, edits)) for edits in (0, 150, 450, 700)]
    assert 1 <= assert_same_as_the_plain_loop(texts, 0.7) <= 2


def test_more_candidates_than_are_compared_at_once() -> None:
    dice = random.Random(0)
    letters = "abcdefghijklmn"
    known = [(f"row{place}", " ".join(dice.sample(letters, 12))) for place in range(4000)]
    novelty = Novelty(0.5)
    for row in known:
        novelty.keep(*row)
    for _ in range(6):
        text = " ".join(dice.sample(letters, 12))
        assert novelty.twin(text) == nearest(known, text, 0.5)


# ------------------------------------------------------------------------------------------ a run of many rounds


def grown(texts: Sequence[str]) -> tuple[Novelty, list[Twin | None]]:
    """An index that keeps what is new to it, and what it said of each text."""
    novelty, said = Novelty(), []
    for place, text in enumerate(texts):
        said.append(novelty.twin(text))
        if said[-1] is None:
            novelty.keep(f"row{place}", text)
    return novelty, said


def instructions(count: int, seed: int) -> list[str]:
    """Random instructions of common and rare words, a third of them edits of others."""
    dice = random.Random(seed)
    common, rare = [f"c{place}" for place in range(20)], [f"r{place}" for place in range(3000)]
    texts: list[str] = []
    for _ in range(count):
        said = [dice.choice(common if dice.random() < 0.5 else rare) for _ in range(dice.randint(10, 40))]
        if texts and dice.random() < 0.33:
            said = edited(dice, dice.choice(texts).split(), dice.randint(1, 8))
        texts.append(" ".join(said))
    return texts


def test_an_index_asked_all_along_knows_what_one_filled_at_once_knows() -> None:
    texts = instructions(800, seed=1)
    asked, verdicts = grown(texts)
    assert verdicts == grown(texts)[1]
    filled = Novelty()
    for place, text in enumerate(texts):
        if verdicts[place] is None:
            filled.keep(f"row{place}", text)
    assert len(filled) == len(asked) < len(texts)
    for text in instructions(300, seed=2) + texts[::5]:
        assert filled.twin(text) == asked.twin(text)


def test_what_the_first_round_accepted_is_refused_thousands_of_rows_later() -> None:
    novelty = Novelty()
    first = {f"first{place}": text for place, text in enumerate(instructions(40, seed=3))}
    for row_id, text in first.items():
        novelty.keep(row_id, text)
    for seed in (4, 5, 6):
        for place, text in enumerate(instructions(2000, seed=seed)):
            novelty.keep(f"round{seed}-{place}", text)
    for row_id, text in first.items():
        assert novelty.twin(f"Please {text}.") == Twin(row_id, rouge_l(f"please {text}", text))
    assert len(novelty) == 6040


@pytest.mark.parametrize("kind", ["identical", "same common words", "same words in another order"])
def test_the_worst_corpora_take_milliseconds_a_question(kind: str) -> None:
    dice = random.Random(0)
    common, rare = [f"c{place}" for place in range(15)], [f"r{place}" for place in range(9000)]
    novelty = Novelty()

    def text() -> str:
        if kind == "identical":
            return " ".join(common)
        if kind == "same common words":
            return " ".join(common + dice.sample(rare, 10))
        return " ".join(dice.sample(common + rare[:10], 25))

    for place in range(10_000):
        novelty.keep(str(place), text())
    began = time.process_time()
    twins = [novelty.twin(text()) for _ in range(20)]
    # The plain loop takes ten seconds of each.
    assert time.process_time() - began < 10.0
    assert twins == ([Twin("0", 1.0)] * 20 if kind == "identical" else [None] * 20)
