"""`selfalign grade`: what it writes, what it refuses before any model is opened, and that it goes on where it was."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfalign.cli import main
from selfalign.engines.scripted import BABBLE
from selfalign.store import Store

USAGE = 2
ROWS: list[dict[str, Any]] = [
    {"id": f"r{number}", "prompt": f"say {number}", "grade": 1 + 4 * (number % 2),
     "completion": f"=answer {number}" if number % 2 else " ".join(BABBLE[:5])}
    for number in range(20)
]  # fmt: skip
OWN = {
    "name": "short", "lowest": 1, "highest": 3, "task": "Is it short?", "criteria": ["long", "medium", "short"],
    "answer_format": "Last line: 'Score: ' and a number from 1 to 3",
}  # fmt: skip
MODEL = ("--model", "scripted:novice")


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.jsonl", ROWS)


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command, which must succeed, and gives what it said."""

    def run(*arguments: object, output: str = "out") -> str:
        words = ["grade", *map(str, arguments), "--store", str(tmp_path / "store"), "-o", str(tmp_path / output)]
        assert main(words) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command, which must refuse before anything is computed, and gives its message."""

    def run(*arguments: object, output: str = "out") -> str:
        words = ["grade", *map(str, arguments), "--store", str(tmp_path / "store"), "-o", str(tmp_path / output)]
        assert main(words) == USAGE
        message = capsys.readouterr().err
        assert message.startswith("selfalign: ")
        assert "Traceback" not in message
        assert Store(tmp_path / "store").finished() == []
        return message

    return run


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "grades.csv").read_text("utf-8"))))


@pytest.mark.parametrize("reading", ["reasoned", "reasoned-choice", "distribution"])
def test_a_grade_for_every_row_and_agreement_with_gold(
    reading: str, data: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    told = said(data, *MODEL, "--reading", reading, "--gold", "field:grade")
    assert "20 rows of" in told
    assert "precision" in told
    assert "rank correlation" in told
    assert "50.0 % of them at 4 or more" in told
    lines = [json.loads(line) for line in (tmp_path / "out" / "grades.jsonl").read_text().splitlines()]
    rows = table(tmp_path / "out")
    assert [row["id"] for row in rows] == [line["id"] for line in lines] == [row["id"] for row in ROWS]
    for row, line in zip(rows, lines, strict=True):
        assert (row["grade"] == "") == (line["value"] is None) == bool(row["why not"])
    assert not any(row["answer"].startswith("=") for row in rows), "no formula for a spreadsheet"
    note = json.loads((tmp_path / "out" / "grading.json").read_text())
    assert note["made_by"] == "selfalign grade"
    assert note["agreement"]["rows"] == 20
    assert (reading == "reasoned") == (note["unread"] > 0), "only parsed replies can be unreadable here"


def test_the_second_time_nothing_is_computed(data: Path, said: Callable[..., str]) -> None:
    assert "3 calls made" in said(data, *MODEL)
    assert "nothing to compute" in said(data, *MODEL, "--threshold", "2")
    assert "1 calls made" in said(data, *MODEL, "--reading", "reasoned-choice"), "the reasons are there"


def test_gold_from_another_file_covers_some_rows(data: Path, tmp_path: Path, said: Callable[..., str]) -> None:
    gold = written(
        tmp_path / "gold.jsonl", [{"id": "r3", "quality": 5}, {"id": "r4", "quality": 1}, {"id": "x", "quality": 1}]
    )
    assert "gold: 2 rows, 50.0 % of them" in said(data, *MODEL, "--reading", "distribution", "--gold", gold)


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_a_rubric_from_a_file(kind: str, data: Path, tmp_path: Path, said: Callable[..., str]) -> None:
    rubric = tmp_path / f"own.{kind}"
    rubric.write_text(json.dumps(OWN))  # JSON is YAML, too
    assert "nearest whole grades: 1: " in said(data, *MODEL, "--rubric", rubric, "--reading", "distribution")
    assert json.loads((tmp_path / "out" / "grading.json").read_text())["rubric"]["name"] == "short"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rubric", "aditive"), "did you mean 'additive'"),
        (("--rubric", "nowhere.yaml"), "cannot be read as a rubric"),
        (("--reading", "distribution", "--max-new-tokens", "5"), "--max-new-tokens has no effect"),
        (("--seed", "1"), "--seed has no effect"),
        (("--temperature", "-1"), "--temperature must be"),
        (("--threshold", "7"), "not on the scale of rubric 'backtranslation', 1 to 5"),
        (("--gold-threshold", "3"), "has no effect without --gold"),
        (("--gold", "field:grad"), "did you mean 'grade'"),
        (("--gold", "field:grade", "--gold-threshold", "6"), "no gold grade reaches 6 (they go from 1 to 5)"),
        (("--gold", "nowhere.jsonl"), "no such file"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_model(
    arguments: tuple[str, ...], message: str, data: Path, refused: Callable[..., str]
) -> None:
    assert message in refused(data, *MODEL, *arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"highest": 4}, "answer_format"),
        ({"criteria": ["a", "b"]}, "scale 1 to 3 has 3 scores"),
        ({"critera": ["a"]}, "did you mean 'criteria'"),
        ({"lowest": "one"}, "lowest"),
    ],
)
def test_a_faulty_rubric_file_is_refused(
    changes: dict[str, Any], message: str, data: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    rubric = tmp_path / "own.json"
    rubric.write_text(json.dumps({**OWN, **changes}))
    told = refused(data, *MODEL, "--rubric", rubric)
    assert "own.json" in told
    assert message in told or (changes == {"highest": 4} and "has 4 scores" in told)


def test_rows_without_answers_and_strange_folders_are_refused(
    tmp_path: Path, data: Path, refused: Callable[..., str]
) -> None:
    bare = written(tmp_path / "bare.jsonl", [{"id": "a", "prompt": "x"}])
    assert "bare.jsonl" in refused(bare, *MODEL)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "diary.txt").write_text("mine")
    assert "diary.txt" in refused(data, *MODEL, output="taken")
    other = written(tmp_path / "gold.jsonl", [{"id": "zzz", "grade": 5}])
    assert "none of its ids" in refused(data, *MODEL, "--gold", other)
    twice = written(tmp_path / "twice.jsonl", [{"id": "r1", "grade": 5}, {"id": "r1", "grade": 4}])
    assert "row 2" in refused(data, *MODEL, "--gold", twice)
