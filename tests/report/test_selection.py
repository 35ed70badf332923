"""Pages about chosen rows: true to the choices, legible without colour, deaf to what the data says."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy
import pytest

from scripted_recipes import settings_of, written
from selfalign.folder import RunFolder
from selfalign.playing import play_recipe
from selfalign.report.evidence import gathered
from selfalign.report.html import write_report
from selfalign.report.reasons import plain_cell, why_text
from selfalign.report.selected_rounds import selected_rounds
from selfalign.report.selection import MOST_DIAMONDS, MOST_DOTS, Seen, selection_page, selection_story
from selfalign.report.selection_charts import order_chart, plane_chart
from selfalign.report.selection_terms import SELECTORS, VALUES
from selfalign.stages.select import By
from selfalign.store import Store
from selfalign.types import Chat, Choice, Message, Score, SetMeasure

VOID = ("meta", "br", "wbr")
ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "header", "main", "section", "p", "h1", "h2", "h3", "dl", "div",
    "dt", "dd", "span", "code", "pre", "br", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "figure",
    "figcaption", "svg", "desc", "rect", "line", "polyline", "circle", "path", "text",
}  # fmt: skip
EVIL = '</pre><script>alert(1)</script>"><img src=x onerror=alert(1)> \x1b[31m \u202e {{ 7*7 }} \ud800'


class Tags(HTMLParser):
    """The elements and attributes a browser would see; tags must match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def harmless(text: str) -> None:
    page = Tags(text)
    assert page.tags <= ALLOWED
    assert not [name for name in page.attributes if name.startswith("on") or name in ("src", "href")]
    assert not re.search(r"https?:|url\(|@import|javascript:", text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)


def seen_of(pool: int, chosen: int, **changes: Any) -> Seen:
    """A selection of the first rows of a pool, by falling distances."""
    chats = tuple(
        Chat(id=f"r{number}", prompt=(Message(role="user", content=f"ask {number}"),), answer=f"reply {number}")
        for number in range(pool)
    )
    choices = tuple(
        Choice(id=f"r{number}", order=number, by="k-center", value=9 / number, nearest="r0")
        if number
        else Choice(id="r0", order=0, by="k-center")
        for number in range(chosen)
    )
    measures = (
        SetMeasure(id="rows", says="rows", chosen=float(chosen), pool=float(pool)),
        SetMeasure(id="answer_words", says="words in an answer, mean", chosen=12.5, pool=3.25),
        SetMeasure(id="language:de", says="share of rows in language 'de'", chosen=0.25, pool=0.1),
        SetMeasure(id="language:xx", says="share of rows in language 'xx'", chosen=0.001, pool=0.002),
        SetMeasure(id="covering_radius", says="largest distance", chosen=1.5, pool=None),
    )
    vectors_ND = numpy.random.default_rng(0).normal(size=(pool, 4)).astype("float32")
    seen = Seen(
        by="k-center", data="rows.jsonl", pool=chats, choices=choices, measures=measures, scores=(),
        vectors_ND=vectors_ND, facts=(("data", "rows.jsonl"),),
    )  # fmt: skip
    return replace(seen, **changes)


def places(seen: Seen) -> list[str]:
    return [f"line {number + 1}" for number in range(len(seen.choices))]


def test_every_selector_has_words() -> None:
    assert set(SELECTORS) == set(VALUES) == set(By.__args__)


def test_the_page_tells_rows_values_and_differences() -> None:
    seen = seen_of(300, 30)
    page = selection_page(seen, places(seen))
    harmless(page)
    for part in (
        "30 of 300 rows (10.0 %), chosen by k-center", "farther than 1.5 (Euclidean)", "The first 10 choices",
        "The last 10 choices", "12.5", "3.25", "25.0 %", "line 30", "ask 29", "reply 29", "% of the variance",
    ):  # fmt: skip
        assert part in page
    assert "language 'xx'" not in page, "one row in a thousand tells nothing"
    assert "ask 15" not in page
    assert page == selection_page(seen, places(seen))


def test_few_choices_are_all_shown_and_one_alone_needs_no_chart() -> None:
    seen = seen_of(40, 12)
    assert "All choices, in their order" in selection_page(seen, places(seen))
    one = seen_of(40, 1)
    assert selection_story(one, places(one)).chart == ""
    harmless(selection_page(one, places(one)))


def test_large_sets_are_sampled_and_the_page_says_so() -> None:
    seen = seen_of(9_000, 2_500)
    story = selection_story(seen, places(seen))
    assert story.picture.count("h0") == MOST_DOTS
    assert story.picture.count("z") == MOST_DIAMONDS
    assert "a random 3,000 of 6,500, seed 0" in story.picture_note
    assert "a random 2,000 of 2,500, seed 0" in story.picture_note
    assert len(selection_page(seen, places(seen))) < 200_000


def test_without_vectors_the_page_says_why_there_is_no_picture() -> None:
    seen = seen_of(40, 5, vectors_ND=None, by="random")
    page = selection_page(seen, places(seen))
    assert "No picture: --by random reads no vectors" in page
    assert "<svg" not in page or 'class="picked"' not in page


