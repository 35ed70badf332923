"""What a report says of grades and of the way from documents to kept pairs: true to the tables, deaf to their text."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from report.test_html import HOSTILE, harmless, page_of
from scripted_recipes import settings_of, written
from selfalign.folder import RunFolder
from selfalign.playing import Played, play_recipe
from selfalign.report.dropped import MOST_REASONS, counted_reasons
from selfalign.report.evidence import Evidence, gathered
from selfalign.report.funnel import Funnel, funnels
from selfalign.report.grade_charts import grades_chart
from selfalign.report.graded_rounds import ended, graded_rounds
from selfalign.report.html import write_report
from selfalign.store import Store
from selfalign.tables import write_rows
from selfalign.types import Chat, Grade, Message

MADE_ONCE = [
    "documents", "segments", "without repeats", "clean of known rows", "sampled", "asked for instructions",
    "generated instructions", "candidates",
]  # fmt: skip


@pytest.fixture(scope="module")
def humpback(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("humpback")
    return play_recipe(written(folder, settings_of("humpback", folder / "store")), [], folder / "run")


def evidence_of(played: Played) -> Evidence:
    return gathered(played.folder)


def section(text: str) -> str:
    """The text of the section about grades."""
    return text.partition("How candidates were graded")[2].partition("What became of the data")[0]


# -------------------------------------------------------------------------------------------------- grades


def test_every_graded_round_tells_who_graded_and_how_the_grades_fell(humpback: Played) -> None:
    evidence = evidence_of(humpback)
    told = graded_rounds(evidence)
    assert told is not None
    assert [one.label for one in told.rounds] == ["round 1", "round 2"]
    for one, event in zip(told.rounds, evidence.rounds[2:], strict=True):
        notes = evidence.record(event["grades"])["notes"]
        rows = int(evidence.record(event["grades"])["rows"])
        read = rows - sum(notes["unread"].values())
        assert one.graded == rows
        assert one.grader == evidence.model_name(event["grader"])
        assert one.rubric == "backtranslation"
        assert one.unread == f"{rows - read} ({100 * notes['unread_share']:.1f} %)"
        assert one.at_top == f"{notes['values']['5']} ({100 * notes['share_at_top']:.1f} %) at 5"
        assert f"({100 * notes['share_at_commonest']:.1f} %) at " in one.at_commonest
        assert one.entropy == f"{notes['mean_entropy']:.2f} of 1.61"
        kept = next(key for key, call in evidence.planned.items() if is_kept(evidence, key, event["label"], call))
        assert one.kept == (f"{evidence.record(kept)['rows']} ({percent(evidence, kept, rows)} %), threshold 3",)
        assert one.chart.count('class="pillar"') == 20, "expected scores lie between the whole numbers"


def is_kept(evidence: Evidence, key: str, label: str, call: Any) -> bool:
    return call["round"] == label and evidence.record(key).get("stage") == "kept_by_grade"


def percent(evidence: Evidence, key: str, whole: int) -> str:
    return f"{100 * evidence.record(key)['rows'] / whole:.1f}"


def test_examples_are_the_ends_of_the_last_round_and_no_row_twice(humpback: Played) -> None:
    evidence = evidence_of(humpback)
    told = graded_rounds(evidence)
    assert told is not None
    assert told.shown == "round 2"
    grades = list(evidence.rows(evidence.rounds[-1]["grades"]))
    values = sorted((one.value for one in grades if one.value is not None), reverse=True)
    by_id = {one.id: one.value for one in grades}
    highest = [by_id[one.id] for one in told.examples if one.kind == "highest"]
    lowest = [by_id[one.id] for one in told.examples if one.kind == "lowest"]
    assert highest == values[:3]
    assert lowest == values[: -len(lowest) - 1 : -1]
    assert len({one.id for one in told.examples}) == len(told.examples)
    said = section(page_of(humpback.folder.path).text)
    assert all(one.prompt[0].text in said and one.answer.text in said for one in told.examples)


def test_runs_that_grade_nothing_say_nothing_of_grades(tmp_path: Path) -> None:
    played = play_recipe(written(tmp_path, settings_of("spin", tmp_path / "store")), [], tmp_path / "run")
    assert graded_rounds(evidence_of(played)) is None
    assert "How candidates were graded" not in page_of(played.folder.path).text


def test_grades_passed_on_after_a_check_are_told_alike(tmp_path: Path) -> None:
    settings = settings_of("humpback", tmp_path / "store", max_unread=1.0)
    played = play_recipe(written(tmp_path, settings), [], tmp_path / "run")
    told = graded_rounds(evidence_of(played))
    assert told is not None
    assert told.rounds[0].entropy.endswith(" of 1.61")
    assert told.rounds[0].kept[0].endswith("threshold 3")
    assert told.examples


# ------------------------------------------------------------------------------------------- hostile, missing


def copied(played: Played, folder: Path) -> RunFolder:
    """The run with a store of its own, to change."""
    shutil.copytree(played.folder.path, folder / "run", symlinks=True)
    run = RunFolder(folder / "run")
    shutil.copytree(run.plan()["store"], folder / "store")
    plan = {**run.plan(), "store": str(folder / "store")}
    (run.path / "plan.json").write_text(json.dumps(plan), "utf-8")
    return run


def rewritten(store: Path, key: str, rows: list[Any]) -> None:
    """A table of the copied store with other rows."""
    for path in (store / "made" / key).glob("rows-*.parquet"):
        path.unlink()
    write_rows(store / "made" / key / "rows-00000.parquet", rows, type(rows[0]))


def test_hostile_candidates_and_replies_stay_text(humpback: Played, tmp_path: Path) -> None:
    run = copied(humpback, tmp_path)
    evidence = gathered(run)
    key = evidence.rounds[-1]["grades"]
    chats = evidence.record(key)["arguments"]["chats"]["table"]
    texts = [text.encode("utf-8", "replace").decode() for text in HOSTILE]
    prompts = [(Message(role="user", content=f"ask {text}"),) for text in texts]
    pairs = [Chat(id=f"{n}{texts[n][:40]}", prompt=prompts[n], answer=texts[n]) for n in range(len(texts))]
    grades = [
        Grade(id=pair.id, rubric="<b>my rubric</b>", value=float(1 + n % 5), reply=f"{texts[n]}\nScore: {1 + n % 5}")
        for n, pair in enumerate(pairs)
    ]
    grades[1] = replace(grades[1], value=None, why_unread="<i>no line</i> \u202e")
    rewritten(tmp_path / "store", chats, pairs)
    rewritten(tmp_path / "store", key, grades)
    write_report(run, metric="house_style")
    page = page_of(run.path)
    harmless(page)
    said = section(page.text)
    assert "<b>my rubric</b>" in said
    assert "1: <i>no line</i> ‹U+202E›" in said
    assert "unread: no grade: <i>no line</i>" in said
    assert "characters left out) … " in said, "of a reply of a megabyte the end is shown, where its score stands"
    assert "<script>alert(1)</script>" in said
    assert (run.path / "report.html").stat().st_size < 300_000


def test_grades_gone_from_the_store_leave_a_line(humpback: Played, tmp_path: Path) -> None:
    run = copied(humpback, tmp_path)
    for event in run.rounds()[2:]:
        shutil.rmtree(tmp_path / "store" / "made" / event["grades"])
    write_report(run, metric="house_style")
    page = page_of(run.path)
    harmless(page)
    assert "How candidates were graded" in page.text
    told = graded_rounds(gathered(run))
    assert told is not None
    assert [(one.graded, one.unread, one.at_top, one.chart) for one in told.rounds] == [(0, "–", "–", "")] * 2
    assert told.examples == ()


def test_a_long_reply_keeps_its_beginning_and_its_end() -> None:
    reply = "reasons " * 500 + "Score: 4"
    assert ended(reply).startswith("reasons reasons")
    assert ended(reply).endswith("Score: 4")
    assert len(ended(reply)) < 600
    assert ended("short") == "short"


def test_bars_are_as_tall_as_their_counts() -> None:
    drawn = grades_chart([0, 3, 6, 0, 1], low=0.5, high=5.5, title="<t>", name="grades-0")
    heights = [float(height) for height in re.findall(r'class="pillar"[^>]* height="([\d.]+)"', drawn)]
    assert heights[2] == pytest.approx(2 * heights[1])
    assert heights[0] == heights[3] == 0
    assert "3 from 1.5 to 2.5, 6 from 2.5 to 3.5, 1 from 4.5 to 5.5" in drawn
    assert "&lt;t&gt;" in drawn
    assert grades_chart([0] * 101, low=-0.5, high=100.5, title="", name="x").count("<text") < 20


# -------------------------------------------------------------------------------------------------- funnel


def names_of(funnel: Funnel) -> list[str]:
    return [one.name for one in funnel.stretches]


def test_the_funnel_goes_from_documents_to_kept_pairs(humpback: Played) -> None:
    first, second, third = funnels(evidence_of(humpback))
    names = names_of(first)
    places = [names.index(name) for name in MADE_ONCE]
    assert places == sorted(places)
    assert names.index("turned round, answer to prompt") < names.index("generated instructions")
    assert len(set(names)) == len(names)
    for later in (second, third):
        names = names_of(later)
        assert names[:3] == ["candidates", "grades", "kept by grade"]
        assert names[3].startswith("tagged “Answer with knowledge")
        assert names[4].startswith("tagged “Answer in the style")
        assert names[5:] == ["trained on"]
        older = [one.name for one in later.stretches if one.said.startswith("older set, made in round 0")]
        assert older == [names[0], names[4]]
        assert later.stretches[-1].rows == later.stretches[3].rows + later.stretches[4].rows


def test_what_documents_lost_on_the_way_is_told_by_kind(humpback: Played) -> None:
    evidence = evidence_of(humpback)
    segments = next(one for one in funnels(evidence)[0].stretches if one.name == "segments")
    kinds = [reason for reason, _ in segments.dropped]
    assert "shorter than 600 characters" in kinds
    key = next(key for key in evidence.planned if key.startswith(segments.key))
    assert sum(count for _, count in segments.dropped) == sum(1 for _ in Store(evidence.store.root).dropped(key))


def test_reasons_are_one_kind_where_only_numbers_or_details_differ() -> None:
    reasons = [
        "grade 2.71 is below 3", "grade 1.5 is below 3", "grade 2.71 is below 3",
        "repeats another word for word: 'a#1'", "repeats another word for word: 'b#2'",
        "not graded: too long", "2 user turns instead of one",
    ]  # fmt: skip
    assert counted_reasons(reasons) == (
        ("grade … is below 3", 3),
        ("repeats another word for word (for example 'a#1')", 2),
        ("not graded: too long", 1),
        ("2 user turns instead of one", 1),
    )


def test_rare_kinds_are_counted_together() -> None:
    kinds = [letter * 3 for letter in "abcdefghijkl"]
    told = counted_reasons([*kinds, *kinds[:3]])
    assert len(told) == MOST_REASONS + 1
    assert told[-1] == ("other reasons", len(kinds) - MOST_REASONS)
    assert sum(count for _, count in told) == len(kinds) + 3
    assert counted_reasons([]) == ()
    assert counted_reasons(["\0 odd: " + "x" * 1000])[0][0].endswith("more characters)")
