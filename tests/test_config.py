"""Recipes: what is shipped plans, what is resolved reads back, overrides come before the check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scripted_recipes import DATA, NAMES, NEEDS, settings_of, written
from selfalign.config import Recipe, read_recipe
from selfalign.errors import RecipeError, SelfAlignError
from selfalign.playing import calls_of
from selfalign.store import Store

SHIPPED = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
MOST_LINES = 40


def shipped(path: Path, tmp_path: Path) -> Recipe:
    """A shipped recipe; data that do not ship are replaced by a small file, a model on the hub is only named."""
    settings = yaml.safe_load(path.read_text())
    rows = "".join(f'{{"prompt": "say {n}", "completion": "{n}"}}\n' for n in range(1200))
    (tmp_path / "row.jsonl").write_text(rows)
    overrides = []
    data = DATA[settings["method"]["name"]]
    places = [(f"method.{data}", settings["method"].get(data))]
    if not str(settings["method"].get("corpus", "corpus:")).startswith("corpus:"):
        overrides.append("method.corpus=corpus:python-docs#20")
    for split in ("dev", "test"):
        places.append((f"evaluate.{split}.held_out", settings["evaluate"].get(split, {}).get("held_out")))
    for place, ref in places:
        if isinstance(ref, str) and not ref.startswith("embedded:"):
            file = tmp_path / f"{place}.jsonl"
            file.write_text(rows)
            overrides.append(f"{place}={file}")
    try:
        return read_recipe(path, overrides)
    except RecipeError as error:
        if "needs a package that is not installed" in str(error):
            pytest.skip("its embedded model is not installed here")
        raise


def keys(recipe: Recipe) -> list[str]:
    return [call.key for call in calls_of(recipe, Store(Path("nowhere")))]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_plans_and_is_short(path: Path, tmp_path: Path) -> None:
    recipe = shipped(path, tmp_path)
    assert len(keys(recipe)) > 5 * recipe.rounds
    assert recipe.name == path.stem
    assert len(path.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_resolved_recipe_reads_back_to_the_same_keys(path: Path, tmp_path: Path) -> None:
    recipe = shipped(path, tmp_path)
    (tmp_path / "resolved.yaml").write_text(recipe.text())
    again = read_recipe(tmp_path / "resolved.yaml")
    assert keys(again) == keys(recipe)
    assert again.text() == recipe.text()


@pytest.mark.parametrize("method", NAMES)
def test_a_resolved_recipe_says_every_setting(method: str, tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, settings_of(method, tmp_path)))
    said = yaml.safe_load(recipe.text())
    assert set(said) == {"name", "method", "rounds", "evaluate", "stop", "guard", "place"}
    assert said["method"]["optimisation"]["max_grad_norm"] == 1.0
    assert said["method"][DATA[method]] == NEEDS[method][DATA[method]]
    assert said["evaluate"]["instruction_sampling"] == said["evaluate"]["sampling"] | {"temperature": 0.0}
    assert said["place"]["rows_at_once"] == 64


def test_a_block_given_in_part_keeps_the_methods_other_values(tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of("spin", tmp_path))
    for override, expected in (
        ("method.optimisation={batch_size: 3}", ("rmsprop", 2, 3)),
        ("method.optimisation={optimiser: adamw}", ("adamw", 2, 64)),
        ("method.optimisation.num_train_epochs=5", ("rmsprop", 5, 8)),
    ):
        found: Any = yaml.safe_load(read_recipe(recipe, [override]).text())["method"]["optimisation"]
        assert (found["optimiser"], found["num_train_epochs"], found["batch_size"]) == expected
    partial = read_recipe(recipe, ["method.generation_rendering.system=be brief"]).settings["method"]
    assert partial["generation_rendering"]["prompt"] == "instruction-response"
    greedy = read_recipe(recipe, ["evaluate.instruction_sampling={max_new_tokens: 9}"]).settings["evaluate"]
    assert greedy["instruction_sampling"]["temperature"] == 0.0


def test_saying_a_default_changes_no_key(tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of("spin", tmp_path))
    before = keys(read_recipe(recipe))
    for override in ("method.seed=42", "method.sampling={temperature: 1}", "method.beta=[0.1, 0.1, 0.1, 5]"):
        assert keys(read_recipe(recipe, [override])) == before, override
    assert keys(read_recipe(recipe, ["method.seed=43"])) != before


def test_overrides_are_put_in_before_anything_is_checked(tmp_path: Path) -> None:
    settings = settings_of("spin", tmp_path)
    settings["rounds"], settings["method"]["beta"] = "wrong", "wrong too"
    recipe = written(tmp_path, settings)
    with pytest.raises(RecipeError, match="2 faults"):
        read_recipe(recipe)
    found = read_recipe(recipe, ["rounds=2", "method.beta=[0.1, 0.5]", "rounds=1"])
    assert found.rounds == 1, "the last override holds"
    assert found.settings["method"]["beta"] == [0.1, 0.5]


def test_an_override_makes_the_blocks_it_needs(tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of("spin", tmp_path))
    found = read_recipe(recipe, ["method.lora.r=4", "method.sampling.top_k=7", "stop.patience=2"])
    assert found.settings["method"]["lora"]["r"] == 4
    assert found.settings["method"]["lora"]["alpha"] == 32.0
    assert found.settings["method"]["sampling"]["top_k"] == 7
    assert found.stop.patience == 2


def test_a_lone_value_serves_as_a_list_of_one(tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of("spin", tmp_path))
    lone = ["method.beta=0.3", "method.learning_rate=1e-4", "evaluate.dev.checks=house_style"]
    listed = ["method.beta=[0.3]", "method.learning_rate=[0.0001]", "evaluate.dev.checks=[house_style]"]
    assert keys(read_recipe(recipe, lone)) == keys(read_recipe(recipe, listed))


def test_a_recipe_is_named_after_its_file_unless_it_says_otherwise(tmp_path: Path) -> None:
    settings = settings_of("spin", tmp_path)
    assert read_recipe(written(tmp_path, settings)).name == "spin-law"
    del settings["name"]
    assert read_recipe(written(tmp_path, settings)).name == "recipe"


def test_every_error_of_a_recipe_is_one_the_command_line_shows() -> None:
    with pytest.raises(SelfAlignError):
        read_recipe(Path("/nowhere.yaml"))
