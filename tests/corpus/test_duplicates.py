"""Repeated rows are found by their true overlap, on any machine alike."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfalign.corpus.duplicates import SIGNATURE_NUMBERS, Duplicates, Index, Repeated, rows_of_band
from selfalign.corpus.words import runs, words


def overlap(one: str, other: str, length: int = 5) -> float:
    """The Jaccard overlap of runs of words, the plain way."""
    sets = [set(runs(words(text), min(length, len(words(text))))) for text in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def kept(texts: list[str], duplicates: Duplicates) -> tuple[list[str], dict[str, Repeated]]:
    index, good, refused = Index(duplicates), [], {}
    for number, text in enumerate(texts):
        found = index.repeated(text)
        if found is None:
            index.keep(str(number), text)
            good.append(str(number))
        else:
            refused[str(number)] = found
    return good, refused


def variants(seed: int, count: int, changes: int) -> list[str]:
    """Texts of 60 words in which up to so many were changed, beginning with the original."""
    dice = random.Random(seed)
    base = [f"w{dice.randrange(500)}" for _ in range(60)]
    texts = [" ".join(base)]
    for _ in range(count):
        text = list(base)
        for _ in range(dice.randint(0, changes)):
            text[dice.randrange(60)] = f"x{dice.randrange(10**6)}"
        texts.append(" ".join(text))
    return texts


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), threshold=st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0]))
def test_no_two_kept_rows_overlap_so_much_and_every_refused_one_does(seed: int, threshold: float) -> None:
    texts = variants(seed, 12, 12) + variants(seed + 1, 12, 4)
    good, refused = kept(texts, Duplicates(overlap=threshold))
    assert good[0] == "0", "the first is kept"
    for place, one in enumerate(good):
        assert all(overlap(texts[int(one)], texts[int(other)]) < threshold for other in good[:place])
    for row_id, found in refused.items():
        assert int(found.row_id) < int(row_id)
        assert found.row_id in good
        assert overlap(texts[int(row_id)], texts[int(found.row_id)]) == pytest.approx(found.overlap)
        assert found.overlap >= threshold


def test_equal_but_for_case_and_punctuation_is_equal() -> None:
    texts = ["The cat, sat!", "the CAT sat", "The cat sits", "!!!", "!!!", "???", "", " "]
    good, refused = kept(texts, Duplicates())
    assert good == ["0", "2", "3", "5", "6"]
    assert all(found.exactly and found.overlap == 1.0 for found in refused.values())


def test_the_same_numbers_on_every_machine() -> None:
    index = Index(Duplicates(seed=3))
    looked = index.look("one two three four five six seven")
    assert looked.shingles.tolist() == [4132983344923093485, 13957826278330625766, 16097572282202166377]
    assert looked.signature_K[:3].tolist() == [720455055, 2482310387, 1825918868]


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95])
def test_bands_miss_less_than_one_pair_in_a_million(threshold: float) -> None:
    rows = rows_of_band(threshold)
    assert (1 - threshold**rows) ** (SIGNATURE_NUMBERS // rows) <= 1e-6


def test_rows_found_after_they_were_settled() -> None:
    texts = [text for seed in range(60) for text in variants(seed, 0, 0)]
    index = Index(Duplicates())
    for number, text in enumerate(texts):
        index.keep(str(number), text)
        if number % 7 == 0:
            index.settle()
    for number, text in enumerate(texts):
        assert index.repeated(text + " and") == Repeated(str(number), pytest.approx(56 / 57), False)  # type: ignore[arg-type]


def test_near_but_different_rows_by_the_thousand_stay_fast() -> None:
    dice = random.Random(0)
    frame = [f"f{number}" for number in range(60)]
    index = Index(Duplicates())
    for number in range(1500):
        text = " ".join([*frame, *(f"o{dice.randrange(10**6)}" for _ in range(40))])
        assert index.repeated(text) is None
        index.keep(str(number), text)
