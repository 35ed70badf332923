"""The report of a run: complete, true to the scores, and deaf to what models write."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from scripted_recipes import NAMES, settings_of, written
from selfalign.errors import RecipeError
from selfalign.folder import RunFolder
from selfalign.playing import Played, play_recipe
from selfalign.report.html import write_report
from selfalign.report.visible import visible
from selfalign.tables import write_rows
from selfalign.types import Dropped

VOID = ("meta", "br", "wbr", "img", "link", "input", "hr")
PAGE = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "article", "details", "summary"}
WORDS = {"p", "h1", "h2", "h3", "h4", "ul", "li", "dl", "div", "dt", "dd", "span", "b", "br", "wbr", "code", "pre"}
TABLES = {"table", "caption", "thead", "tbody", "tr", "th", "td"}
DRAWINGS = {"figure", "figcaption", "svg", "desc", "rect", "line", "polyline", "circle", "text"}
HOSTILE = [
    "<script>alert(1)</script>",
    "</pre></div><img src=x onerror=alert(1)>",
    "nul \x00 bell \x07 escape \x1b[31m carriage\rreturn",
    "reordered \u202e evil \u202c and \u2066 isolated \u2069, zero\u200bwidth, \U000e0041 tag",
    "</style><style>*{display:none}</style>{{ 7*7 }}{% raw %}",
    "<!-- comment --> ]]> &amp; <svg onload=alert(1)>",
    "word " * 200_000,
]


class Page(HTMLParser):
    """What a browser would make of the page: elements, attributes, text, and whether tags match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(run: Path) -> Page:
    return Page((run / "report.html").read_text("utf-8"))


