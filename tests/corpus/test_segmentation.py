"""Which segments are kept, and that every refusal says why."""

from __future__ import annotations

from typing import Any

import pytest

from selfalign.corpus.filters import header_fault, repetition_fault
from selfalign.corpus.segmentation import Segmentation, segments
from selfalign.corpus.words import excerpt, places, words
from selfalign.errors import RecipeError
from selfalign.types import Text

WORDS = ("river", "stone", "cloud", "apple", "table", "horse", "paper", "green", "music", "bread", "light", "sugar")


def prose(characters: int, salt: int = 0) -> str:
    """Sentences without repetition."""
    text = ""
    number = salt * 1000
    while len(text) < characters:
        number += 1
        said = " ".join(f"{WORDS[(number * step) % 12]}{number % (step + 7)}" for step in range(1, 9))
        text += f"Number {number} {said}. "
    return text[: characters - 1].rstrip() + "."


def verdicts(text: str, source: str = "a.html", **settings: Any) -> dict[str, str | None]:
    document = Text(id="doc", text=text, source=source, heading="Title")
    return {one.segment.heading: one.fault for one in segments(document, Segmentation(**settings))}


def test_each_filter_has_its_reason() -> None:
    links = f"<a href=x>{prose(700, 9)}</a>"
    page = "".join(
        f"<h2>{heading}</h2><p>{text}</p>"
        for heading, text in {
            "Good": prose(800), "Short": "Too little.", "Long": prose(4000, 1), "LOUD": prose(700, 2),
            "": prose(700, 3),
            "Related posts": prose(700, 4), "Forum": prose(700, 5), "Linked": links, "The Roman forum": prose(700, 6),
            "Twice": prose(700, 7) + " The old mill stands by the quiet river bank. " * 2,
        }.items()
    )  # fmt: skip
    assert verdicts(page) == {
        "Good": None,
        "Short": "shorter than 600 characters",
        "Long": "longer than 3000 characters",
        "LOUD": "its header is all upper case: LOUD",
        "": "its header is empty",
        "Related posts": "its header is one of navigation or advertising: Related posts",
        "Forum": "its header is one of navigation or advertising: Forum",
        "Linked": "mostly links: 100% of its characters",
        "The Roman forum": None,
        "Twice": "it repeats a sentence: the old mill stands by the quiet river bank",
    }


def test_what_stands_on_every_page_is_no_text() -> None:
    frame = "<h2>Legal</h2>" + "<p>All rights reserved by the owner of this site, and please accept cookies.</p>" * 12
    assert verdicts(frame.replace("Legal", "Notes")) == {"Notes": "nothing but phrases of a site's frame"}


NESTED = f"<h1>Whole</h1><p>{prose(650)}</p><h2>Part</h2><p>{prose(700, 1)}</p><h2>Other</h2><p>{prose(710, 2)}</p>"


@pytest.mark.parametrize(
    ("nested", "kept"), [("keep", ["Whole", "Part", "Other"]), ("largest", ["Whole"]), ("smallest", ["Part", "Other"])]
)
def test_of_nested_segments_those_wanted_are_kept(nested: str, kept: list[str]) -> None:
    found = verdicts(NESTED, nested=nested)
    assert [heading for heading, fault in found.items() if fault is None] == kept
    assert list(found) == ["Whole", "Part", "Other"]


def test_a_part_is_kept_where_the_whole_is_refused() -> None:
    found = verdicts(NESTED, max_characters=1000)
    assert [heading for heading, fault in found.items() if fault is None] == ["Part", "Other"]


def test_other_settings_change_no_id_and_a_segment_knows_its_document() -> None:
    document = Text(id="doc", text=NESTED, source="a.html")
    one, other = (segments(document, Segmentation(nested=nested)) for nested in ("keep", "smallest"))
    assert [v.segment for v in one] == [v.segment for v in other]
    assert [v.segment.id for v in one] == ["doc#1", "doc#2", "doc#3"]
    assert one[0].segment.parents == ("doc",)


@pytest.mark.parametrize(
    ("source", "kept"),
    [("a.txt", True), ("row-1#text", True), ("http://x/a.html#text", True), ("a.html", False), ("row#html", False)],
)
def test_the_source_says_the_markup_and_plain_text_needs_no_header(source: str, kept: bool) -> None:
    text = "LOUD beginning\n\n" + prose(700)
    assert verdicts(text, source) == ({"Title": None} if kept else {})
    assert verdicts(text, "a.html", markup="text") == {"Title": None}


def test_a_window_that_nothing_fits_is_refused() -> None:
    with pytest.raises(RecipeError, match="no segment fits"):
        Segmentation(min_characters=10, max_characters=9)


@pytest.mark.parametrize(
    ("heading", "refused"),
    [("API", True), ("日本語", False), ("—", True), ("How to share this", True), ("Sharing", False)],
)
def test_headers(heading: str, refused: bool) -> None:
    assert (header_fault(heading) is not None) is refused


def test_repetition_counts_near_sentences_and_lets_short_ones_be() -> None:
    near = "We went down to the old harbour to see the ships come in today. "
    assert repetition_fault(near + near.replace("today", "today indeed"), overlap=0.8)
    assert repetition_fault(near + near.replace("harbour", "market").replace("ships", "carts"), overlap=0.8) is None
    assert repetition_fault(f"```\n{near}\n```\n\n```\n{near}\n```\n", overlap=0.8) is None, "code may be alike"
    assert repetition_fault("See below. See below. See below. " + near, overlap=0.8) is None


def test_words_of_any_script_and_their_places() -> None:
    for text in ("The CAT, sat!", "Ｆｕｌｌ ﬁne e\u0301t\u00e9", "漢字 and kana かな", "हिन्दी में", "a\u202eb \ud800 c"):
        assert len(words(text)) == len(places(text))
    assert words("Cafe\u0301 ＣＡＦÉ") == ["café", "café"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert len(words("漢字かな")) == 4


def test_an_excerpt_is_one_visible_line() -> None:
    assert excerpt("a\n\x1b[31mb\u202ec\ud800") == "a ‹U+001B›[31mb‹U+202E›c‹U+D800›"
    assert excerpt("x" * 500) == "x" * 80 + "…"
    assert excerpt("‮" * 10_000).count("‹") == 80
