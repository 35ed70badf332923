"""What holds for every method, whatever it does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from scripted_recipes import DATA, NAMES, settings_of, written
from selfalign.config import checked_recipe
from selfalign.errors import RecipeError
from selfalign.grading.rubrics import ADDITIVE
from selfalign.harness.settings import LmEval
from selfalign.loop import Plan, planned
from selfalign.methods import METHODS
from selfalign.playing import plan_recipe, play_recipe
from selfalign.stage import Size
from selfalign.stages.judge import Judge
from selfalign.store import Store
from selfalign.types import Lora, Model, Table

every_method = pytest.mark.parametrize("method", NAMES)


def keys_of_plan(settings: dict[str, Any]) -> list[str]:
    recipe = checked_recipe(settings, where="recipe", name="law")
    plan = Plan(Store(Path("nowhere")))
    built, evaluation = recipe.build(plan)
    return [call.key for call in planned(plan, built, rounds=recipe.rounds, evaluation=evaluation)]


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def hear(self, event: Any) -> None:
        self.events.append(dict(event))


@every_method
def test_a_plan_lists_exactly_the_calls_a_run_makes(method: str, tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of(method, tmp_path / "store"))
    _, calls, store = plan_recipe(recipe, [])
    assert store.finished() == [], "a plan makes nothing"
    heard = Heard()
    play_recipe(recipe, [], tmp_path / "run", observers=(heard,))
    started = [(event["round"], event["key"]) for event in heard.events if event["event"] == "started"]
    assert started == [(call.round, call.key) for call in calls]
    assert sorted(key for _, key in started) == store.finished()


# What these make depends on values, and in some methods so does all that follows; a plan says how many rows at most.
AT_MOST = {"describe_selection"}
FILTERING = {"humpback", "i_sheep", "self_align", "soft"}


@every_method
def test_a_plan_knows_the_rows_of_every_table(method: str, tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of(method, tmp_path / "store"))
    _, calls, store = plan_recipe(recipe, [])
    play_recipe(recipe, [], tmp_path / "run")
    for call in calls:
        record = store.record(call.key)
        if record["row_type"]:
            assert call.size.rows >= record["rows"], call.call.stage
            assert call.size.rows == record["rows"] or call.call.stage in AT_MOST or method in FILTERING


@every_method
def test_playing_again_makes_nothing_and_says_the_same(method: str, tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of(method, tmp_path / "store"))
    first = play_recipe(recipe, [], tmp_path / "run")
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    again = play_recipe(recipe, [], tmp_path / "run")
    assert first.calls_made > 0
    assert again.calls_made == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == metrics
    assert again.outcome == first.outcome


@every_method
def test_killed_again_and_again_a_run_ends_with_the_same_bytes(method: str, tmp_path: Path) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    undisturbed.mkdir()
    killed.mkdir()
    two_rounds = {"rounds": 2}
    play_recipe(written(undisturbed, settings_of(method, undisturbed / "store") | two_rounds), [], undisturbed / "run")
    recipe = written(killed, settings_of(method, killed / "store") | two_rounds)
    script = Path(__file__).with_name("killing.py")
    done = subprocess.run(
        [sys.executable, str(script), str(recipe), str(killed / "run")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) >= 14, "processes died all along the run"
    assert contents(killed / "store") == contents(undisturbed / "store")
    assert (killed / "run/metrics.jsonl").read_text() == (undisturbed / "run/metrics.jsonl").read_text()
    partial = killed / "store" / "partial"
    assert not any(partial.iterdir()), "nothing half-made is left"


def contents(root: Path) -> dict[str, Any]:
    """Every finished result with the digests of its files."""
    store = Store(root)
    return {key: store.record(key)["files"] for key in store.finished()}


@every_method
def test_where_and_how_a_run_works_enters_no_key(method: str, tmp_path: Path) -> None:
    settings = settings_of(method, tmp_path / "store")
    before = keys_of_plan(settings)
    place = settings["place"] | {"store": "elsewhere", "rows_at_once": 3, "micro_batch_tokens": 999, "device": "cpu"}
    assert keys_of_plan(settings | {"place": place, "name": "other"}) == before


@every_method
def test_data_moved_to_another_folder_keeps_its_keys(method: str, tmp_path: Path) -> None:
    text = "".join(json.dumps({"prompt": f"say {n}", "completion": f"{n}"}) + "\n" for n in range(20))
    keys = []
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text(text)
        keys.append(
            keys_of_plan(settings_of(method, tmp_path, **{DATA[method]: str(tmp_path / folder / "rows.jsonl")}))
        )
    assert keys[0] == keys[1]


@every_method
def test_a_method_is_a_frozen_value_and_plays_the_same_twice(method: str, tmp_path: Path) -> None:
    settings = settings_of(method, tmp_path / "store")
    assert keys_of_plan(settings) == keys_of_plan(settings)
    assert METHODS[method].__dataclass_params__.frozen


# ----------------------------------------------------------------------- every setting reaches a key


def other_values(annotation: Any, value: Any) -> list[Any]:
    """Values of a field that differ from the one it has."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    if isinstance(value, Model):
        return [Model("scripted:another")]
    if isinstance(value, Table):
        return [Table("0" * 32)]
    if is_dataclass(value):
        return [other for _, other in variants(value)][:1]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, tuple):
        return [tuple(other_values(kinds[0], item)[0] for item in value)]
    if isinstance(value, str) and get_origin(annotation) is Literal:
        return [kind for kind in kinds if kind != value]
    if isinstance(value, (int, float)):
        return [value + 1]
    if value is None:
        return [of_kind(kind) for kind in kinds][:1]
    return [f"{value} and more"]