def test_rows_that_could_not_be_chosen_are_counted_by_reason() -> None:
    scores = (Score(id="r1", value=1.5), Score(id="r2", value=None, why="the answer has no tokens"))
    story = selection_story(seen_of(40, 5, by="ifd", scores=scores, by_difficulty=True), ["line 1"] * 5)
    assert story.left_out == (
        ("the answer has no tokens", 1),
        ("IFD above 1: the instruction makes the answer less likely", 1),
    )


@pytest.mark.parametrize("same", [True, False])
def test_vectors_without_spread_still_make_a_picture(same: bool) -> None:
    vectors_ND = numpy.ones((9, 3), "float32") if same else numpy.arange(9, dtype="float32")[:, None]
    seen = seen_of(9, 3, vectors_ND=vectors_ND)
    page = selection_page(seen, places(seen))
    harmless(page)
    assert "nan" not in page


def test_hostile_texts_everywhere_leave_the_page_whole() -> None:
    chats = tuple(
        Chat(id=EVIL + str(number), prompt=(Message(role="user", content=EVIL * 2_000),), answer=EVIL)
        for number in range(3)
    )
    choices = (
        Choice(id=chats[0].id, order=0, by="k-center"),
        Choice(id=chats[1].id, order=1, by="k-center", value=1.0, nearest=chats[0].id),
    )
    seen = replace(
        seen_of(3, 2), pool=chats, choices=choices, data=EVIL, facts=((EVIL, EVIL),),
        scores=(Score(id="a", value=None, why=EVIL),),
    )  # fmt: skip
    page = selection_page(seen, [EVIL, EVIL])
    harmless(page)
    assert "7*7" in page
    assert "more characters" in page
    assert why_text(seen, [1, 2], unit="line").encode()


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"), ("  -2", "'-2"), ("a;=1", "a;'=1"), ("a, @x", "a, '@x"), ("plain - text = fine", None),
        ("a\r\n=b", "a‹U+000D› =b"), ("＝1", "'＝1"), ("2024-05-01", None), ("\u200b=1", "‹U+200B›=1"),
    ],
)  # fmt: skip
def test_cells_never_begin_like_a_formula(text: str, cell: str | None) -> None:
    assert plain_cell(text) == (text if cell is None else cell)


def test_charts_bear_any_finite_values() -> None:
    for values in ([None, 1.0], [0.0, 0.0], [-1.0, -2.0], [1e300, 1e-300], [5.0], [1e14, -1e14]):
        drawn = order_chart(values, unit="u", title="t", name="n")
        assert "nan" not in drawn
        assert "inf" not in drawn
    assert order_chart([None, 1e300], unit="u", title="t", name="n") == ""
    drawn = plane_chart([(1e12, 0.0)], [(0.0, 1e-12)], shares=(1.0, 0.0), title="t", name="n")
    assert "nan" not in drawn


# ---------------------------------------------------------------------------------------- rounds of a run


def test_a_run_that_chooses_nothing_says_nothing(tmp_path: Path) -> None:
    played = play_recipe(
        written(tmp_path, settings_of("sft", tmp_path / "store") | {"rounds": 1}), [], tmp_path / "run"
    )
    assert selected_rounds(gathered(played.folder)) is None
    assert "Which rows were chosen" not in (tmp_path / "run" / "report.html").read_text()


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of DiverseEvol: four rows, then four more in each of two rounds."""
    folder = tmp_path_factory.mktemp("evolved")
    return play_recipe(written(folder, settings_of("diverse_evol", folder / "store")), [], folder / "run").folder


def test_rounds_count_what_was_chosen_and_show_the_ends_of_the_values(evolved: RunFolder) -> None:
    told = selected_rounds(gathered(evolved))
    assert told is not None
    assert [(one.label, one.new, one.chosen) for one in told.rounds] == [
        ("round 0", 4, 4), ("round 1", 4, 8), ("round 2", 4, 12),
    ]  # fmt: skip
    assert told.rounds[0].largest == "–", "the first rows are drawn at random"
    store = Store(Path(evolved.plan()["store"]))
    event = evolved.rounds()[-1]
    values = [choice.value for choice in store.rows(event["chosen"][-1])]
    assert told.rounds[-1].largest == f"{max(values):.4g}"
    assert told.rounds[-1].smallest == f"{min(values):.4g}"
    assert told.measures[0].says == "rows"
    assert [chosen for chosen, _ in told.measures[0].cells] == ["4", "8", "12"]
    assert {pool for _, pool in told.measures[0].cells} == {"20"}


def test_the_report_of_a_run_shows_the_section_and_stays_harmless(evolved: RunFolder) -> None:
    page = write_report(evolved, metric="house_style").read_text("utf-8")
    for part in ("Which rows were chosen", "Chosen rows beside the pool", "k-center", "words in an answer, mean"):
        assert part in page
    assert "<script" not in page


def test_a_result_that_is_gone_leaves_a_gap_and_no_error(evolved: RunFolder, tmp_path: Path) -> None:
    evidence = gathered(evolved)
    gone = [{**event, "chosen": ["0" * 32], "selection": "1" * 32} for event in evidence.rounds]
    told = selected_rounds(replace(evidence, rounds=gone))
    assert told is not None
    assert told.rounds[0].new == 0
    assert told.measures == ()
    assert json.dumps([one.largest for one in told.rounds])
