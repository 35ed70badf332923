"""A recipe that trains on what it measures with is refused, and the row, the item and the text are shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from public_files import PUBLIC
from scripted_recipes import DATA, NAMES, settings_of
from selfalign import contamination
from selfalign.cli import main
from selfalign.config import read_recipe
from selfalign.contamination import Items, Named, refuse_contaminated
from selfalign.data.sources import EMBEDDED, pinned
from selfalign.errors import RecipeError
from selfalign.playing import plan_recipe
from selfalign.suites import SUITES

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
PROBLEM = "A baker fills 7 trays with 12 rolls each and sells 59 rolls. How many rolls are left?"
FILLED = [
    {"id": f"own-{n}", "instruction": f"Count up to {n} by ones.", "output": f"{n} it is."} for n in range(20, 60)
]


def recipe(folder: Path, rows: list[dict[str, Any]], *, method: str = "sft", **evaluate: Any) -> Path:
    """A scripted recipe that learns from these rows."""
    data = folder / "own.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in [*FILLED, *rows]))
    settings = settings_of(method, folder / "store", **{DATA[method]: str(data)})
    settings["evaluate"].update(evaluate)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def suites(**files: str) -> dict[str, Any]:
    held_out = {"held_out": "embedded:house-style#test#12"}
    return {"test": held_out | {"suites": [{"name": name, "items": items} for name, items in files.items()]}}


def refusal(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        plan_recipe(path, [])
    return str(caught.value)


@pytest.mark.parametrize("method", NAMES)
def test_every_method_is_refused_what_it_is_measured_with(method: str, tmp_path: Path) -> None:
    leak = {"id": "leak", "instruction": f"Hello! {PROBLEM} Think first.", "output": "25"}
    said = refusal(recipe(tmp_path, [leak], method=method, **suites(gsm8k="embedded:sample-gsm8k#test")))
    assert f"method.{DATA[method]}: 1 of 41 rows of {tmp_path}/own.jsonl" in said
    assert "'leak' shares 13 words with 'gsm8k-01' of evaluate.test.suites.0.items (embedded:sample-gsm8k#test)" in said
    assert "“A baker fills 7 trays with 12 rolls each and sells 59 rolls”" in said
    assert "evaluate.allow_contamination: true" in said
    assert not list((tmp_path / "store").glob("made/*")), "nothing was computed"


def test_a_refusal_ends_plan_and_run_with_2_and_a_permission_lets_them_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leak = {"id": "leak", "instruction": PROBLEM, "output": "25"}
    evaluate = suites(gsm8k="embedded:sample-gsm8k#test")
    path = str(recipe(tmp_path, [leak], **evaluate))
    for command in (["plan", path], ["run", path, "--output", str(tmp_path / "run")]):
        assert main(command) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "'leak' holds the whole prompt of 'gsm8k-01' of evaluate.test.suites.0.items" in said
    assert main(["plan", path, "-s", "evaluate.allow_contamination=true"]) == 0


LEAKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a prompt in the middle of a text": (
        suites(triviaqa="embedded:sample-triviaqa#dev"),
        {"instruction": "Quiz. In which city does the Eiffel Tower stand? Say it.", "output": "Paris"},
    ),
    "a short prompt that is a text": (
        suites(triviaqa="embedded:sample-triviaqa#dev"),
        {"instruction": "what IS frozen water called", "output": "Ice"},
    ),
    "an item in the answer": (
        suites(squad="embedded:sample-squad#dev"),
        {
            "instruction": "Tell me of ferries.",
            "output": "It carries twelve cars or eighty people and is pulled along a steel cable, they say.",
        },
    ),
    "a sentence of WinoGrande, filled": (
        suites(winogrande="embedded:sample-winogrande#test"),
        {"instruction": "Say something.", "output": "Nora lent Petra an umbrella because Petra had none with her."},
    ),
    "a stem of ARC": (
        suites(hhh="embedded:multiple-choice#test", arc_easy="embedded:sample-arc#dev"),
        {"instruction": "Which change turns liquid water into water vapor?", "output": "It is evaporation."},
    ),
    "a prompt over two fields": (
        suites(triviaqa="embedded:sample-triviaqa#dev"),
        {"instruction": "In which city does the", "input": "Eiffel Tower stand?", "output": "Paris"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS)
def test_whatever_holds_an_item_is_found(leak: str, tmp_path: Path) -> None:
    evaluate, row = LEAKS[leak]
    assert ": 1 of 41 rows of" in refusal(recipe(tmp_path, [{"id": "leak", **row}], **evaluate))


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "A baker fills 7 trays with 12 rolls each and sells", "output": "twelve words are too few"},
        {"instruction": "Which is it: what is frozen water called?", "output": "A prompt of five words in another"},
        {"instruction": "Frozen water, how is it called?", "output": "Ice"},
    ],
)
def test_what_is_merely_alike_is_not(row: dict[str, Any], tmp_path: Path) -> None:
    evaluate = suites(gsm8k="embedded:sample-gsm8k#test", triviaqa="embedded:sample-triviaqa#dev")
    plan_recipe(recipe(tmp_path, [{"id": "alike", **row}], **evaluate), [])


def test_a_held_out_row_trained_on_is_found(tmp_path: Path) -> None:
    path = recipe(tmp_path, [], dev={"held_out": str(tmp_path / "own.jsonl"), "checks": ["house_style"]})
    said = refusal(path)
    assert "40 of 40 rows" in said
    assert said.count("holds the whole prompt of") == 5, "a few are shown"
    assert "… and 35 more" in said


TEMPLATE = "Below is an instruction that describes a task. Write a response that appropriately completes the request: "


def templated(name: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{name}-{n}", "prompt": f"{TEMPLATE}{name} {n}", "response": f"{name}!"} for n in range(count)]


@pytest.mark.parametrize(("items", "rows", "found"), [(20, 5, 0), (2, 20, 0), (2, 5, 5), (10, 10, 10), (11, 1, 0)])
def test_a_template_is_nobodys_own(items: int, rows: int, found: int, tmp_path: Path) -> None:
    for name, count in (("measured", items), ("learned", rows)):
        text = "".join(json.dumps(row) + "\n" for row in templated(name, count))
        (tmp_path / f"{name}.jsonl").write_text(text)
    files = {name: Named(f"a.{name}", pinned(str(tmp_path / f"{name}.jsonl"))) for name in ("learned", "measured")}
    assert sum(one.rows for one in contamination.contaminated([files["learned"]], [files["measured"]])) == found
    assert contamination.contaminated([files["measured"]], [files["measured"]])[0].rows == items, "whole prompts count"


@pytest.mark.parametrize("count", [1, 10, 40])
def test_an_item_that_leaked_into_many_rows_is_no_template(count: int, tmp_path: Path) -> None:
    leaks = [
        {"id": f"leak-{n}", "instruction": f"### Instruction:\n{PROBLEM}\n### Response:", "output": f"Try {n}: 25"}
        for n in range(count)
    ]
    said = refusal(recipe(tmp_path, leaks, **suites(gsm8k="embedded:sample-gsm8k#test")))
    assert f": {count} of {40 + count} rows of" in said
    assert "'leak-0' shares 13 words with 'gsm8k-01'" in said


def test_a_message_of_a_conversation_is_no_item_by_itself() -> None:
    known = Items()
    known.add("talk", [("Can you give me another example, please?", False)])
    assert known.hit({"instruction": "Can you give me another example, please?"}, 1) is None
    known.add("item", [("Can you give me another example, please?", True)])
    assert known.hit({"instruction": "Can you give me another example, please?"}, 1) is not None


def test_a_clean_answer_is_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = recipe(tmp_path, [], **suites(gsm8k="embedded:sample-gsm8k#test"))
    plan_recipe(path, [])
    monkeypatch.setattr(contamination, "SECONDS_WORTH_REMEMBERING", 0)
    plan_recipe(path, [])
    assert not (tmp_path / "store").exists(), "a plan makes no store"
    (tmp_path / "store").mkdir()
    plan_recipe(path, [])
    assert len(list((tmp_path / "store" / "clean").iterdir())) == 1
    looked: list[int] = []
    whole = contamination.contaminated
    counted: Callable[..., Any] = lambda *given: looked.append(1) or whole(*given)  # noqa: E731
    monkeypatch.setattr(contamination, "contaminated", counted)
    plan_recipe(path, [])
    assert not looked
    with (tmp_path / "own.jsonl").open("a") as file:
        file.write(json.dumps({"id": "leak", "instruction": PROBLEM, "output": "25"}) + "\n")
    assert "'leak'" in refusal(path)
    assert looked


@pytest.mark.parametrize("name", sorted(path.name for path in RECIPES.glob("*.yaml")))
def test_no_shipped_recipe_learns_from_what_it_measures_with(name: str, tmp_path: Path) -> None:
    try:
        found = read_recipe(RECIPES / name)
    except RecipeError as error:
        if "no such file" not in str(error):
            raise
        pytest.skip(f"the data of {name} is not here")
    refuse_contaminated(found.checked, found.method, store=tmp_path)


def test_the_shipped_samples_are_in_no_shipped_training_data() -> None:
    suite_of = {"sample-arc": "arc_easy"} | {f"sample-{name}": name for name in SUITES}
    known = Items()
    for name, suite in suite_of.items():
        if name not in EMBEDDED:
            continue
        for split in EMBEDDED[name]:
            source = replace(pinned(f"embedded:{name}#{split}"), suite=suite)
            for row in contamination.rows_of(Named("evaluate.items", source)):
                known.add(row.id, contamination.said_in(row))
    for name, splits in EMBEDDED.items():
        if "train" in splits:
            assert known.found_in(Named(name, pinned(f"embedded:{name}#train"))).rows == 0


def test_a_published_training_file_is_looked_through_quickly() -> None:
    learned, measured = PUBLIC / "sft" / "gsm8k_train.jsonl", PUBLIC / "eval" / "gsm8k_test.jsonl"
    if not learned.exists():
        pytest.skip("the public files are not there")
    began = time.process_time()
    (found,) = contamination.contaminated(
        [Named("method.demonstrations", pinned(str(learned)))], [Named("evaluate.dev.held_out", pinned(str(measured)))]
    )
    assert (found.of, found.rows) == (7473, 10), "problems with the wording of others, as GPT-3's rule finds them"
    assert time.process_time() - began < 10
