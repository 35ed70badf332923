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
    assert verdicts(text, source) == {"Title": None if kept else "no header stands above it"}
    assert verdicts(text, "a.html", markup="text") == {"Title": None}


def test_a_window_that_nothing_fits_is_refused() -> None:
    with pytest.raises(RecipeError, match="no segment fits"):
        Segmentation(min_characters=10, max_characters=9)


@pytest.mark.parametrize(
    ("heading", "refused"),
    [
        ("API", True),
        ("日本語", False),
        ("—", True),
        ("How to share this", False),
        ("Sharing", False),
        ("How to subscribe to a topic in ROS", False),
        ("Share this article", True),
        ("Advertisement", True),
        ("Sign up for our newsletter", True),
        ("Leave a reply to Ann", True),
        ("You may also like", True),
        ("Sign up for an account with curl", False),
        ("Advertisement in Roman cities", False),
    ],
)
def test_headers(heading: str, refused: bool) -> None:
    assert (header_fault(heading) is not None) is refused


COOKIES = """An HTTP cookie is a small piece of data that a server sends to a user's web browser.
Your browser may store the cookie and send it back to the same server with later requests.
Click here or there on a page and the cookie travels along: JavaScript can read it unless it is marked HttpOnly.
Session cookies end when the browser shuts down, and permanent cookies end at a date that the server set."""
FRAME = """© 2024 Example Ltd. All rights reserved.
Home | About us | Privacy policy | Terms of use
We use cookies to improve your experience on this site and to show you advertising that fits.
Please enable JavaScript to view the comments.
Sign in or sign up
Follow us on Mastodon
Back to top
"""


def test_writing_about_cookies_is_no_frame_of_a_site_and_a_frame_is() -> None:
    assert verdicts(f"Cookies in HTTP\n===\n\n{COOKIES}", "a.txt", min_characters=100) == {"Title": None}
    framed = verdicts(f"Good\n====\n\n{FRAME}", "a.txt", min_characters=100)
    assert framed == {"Good": "nothing but phrases of a site's frame"}
    mixed = verdicts(f"Good\n====\n\n{FRAME}\nThe ship left the harbour at dawn.", "a.txt", min_characters=100)
    assert mixed == {"Good": None}


SAME = "We went down to the old harbour to see the ships come in today."


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("1. Step\n   ```\n   @\n   ```\n2. Step\n   ```\n   @\n   ```\n", False),
        ("~~~ text\n@\n~~~\n\n~~~~\n~~~\n@\n~~~~", False),
        ("See\n\n    @\n    @\n\nand\n\n\t@", False),
        ("- item\n\n        @\n\n- item\n\n        @", False),
        ("```\n@\n@", False),
        ("```\nx\n```\n@\n\n@", True),
        ("See:\n    @\n    @", True),
        ("- item\n\n    @\n\n- item\n\n    @", True),
        ("``` no fence `\n\n@\n\n@", True),
    ],
)
def test_code_of_every_kind_may_repeat_and_prose_may_not(text: str, repeats: bool) -> None:
    assert (repetition_fault(text.replace("@", SAME), overlap=0.8) is not None) is repeats


def test_short_phrases_of_a_script_without_blanks_may_repeat() -> None:
    assert repetition_fault("ตัวอย่าง\n\nหนึ่ง\n\nตัวอย่าง\n\nสอง", overlap=0.8) is None
    sentence = "กรุงเทพมหานครเป็นเมืองหลวงและนครที่มีประชากรมากที่สุดของประเทศไทย"
    assert repetition_fault(f"{sentence}\n\n{sentence}", overlap=0.8) is not None


def test_what_stands_above_the_headers_of_a_page_is_refused_with_a_reason_and_changes_no_number() -> None:
    page = f"<h1>Good</h1><p>{prose(700)}</p>"
    for above, ids in (("", ["doc#1"]), ("<p>Lead.</p><p>More.</p>", ["doc#0", "doc#1"])):
        found = segments(Text(id="doc", text=above + page, source="a.html"), Segmentation())
        assert [one.segment.id for one in found] == ids
        assert found[-1].fault is None
        assert all(one.fault == "no header stands above it" for one in found[:-1])
    assert found[0].segment.text == "Lead.\n\nMore."


@pytest.mark.parametrize("source", ["a.md", "a.html", "a.txt"])
def test_a_byte_order_mark_hides_no_header(source: str) -> None:
    header = {"a.md": "# Good\n\n", "a.html": "<h1>Good</h1>", "a.txt": "Good\n====\n\n"}[source]
    found = segments(Text(id="doc", text="\ufeff" + header + prose(700), source=source), Segmentation())
    assert [(one.segment.heading, one.fault) for one in found] == [("Good", None)]


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
    assert words("_France_ Fra\u00adnce Fr\u200ban\u2060ce fra_nce") == ["france", "france", "france", "fra", "nce"]
    assert words("_France_ snake_case") == ["france", "snake", "case"]
    assert places("Fra\u00adnce\u200b!") == [(0, 7)]
    assert len(words("ที่นี่ and ភាសា")) == 11


def test_an_excerpt_is_one_visible_line() -> None:
    assert excerpt("a\n\x1b[31mb\u202ec\ud800") == "a ‹U+001B›[31mb‹U+202E›c‹U+D800›"
    assert excerpt("x" * 500) == "x" * 80 + "…"
    assert excerpt("‮" * 10_000).count("‹") == 80
