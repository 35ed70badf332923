"""What a user can get wrong: one message that names the place and the remedy, the right exit code, nothing lost."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripted_recipes import settings_of, written
from selfalign.cli import main
from selfalign.weights import TOY_FOLDER

USAGE, FAILED = 2, 1


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must fail with one message, and gives the message."""

    def run(code: int, *arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == code
        seen = capsys.readouterr().err
        assert seen.startswith("selfalign: ")
        assert "Traceback" not in seen
        return seen

    return run


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe without a fault."""
    return written(tmp_path, settings_of("spin", tmp_path / "store"))


def overridden(*overrides: str) -> list[str]:
    return [word for override in overrides for word in ("-s", override)]


# ------------------------------------------------------------------------------------------- recipes

ONE_FAULT = {
    "method.betta=[1]": ["method.betta: unknown key", "did you mean 'beta'?"],
    "method.optimisation.learning_rat=1": ["method.optimisation.learning_rat", "'learning_rate'"],
    "method.lora.rr=4": ["method.lora.rr", "known here: r, alpha"],
    "evaluate.dev.cheks=[house_style]": ["evaluate.dev.cheks", "'checks'"],
    "evaluate.dev.checks=[house_stile]": ["evaluate.dev.checks.0", "house_style"],
    "rounds=three": ["rounds: input should be a valid integer", "'three'"],
    "rounds=0": ["rounds", "greater than or equal to 1"],
    "rounds=true": ["rounds", "not true or false"],
    "method.seed=yes": ["method.seed", "not true or false"],
    "method.beta=[0.1, -1]": ["method.beta.1", "greater than 0"],
    "method.beta=[]": ["method.beta", "at least 1"],
    "method.beta=.nan": ["method.beta.0", "finite"],
    "method.lora.alpha=.inf": ["method.lora.alpha", "finite"],
    "method.optimisation.weight_decay=.inf": ["method.optimisation.weight_decay", "finite"],
    "method.sampling.top_p=1.5": ["method.sampling.top_p", "less than or equal to 1"],
    "method.sampling.length_percentile=.nan": ["method.sampling.length_percentile"],
    "method.loss=logit": ["method.loss", "'logistic'"],
    "method.base=embedded:smol": ["method.base", "did you mean 'embedded:smollm2'?"],
    "method.base=path:/nowhere/at/all": ["method.base", "no such folder"],
    "method.base=hf:org/name": ["method.base", "@<commit>"],
    "method.base=3": ["method.base", "named by text"],
    "name=../elsewhere": ["name", "plain name", "--output"],
    'name=""': ["name", "plain name"],
    "stop.metric=nlll": ["stop.metric 'nlll' is unknown", "did you mean 'nll'?"],
    "stop.metric=exact_match": ["stop.metric 'exact_match' is not measured on dev", "choose of"],
    "stop.metric=answer_words": ["stop.metric 'answer_words' has no better side", "choose of"],
    "place.engine=transformers": ["place.engine", "scripted models need both"],
    "method.base=embedded:toy": ["method.base", "real ones need neither"],
    "method=spin": ["method must be a mapping with 'name'"],
    "method.name=spim": ["method.name is 'spim'", "did you mean 'spin'?"],
    "method.name=[spin]": ["method.name is ['spin']", "known: "],
    "method.optimisation={1: 2}": ["method.optimisation.1", "keys should be strings"],
    "method.optimisation={batch_size: 4, batch_size: 5}": ["method.optimisation", "'batch_size' is given twice"],
    "rounds=[": ["override rounds", "not YAML"],
    "rounds": ["key.path=value"],
    "=3": ["key.path=value"],
    "rounds.most=3": ["'rounds' is a single value"],
    'method.rendering.system="\\ud800"': ["method.rendering.system", "surrogate"],
    "rounds=" + "[" * 3000 + "]" * 3000: ["override rounds", "nested too deeply"],
}


@pytest.mark.parametrize(("override", "parts"), ONE_FAULT.items(), ids=lambda value: str(value)[:40])
def test_a_fault_in_a_recipe_is_named_with_its_remedy(
    override: str, parts: list[str], recipe: Path, said: Callable[..., str], tmp_path: Path
) -> None:
    message = said(USAGE, "run", recipe, "-o", tmp_path / "run", "-s", override)
    for part in parts:
        assert part in message
    assert not (tmp_path / "run").exists(), "nothing was begun"
    assert not (tmp_path / "store").exists()


def test_all_faults_are_listed_at_once_and_counted(recipe: Path, said: Callable[..., str]) -> None:
    message = said(USAGE, "plan", recipe, *overridden("rounds=x", "method.betta=1", "evaluate.dev.sampling=3"))
    assert "has 3 faults" in message
    assert message.count("\n  ") == 3
    assert "has 1 fault:" in said(USAGE, "plan", recipe, "-s", "rounds=0")


TEXTS = {
    b"": "must hold a mapping",
    b"- method": "must hold a mapping",
    b"method: {name: spin": "not YAML",
    b"method:\n\t- x": "not YAML",
    b"rounds: 2\nrounds: 3\n": "'rounds' is given twice",
    b"? [a, b]\n: c\n": "a key must be a name",
    b"\xff\xfe\x00": "cannot be read",
    b"a: \x00": "not YAML",
    b"a: &a [*a]\n": "method must be a mapping",
    b"a: " + b"{b: " * 2000 + b"1" + b"}" * 2000: "nested too deeply",
    b"rounds: 3\n": "method must be a mapping",
}


@pytest.mark.parametrize(("text", "part"), TEXTS.items(), ids=lambda value: repr(value)[:24])
def test_a_text_that_is_no_recipe_is_refused(text: bytes, part: str, tmp_path: Path, said: Callable[..., str]) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(text)
    message = said(USAGE, "plan", path)
    assert part in message
    assert "odd.yaml" in message


def test_a_recipe_that_is_missing_or_a_folder_is_refused(tmp_path: Path, said: Callable[..., str]) -> None:
    assert "there is no recipe" in said(USAGE, "plan", tmp_path / "missing.yaml")
    assert "cannot be read" in said(USAGE, "plan", tmp_path)


def test_a_recipe_with_byte_order_mark_carriage_returns_and_other_scripts_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of("spin", tmp_path / "store") | {"name": "プラン-é"}
    settings["method"]["rendering"] = {"system": "réponds en français 🌍"}
    text = yaml.safe_dump(settings, allow_unicode=True).replace("\n", "\r\n")
    (tmp_path / "recipe.yaml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert main(["plan", str(tmp_path / "recipe.yaml")]) == 0
    assert "プラン-é" in capsys.readouterr().out


def test_merged_and_shared_parts_of_a_recipe_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = copy.deepcopy(settings_of("spin", tmp_path / "store"))
    del settings["evaluate"]["dev"]["checks"]
    text = yaml.safe_dump(settings).replace("  dev:\n", "  dev:\n    <<: &more {checks: [house_style]}\n")
    assert "<<" in text
    (tmp_path / "recipe.yaml").write_text(text)
    assert main(["plan", str(tmp_path / "recipe.yaml")]) == 0
    capsys.readouterr()


def test_usage_errors_exit_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["walk"], ["run"], ["plan", "a", "--frobnicate"], ["why", "only-a-key"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == USAGE
        assert "usage: selfalign" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- data


def lines(*rows: Any) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


GOOD = {"prompt": "say one", "completion": "one"}
DATA = {
    "no answer": (lines(GOOD, {"prompt": "say two"}), ["rows.jsonl", "line 2", "answer"]),
    "empty answer": (lines(GOOD, {"prompt": "x", "completion": ""}), ["line 2", "empty"]),
    "no JSON": (lines(GOOD, "{not json"), ["line 2", "not valid JSON"]),
    "no object": (lines(GOOD, "3"), ["line 2", "must be an object"]),
    "unknown keys": (lines({"promptt": "a", "complation": "b"}), ["line 1", "did you mean"]),
    "ids twice": (lines({"id": "a"} | GOOD, {"id": "a"} | GOOD), ["line 2", "'a'", "unique"]),
    "ids sometimes": (lines({"id": "a"} | GOOD, GOOD), ["line 2", "every row an id"]),
    "surrogate": (lines({"prompt": "\ud800", "completion": "b"}), ["line 1", "surrogate"]),
    "empty": ("", ["rows.jsonl", "empty"]),
    "blank": ("\n\n", ["rows.jsonl", "no row"]),
    "far down": (lines(*[GOOD] * 150, {"prompt": "say two"}), ["line 151", "answer"]),
}


@pytest.mark.parametrize(("text", "parts"), DATA.values(), ids=DATA.keys())
def test_faulty_data_is_named_by_file_and_line(
    text: str, parts: list[str], recipe: Path, said: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    message = said(
        USAGE, "run", recipe, "-o", tmp_path / "run", *overridden(f"method.demonstrations={tmp_path}/rows.jsonl")
    )
    for part in parts:
        assert part in message


def test_data_that_is_not_there_is_named_with_what_is(recipe: Path, said: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(GOOD))
    for ref, part in (
        (f"{tmp_path}/row.jsonl", "did you mean 'rows.jsonl'?"),
        (f"{tmp_path}/rows.jsonl#0", "a limit of 0 rows"),
        (f"{tmp_path}/rows.jsonl#many", "takes a number of rows"),
        (str(tmp_path), "is a folder"),
        ("embedded:house-style", "house-style#train"),
        ("embedded:house-style#train#0", "a limit of 0 rows"),
        ("embedded:hose-style#train", "'house-style'"),
        ("hub:org/name@main#train", "commit"),
    ):
        message = said(USAGE, "plan", recipe, "-s", f"method.demonstrations={json.dumps(ref)}")
        assert "method.demonstrations" in message
        assert part in message


def test_a_limit_takes_the_first_rows(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.jsonl").write_text(lines(*[GOOD] * 9, {"prompt": "without an answer"}))
    data = overridden(f"method.demonstrations={tmp_path}/rows.jsonl#9", "rounds=1")
    assert main(["plan", str(recipe), *data]) == 0
    assert " 9 " in capsys.readouterr().out


def test_an_empty_parquet_file_is_refused_with_its_name(recipe: Path, said: Callable[..., str], tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    empty = pa.table({"prompt": pa.array([], pa.string()), "completion": pa.array([], pa.string())})
    parquet.write_table(empty, tmp_path / "none.parquet")
    override = f"method.demonstrations={tmp_path}/none.parquet"
    assert "none.parquet" in said(USAGE, "run", recipe, "-o", tmp_path / "run", "-s", override)


# -------------------------------------------------------------------------------------------- models


def real_recipe(tmp_path: Path, model: Path) -> Path:
    """A recipe over a model folder, small enough for a test."""
    settings = settings_of("spin", tmp_path / "store", base=f"path:{model}", demonstrations="embedded:toy-tasks#dev#2")
    settings["evaluate"] = {"dev": {"held_out": "embedded:toy-tasks#dev#2"}, "sampling": {"max_new_tokens": 4}}
    settings |= {"stop": {"metric": "nll"}, "rounds": 1, "place": {"store": str(tmp_path / "store")}}
    return written(tmp_path, settings)


def test_a_model_without_chat_template_says_how_to_mend_it(tmp_path: Path, said: Callable[..., str]) -> None:
    model = tmp_path / "model"
    shutil.copytree(TOY_FOLDER, model)
    (model / "chat_template.jinja").unlink()
    config = json.loads((model / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    message = said(FAILED, "run", real_recipe(tmp_path, model), "-o", tmp_path / "run")
    for part in ("no chat template", "chat_template.jinja", "instruction-response", "base, stage", "kept:", "next:"):
        assert part in message


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_model_folder_that_lacks_a_part_is_refused_before_anything_runs(
    missing: str, tmp_path: Path, said: Callable[..., str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(TOY_FOLDER, model)
    (model / missing).unlink()
    message = said(USAGE, "run", real_recipe(tmp_path, model), "-o", tmp_path / "run")
    assert "method.base" in message
    assert "save_pretrained" in message


def test_weights_that_are_cut_short_are_one_message(tmp_path: Path, said: Callable[..., str]) -> None:
    model = tmp_path / "model"
    shutil.copytree(TOY_FOLDER, model)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    message = said(FAILED, "run", real_recipe(tmp_path, model), "-o", tmp_path / "run")
    assert "stage 'score_answers'" in message


# -------------------------------------------------------------------------------- folders without a run


@pytest.mark.parametrize("command", ["show", "report"])
def test_a_folder_without_a_run_is_said_to_hold_none(command: str, tmp_path: Path, said: Callable[..., str]) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "nowhere", tmp_path / "file"):
        assert "holds no run" in said(USAGE, command, place)


def test_why_without_a_run_or_with_an_unknown_or_ambiguous_key_says_so(
    recipe: Path, tmp_path: Path, said: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "holds no run" in said(USAGE, "why", "abc", tmp_path)
    assert main(["run", str(recipe), "-o", str(tmp_path / "run"), "-s", "rounds=1"]) == 0
    capsys.readouterr()
    assert "no call has a key starting with 'xyz'" in said(USAGE, "why", "xyz", tmp_path / "run")
    assert "calls have a key starting with ''" in said(USAGE, "why", "", tmp_path / "run")


def test_damaged_files_of_a_run_folder_are_said_to_hold_no_run(tmp_path: Path, said: Callable[..., str]) -> None:
    for text in ("[", "[]", "{}", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):
        (tmp_path / "recipe.yaml").write_text(text, "latin-1")
        (tmp_path / "plan.json").write_text(text, "latin-1")
        for command in ("show", "report"):
            assert "holds no run" in said(USAGE, command, tmp_path)
        assert "holds no run" in said(USAGE, "why", "a", tmp_path)


def test_a_run_folder_or_store_in_the_way_of_a_file_says_where_else(
    recipe: Path, tmp_path: Path, said: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("precious")
    message = said(FAILED, "run", recipe, "-o", tmp_path / "file")
    assert "--output" in message
    assert "Free some space" not in message
    assert "place.store" in said(FAILED, "run", recipe, "-o", tmp_path / "run", "-s", f"place.store={tmp_path}/file")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "partial").write_text("")
    assert "place.store" in said(FAILED, "run", recipe, "-o", tmp_path / "run", "-s", f"place.store={tmp_path}/half")
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("method", "override", "instead"),
    [
        ("spin", "method.optimisation.learning_rate=0.5", "method.learning_rate"),
        ("sft", "method.optimisation.num_train_epochs=9", "method.epochs"),
    ],
)
def test_a_setting_that_would_have_no_effect_is_refused(
    method: str, override: str, instead: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = written(tmp_path, settings_of(method, tmp_path / "store"))
    assert main(["plan", str(recipe), "-s", override]) == 2
    assert f"has no effect here; set {instead}" in capsys.readouterr().err
