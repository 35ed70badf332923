"""Whole runs with a judge: loud when nothing can be read, paired over rounds, refused before anything is computed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scripted_recipes import settings_of, written
from selfalign.config import checked_recipe
from selfalign.errors import RecipeError
from selfalign.playing import plan_recipe, play_recipe
from selfalign.report.table import conclusions


def recipe(folder: Path, **judge: Any) -> dict[str, Any]:
    settings = settings_of("sft", folder / "store")
    given = {"model": "scripted:judge", "questions": "embedded:sample-questions#test", **judge}
    return {**settings, "evaluate": {**settings["evaluate"], "judge": given}}


def test_a_run_goes_on_when_no_verdict_can_be_read_and_says_so(tmp_path: Path) -> None:
    path = written(tmp_path, recipe(tmp_path, against=["base", "reference"]))
    _, calls, _ = plan_recipe(path, ())
    played = play_recipe(path, (), tmp_path / "run")
    rounds = played.folder.rounds()
    assert len(rounds) == 4
    score = rounds[1]["scores"]["test"]
    assert score["win_rate"]["mean"][3] == 0
    assert score["judge_unread"]["mean"][:1] == [1.0]
    assert "win_rate" not in rounds[1]["scores"]["dev"]
    loud = [sentence for sentence in conclusions(rounds, "house_style") if "NOTHING COULD BE READ" in sentence]
    assert [one.partition(":")[0] for one in loud] == [
        "base on test",
        *(f"round {n} on test" for n in (0, 0, 1, 1, 2, 2)),
    ]
    report = (played.folder.path / "report.html").read_text("utf-8")
    assert "NOTHING COULD BE READ" in report
    asked = {event["key"] for event in played.folder.events() if event["event"] in ("made", "reused")}
    assert asked <= {call.key for call in calls}
    assert "answers a judge prefers" in report


def test_a_run_is_judged_by_letters_and_may_be_decided_on_dev(tmp_path: Path) -> None:
    settings = recipe(
        tmp_path, model="scripted:novice", against=["base", "reference"], reading="distribution",
        dev_questions="embedded:sample-questions#dev",
    )  # fmt: skip
    settings["stop"] = {"metric": "win_rate_reference"}
    played = play_recipe(written(tmp_path, settings), (), tmp_path / "run")
    rounds = played.folder.rounds()
    for split in ("dev", "test"):
        assert rounds[0]["scores"][split]["win_rate"]["mean"][3] == 0
        assert rounds[1]["scores"][split]["win_rate"]["mean"][3] == 8
        assert rounds[1]["scores"][split]["win_rate_reference"]["against_base"][3] == 8
    assert "judged by scripted:novice (the base itself)" in rounds[1]["says"]["test"][0]
    assert "under 10 questions were read" in rounds[1]["says"]["test"][0]


@pytest.mark.parametrize(
    ("judge", "metric", "says"),
    [
        (
            {"against": ["base", "reference"]},
            "win_rate_reference",
            "stop.metric 'win_rate_reference' is not measured on dev",
        ),
        ({}, "win_rate", "stop.metric 'win_rate' is not measured on dev"),
        ({"against": ["previous"]}, "nll", "evaluate.judge.against.0: input should be 'base' or 'reference'"),
        ({"model": "embedded:smollm2"}, "nll", "evaluate.judge.model is 'embedded:smollm2'"),
        ({"questions": "missing.jsonl"}, "nll", "evaluate.judge.questions: missing.jsonl: no such file"),
    ],
)
def test_a_faulty_judge_is_refused(judge: dict[str, Any], metric: str, says: str, tmp_path: Path) -> None:
    settings = {**recipe(tmp_path, **judge), "stop": {"metric": metric}}
    with pytest.raises(RecipeError, match=re.escape(says)):
        checked_recipe(settings, where="recipe", name="judged")


def test_a_plan_refuses_references_that_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "asked.jsonl"
    path.write_text('{"question_id": 1, "turns": ["Why?"]}\n', "utf-8")
    with pytest.raises(RecipeError, match="no question has a reference answer"):
        plan_recipe(written(tmp_path, recipe(tmp_path, questions=str(path), against=["reference"])), ())


def test_data_that_is_kept_clean_is_kept_clean_of_the_questions(tmp_path: Path) -> None:
    settings = {**settings_of("humpback", tmp_path), "evaluate": recipe(tmp_path)["evaluate"]}
    checked: Any = checked_recipe(settings, where="recipe", name="clean").checked
    assert "embedded:sample-questions#test" in [source.ref for source in checked.method.clean_of]
