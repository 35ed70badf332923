"""Suites behind one interface: what a recipe says of them, what their files must hold, what a reply is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripted_recipes import settings_of
from selfalign.config import checked_recipe, read_recipe
from selfalign.data.formats import Format
from selfalign.errors import RecipeError
from selfalign.playing import plan_recipe, play_recipe
from selfalign.suites import SUITES, ChoiceSuite, Suite
from selfalign.suites.numbers import GSM8K
from selfalign.types import Item


def recipe_with(tmp_path: Path, *suites: dict[str, Any], split: str = "dev", **evaluate: Any) -> Path:
    settings = settings_of("sft", tmp_path / "store")
    settings["evaluate"].update(evaluate)
    settings["evaluate"].setdefault(split, dict(settings["evaluate"]["dev"]))["suites"] = list(suites)
    path = tmp_path / "suites.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def judged(name: str, given: dict[str, Any], *replies: str) -> list[list[float | None]]:
    """The values of each reply to one item, metric by metric."""
    suite = SUITES[name]
    assert isinstance(suite, Suite)
    items = [Item(id=str(place), prompt=(), given=json.dumps(given)) for place in range(len(replies))]
    return [[verdict.value for verdict in some] for some in suite.verify(items, replies)]


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("So it is 1,234.", 1.0), ("#### 1234", 1.0), ("#### 1234.0 and then 7", 1.0), ("$1,234.00", 1.0),
        ("1234 then 5", 0.0), ("", 0.0), ("no number", 0.0), ("-1234", 0.0), ("9" * 100_000, 0.0), ("１２３４", 1.0),
    ],
)  # fmt: skip
def test_a_word_problem_is_right_where_its_last_number_is(reply: str, value: float) -> None:
    assert judged("gsm8k", {"number": "1234"}, reply) == [[value]]


def test_a_run_measures_a_suite_item_by_item_and_it_may_decide(tmp_path: Path) -> None:
    path = recipe_with(tmp_path, {"name": "gsm8k", "items": "embedded:sample-gsm8k#dev"})
    played = play_recipe(path, ["stop.metric=gsm8k", "rounds=1"], tmp_path / "run")
    assert [scores["dev"]["gsm8k"].mean.items for scores in played.outcome.scores] == [7, 7]
    assert played.metric == "gsm8k"
    again = read_recipe(played.folder.path / "recipe.yaml")
    assert again.settings["evaluate"]["dev"]["suites"][0]["items"] == "suite:gsm8k:embedded:sample-gsm8k#dev"


def test_a_metric_of_a_test_suite_cannot_decide(tmp_path: Path) -> None:
    settings = settings_of("sft", tmp_path / "store")
    settings["evaluate"]["test"] = {
        "held_out": "embedded:toy-tasks#test#8",
        "suites": [{"name": "gsm8k", "items": "embedded:sample-gsm8k#test"}],
    }
    settings["stop"] = {"metric": "gsm8k"}
    with pytest.raises(RecipeError, match=r"measured on test, which is only reported"):
        checked_recipe(settings, where="recipe", name="r")


def test_an_unknown_suite_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"suites\.0\.name: no suite is called 'gsm8'.*did you mean 'gsm8k'"):
        read_recipe(recipe_with(tmp_path, {"name": "gsm8", "items": "embedded:sample-gsm8k#dev"}))


def test_one_suite_is_given_once_in_a_split(tmp_path: Path) -> None:
    one = {"name": "gsm8k", "items": "embedded:sample-gsm8k#dev"}
    with pytest.raises(RecipeError, match="given twice"):
        read_recipe(recipe_with(tmp_path, one, one))


def test_a_missing_field_is_named_by_line_before_anything_is_made(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text('{"question": "1 + 1?", "answer": "#### 2"}\n{"question": "2 + 2?", "answer": "four"}\n')
    with pytest.raises(RecipeError, match=r"problems\.jsonl: 1 faulty line\n  line 2: 'answer' must end with ####"):
        plan_recipe(recipe_with(tmp_path, {"name": "gsm8k", "items": str(file)}), [])
    assert not list((tmp_path / "store").glob("*/record.json"))


def test_another_version_of_a_verifier_gives_other_results_and_other_suites_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("if_verifiable")
    names = ("gsm8k", "ifeval")
    path = recipe_with(tmp_path, *({"name": name, "items": f"embedded:sample-{name}#dev"} for name in names))

    def keys() -> dict[str, str]:
        calls = [one for one in plan_recipe(path, [])[1] if one.call.stage == "suite_results"]
        return {one.call.arguments["suite"]: one.key for one in calls if one.round == "base"}

    before = keys()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0.0.1")
    after = keys()
    assert [after[name] == before[name] for name in names] == [True, False]


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_says_what_it_measures(name: str) -> None:
    suite = SUITES[name]
    assert suite.name == name
    assert suite.metrics
    assert all(metric.name.split("_mc")[0].startswith(name) and metric.says for metric in suite.metrics)
    assert all(isinstance(form, Format) for form in suite.formats)
    assert isinstance(suite, (Suite, ChoiceSuite))
    assert isinstance(GSM8K, Suite)


def test_a_test_split_of_the_rows_that_decide_is_refused(tmp_path: Path) -> None:
    one = {"name": "gsm8k", "items": "embedded:sample-gsm8k#dev"}
    settings = settings_of("sft", tmp_path / "store")
    settings["evaluate"]["dev"]["suites"] = [one]
    settings["evaluate"]["test"] = {"held_out": "embedded:toy-tasks#test#8", "suites": [one]}
    with pytest.raises(RecipeError, match=r"test\.suites\.0\.items holds the rows of evaluate\.dev\.suites\.0\.items"):
        checked_recipe(settings, where="recipe", name="r")
    settings["evaluate"]["allow_contamination"] = True
    checked_recipe(settings, where="recipe", name="r")


@pytest.mark.parametrize(
    ("suite", "said"),
    [
        ({"name": "gsm8k", "items": "embedded:sample-gsm8k#dev", "form": "letters"}, r"form has no effect: replies"),
        ({"name": "mmlu", "items": "embedded:sample-mmlu#dev", "max_new_tokens": 9}, r"max_new_tokens has no effect"),
    ],
)
def test_settings_a_suite_does_not_look_at_are_refused(suite: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=said):
        read_recipe(recipe_with(tmp_path, suite))