def of_kind(kind: Any) -> Any:
    """Any value of a kind that may be left out."""
    if get_origin(kind) is Table:
        return Table("0" * 32)
    if get_origin(kind) is tuple:
        items = get_args(kind)
        return (of_kind(items[0]),) if items[-1] is Ellipsis else tuple(of_kind(item) for item in items)
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    judge = Judge(model=Model("scripted:another"), questions=Table("0" * 32))
    plain: dict[Any, Any] = {Lora: Lora(), Model: Model("scripted:another"), Judge: judge, int: 3, float: 3.5}
    plain[LmEval] = LmEval(tasks=("other",))
    return "text" if kind is str else plain[kind]


def variants(settings: Any) -> Any:
    """Every value that differs from a settings value in one field, nested ones included, with the path of the field."""
    hints = get_type_hints(type(settings))
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value) and not isinstance(value, (Model, Table)):
            others = [(f"{item.name}.{path}", other) for path, other in variants(value)]
        else:
            others = [(item.name, other) for other in other_values(hints[item.name], value)]
        for path, other in others:
            try:
                yield path, replace(settings, **{item.name: other})
            except RecipeError:
                continue  # contradicts another setting, and says so


def calls_of(method: Any, evaluation: Any, start: Plan) -> list[str]:
    plan = Plan(Store(Path("nowhere")))
    plan.sizes = dict(start.sizes)
    plan.sizes["0" * 32] = next(iter(start.sizes.values()))
    return [call.key for call in planned(plan, method, rounds=4, evaluation=evaluation)]


# Settings that matter only beside others; a setting must reach a key in one of the recipes.
BESIDE: dict[str, list[dict[str, Any]]] = {
    "spin": [{"sets_mixed": 2}],
    "sft": [{}],
    "diverse_evol": [
        {"selection": {"embedding": {"normalise": "unit"}}},
        {"selection": {"by": "margin"}},
        {"selection": {"by": "perplexity"}},
        {"selection": {"by": "k-means", "quality": "ifd"}, "embedder": "external", "external_embedder": "scripted:eye"},
    ],
    "humpback": [
        {"grading": {"reading": "reasoned"}, "max_unread": 0.9},
        {"optimisation": {"steps_by_examples": None, "batch_size": 8}},
    ],
    "i_sheep": [
        {"assessment": {"reading": "reasoned", "threshold": 1, "max_unread": 0.9}},
        {"assessment": {"rubrics": [asdict(ADDITIVE)], "reading": "distribution", "threshold": 1}},
        {"assessment": {"keep_by": "perplexity"}},
        {"assessment": {"keep_by": "density"}},
    ],
    "self_align": [{"probes": "embedded:red-teaming#train#6", "identity": "embedded:identity#train#4"}],
    "soft": [{"principles": "corpus:python-docs#1"}, {"difficulty": "answer-first"}],
}


# What a recipe may do changes no result; it is asked before anything is made.
PERMISSIONS = ("allow_code_execution", "allow_contamination")


def test_every_setting_of_a_suite_reaches_a_key(tmp_path: Path) -> None:
    settings = settings_of("sft", tmp_path)
    settings["evaluate"]["dev"]["suites"] = [
        {"name": "gsm8k", "items": "embedded:sample-gsm8k#dev"}, {"name": "mmlu", "items": "embedded:sample-mmlu#dev"},
    ]  # fmt: skip
    start = Plan(Store(Path("nowhere")))
    built, evaluation = checked_recipe(settings, where="recipe", name="law").build(start)
    read, chosen = evaluation.dev.suites
    start.sizes["0" * 32] = Size(8, 80, 80)
    keys = [
        calls_of(built, replace(evaluation, dev=replace(evaluation.dev, suites=some)), start)
        for some in (
            (), (read,), (chosen,), (read, chosen), (replace(read, items=Table("0" * 32)), chosen),
            (replace(read, max_new_tokens=7), chosen), (replace(read, name="squad"), chosen),
            (read, replace(chosen, form="answers")), (read, replace(chosen, name="hhh", form="letters")),
            (read, replace(chosen, items=Table("0" * 32))),
        )
    ]  # fmt: skip
    assert len({tuple(some) for some in keys}) == len(keys)


@every_method
def test_every_setting_reaches_a_key(method: str, tmp_path: Path) -> None:
    reached, seen = set(), set()
    for changes in BESIDE[method]:
        settings = settings_of(method, tmp_path, **{"lora": {"r": 4}, **changes})
        recipe = checked_recipe(settings, where="recipe", name="law")
        start = Plan(Store(Path("nowhere")))
        built, evaluation = recipe.build(start)
        before = calls_of(built, evaluation, start)
        for path, other in variants(built):
            if path in METHODS[method].replaced:
                continue  # refused in a recipe; the schedule that replaces it is checked instead
            seen.add(path)
            if calls_of(other, evaluation, start) != before:
                reached.add(path)
        for path, other in variants(evaluation):
            if path in PERMISSIONS or path.endswith((".suites", ".lm_eval")):
                continue  # suites have a law of their own; what lm_eval is told is tested in test_harness
            assert calls_of(built, other, start) != before, f"evaluate.{path} reaches no key"
    assert seen - reached == set(), f"settings of {method} that reach no key"
    assert seen >= {"base", DATA[method], "seed", "lora.r", "rendering.max_length"}