def harmless(page: Page) -> None:
    """Nothing runs, nothing is fetched, nothing is obeyed."""
    assert set(page.tags) <= PAGE | WORDS | TABLES | DRAWINGS
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "action")]
    assert page.tags.count("style") == 1
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    hidden = re.search("[\x00-\x08\x0b-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page.text)
    assert hidden is None, hidden


@pytest.fixture(scope="module")
def spin(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("spin")
    return play_recipe(written(folder, settings_of("spin", folder / "store")), [], folder / "run")


@pytest.mark.parametrize("method", NAMES)
def test_every_method_gets_a_page_with_every_round(method: str, tmp_path: Path) -> None:
    played = play_recipe(written(tmp_path, settings_of(method, tmp_path / "store")), [], tmp_path / "run")
    page = page_of(tmp_path / "run")
    harmless(page)
    assert len(played.outcome.labels) >= 3
    for label in played.outcome.labels:
        assert label in page.text
    assert page.tags.count("svg") >= 7


def test_the_headline_agrees_with_the_scores(spin: Played) -> None:
    kept = spin.outcome.scores[spin.outcome.best]["test"]["house_style"]
    assert kept.against_base is not None
    said = page_of(spin.folder.path).text
    label = spin.outcome.labels[spin.outcome.best].capitalize()
    assert f"{label} is kept: on test its house_style of {100 * kept.mean.mean:.1f} %" in said
    assert f"{100 * kept.against_base.mean:+.1f} points" in said


def test_the_page_loads_nothing_from_elsewhere(spin: Played) -> None:
    text = (spin.folder.path / "report.html").read_text("utf-8")
    harmless(Page(text))
    assert not re.search(r"https?:|url\(|@import|<link|<script|javascript:", text)


def test_the_funnel_counts_what_the_rounds_trained_on(spin: Played) -> None:
    said = page_of(spin.folder.path).text
    assert "older set, made in round 0" in said
    assert "older set, made in round 1" in said
    assert "20 finished, 0 unfinished" in said
    assert "Training loss of round 2" in said


def test_dropped_rows_are_counted_by_reason_and_preference_training_shows_its_margin(
    spin: Played, tmp_path: Path
) -> None:
    shutil.copytree(spin.folder.path, tmp_path / "run", symlinks=True)
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(folder.plan()["store"], tmp_path / "store")
    last = folder.rounds()[-1]
    pairs, model = last["trained_on"][-1], last["model"].removeprefix("made:")
    edited(tmp_path, pairs, {"dropped": 3})
    reasons = ["no rejected answer", "<i>too long</i>", "no rejected answer"]
    dropped = [Dropped(id=str(number), reason=reason) for number, reason in enumerate(reasons)]
    write_rows(tmp_path / "store" / "made" / pairs / "dropped.parquet", dropped, Dropped)
    step = {"step": 1, "loss": 0.693, "learning_rate": 1e-6, "gradient_norm": 2.0, "margin": 0.0, "accuracy": 0.5}
    steps = [step, {**step, "step": 2, "loss": 0.25, "margin": 1.75, "accuracy": 0.875}]
    edited(tmp_path, model, {"notes": {"steps": steps}})
    plan = {**folder.plan(), "store": str(tmp_path / "store")}
    (folder.path / "plan.json").write_text(json.dumps(plan), "utf-8")
    write_report(folder, metric="house_style")
    page = page_of(folder.path)
    harmless(page)
    assert "2 dropped: no rejected answer" in page.text
    assert "1 dropped: <i>too long</i>" in page.text
    assert re.search(r"margin\s*0\s*1\.75", page.text)
    assert re.search(r"accuracy\s*50 %\s*88 %", page.text)


def edited(folder: Path, key: str, changes: dict[str, Any]) -> None:
    """A record of the copied store, as another trainer or stage would have written it."""
    path = folder / "store" / "made" / key / "call.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}), "utf-8")


def test_who_started_from_whom_is_told_by_round(spin: Played) -> None:
    models = [model.ref.removeprefix("made:")[:8] for model in spin.outcome.models]
    said = page_of(spin.folder.path).text
    assert f"round 0 ({models[1]})" in said
    assert f"round 1 ({models[2]})" in said


def test_every_call_and_the_recipe_are_on_the_page(spin: Played) -> None:
    said = page_of(spin.folder.path).text
    for event in spin.folder.events():
        if event["event"] == "made":
            assert event["key"][:8] in said
    assert (spin.folder.path / "recipe.yaml").read_text("utf-8").strip() in said


def test_the_same_run_gives_the_same_page(spin: Played) -> None:
    first = (spin.folder.path / "report.html").read_bytes()
    assert write_report(spin.folder, metric=spin.metric).read_bytes() == first


# --------------------------------------------------------------------------------------- unfinished runs


def killed(spin: Played, run: Path, *, measured: int) -> RunFolder:
    """A copy of the folder as a killed run leaves it: some rounds measured, the journal's last line cut."""
    shutil.copytree(spin.folder.path, run, symlinks=True)
    lines = (run / "journal.jsonl").read_text("utf-8").splitlines()
    ends = [place for place, line in enumerate(lines) if json.loads(line)["event"] == "round"]
    kept = lines[: ends[measured - 1] + 1] if measured else lines[:3]
    (run / "journal.jsonl").write_text("\n".join([*kept, '{"event": "ro']), "utf-8")
    return RunFolder(run)


@pytest.mark.parametrize(
    ("measured", "headline"),
    [
        (0, "Nothing has been measured yet."),
        (1, "Only the base has been measured so far"),
        (2, "So far, for the run has not ended: Round 0 is kept"),
    ],
)
def test_a_run_that_did_not_end_is_reported_as_far_as_it_came(
    measured: int, headline: str, spin: Played, tmp_path: Path
) -> None:
    write_report(killed(spin, tmp_path / "run", measured=measured), metric="house_style")
    page = page_of(tmp_path / "run")
    harmless(page)
    assert headline in page.text
    assert "not finished" in page.text
    assert ("Training loss of round 0" in page.text) == (measured == 2)


def test_a_run_that_failed_says_where_and_why(spin: Played, tmp_path: Path) -> None:
    folder = killed(spin, tmp_path / "run", measured=2)
    failed = {"event": "failed", "round": "round 1", "stage": "train", "key": "f" * 32, "error": "<b>\ud800 full \x00"}
    with (folder.path / "journal.jsonl").open("a", encoding="utf-8") as handle:
        handle.write("\n" + json.dumps(failed) + "\n")
    write_report(folder, metric="house_style")
    page = page_of(folder.path)
    harmless(page)
    assert "failed in round 1, stage train: <b>‹U+D800› full ‹U+0000›" in page.text


def test_results_gone_from_the_store_leave_the_rest_readable(spin: Played, tmp_path: Path) -> None:
    shutil.copytree(spin.folder.path, tmp_path / "run", symlinks=True)
    folder = RunFolder(tmp_path / "run")
    plan = {**folder.plan(), "store": str(tmp_path / "empty")}
    (folder.path / "plan.json").write_text(json.dumps(plan), "utf-8")
    write_report(folder, metric="house_style")
    page = page_of(folder.path)
    harmless(page)
    assert "is kept" in page.text


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="holds no run"):
        write_report(RunFolder(tmp_path), metric="nll")


# --------------------------------------------------------------------------------------------- hostile text


def hostile_recipe(folder: Path) -> Path:
    """A run whose demonstrations, prompts, ids and held-out answers are all hostile; scripted models repeat them."""
    lines = [
        json.dumps({"id": f"{number}{text[:60]}", "prompt": f"{number} {text}", "completion": text})
        for number, text in enumerate(HOSTILE)
    ]
    data = folder / "hostile.jsonl"
    data.write_text("\n".join(lines) + "\n", "utf-8")
    settings: dict[str, Any] = settings_of("spin", folder / "store")
    settings["method"]["demonstrations"] = str(data)
    settings["evaluate"] = {
        "dev": {"held_out": str(data), "checks": ["exact_match"]},
        "sampling": {"max_new_tokens": 150_000},
        "allow_contamination": True,  # it measures with what it learns
    }
    settings["stop"] = {"metric": "exact_match"}
    return written(folder, settings)


def test_hostile_text_is_shown_and_never_obeyed(tmp_path: Path) -> None:
    play_recipe(hostile_recipe(tmp_path), [], tmp_path / "run")
    path = tmp_path / "run" / "report.html"
    page = page_of(tmp_path / "run")
    harmless(page)
    assert path.stat().st_size < 300_000, "a text of a megabyte is cut"
    shown = [text for text in HOSTILE if visible(text[:60]) in page.text]
    assert len(shown) >= 4, "four prompts are shown, each with its hostile text"
    assert "49" not in page.text.partition("Sample answers")[2].partition("Record")[0], "templates in text stay text"


def test_every_hostile_text_can_be_read_on_the_page() -> None:
    assert visible(HOSTILE[0]) == HOSTILE[0], "markup is the template's to escape"
    assert visible("a\x00b\rc\x7f") == "a‹U+0000›b‹U+000D›c‹U+007F›"
    assert visible("a\u202eb\u2066c\u200bd\ud800e\u0085") == "a‹U+202E›b‹U+2066›c‹U+200B›d‹U+D800›e‹U+0085›"
    assert visible("line\n\ttab, größer, 日本語, 👩\u200d🔬") == "line\n\ttab, größer, 日本語, 👩\u200d🔬"
