"""lm-evaluation-harness as a program beside selfalign: its files as version 0.4.13 writes them, read item by item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripted_recipes import settings_of
from selfalign import weights
from selfalign.cli import main
from selfalign.config import read_recipe
from selfalign.engines.scripted import ScriptedEngine
from selfalign.errors import RecipeError, StageError
from selfalign.executors.local import Here
from selfalign.harness.names import metric_of, name_of
from selfalign.harness.reading import read_output
from selfalign.harness.settings import LmEval, pinned_tasks
from selfalign.loop import Plan, Stop
from selfalign.report.table import metrics_of, number
from selfalign.run import Run
from selfalign.stage import asking
from selfalign.stages.evaluate import metric_named
from selfalign.stages.harness import lm_eval_results, measured_by_harness
from selfalign.store import Store
from selfalign.trainers.scripted import ScriptedTrainer
from selfalign.types import Model, Result

TOY = "embedded:toy"
STAMP = "2026-11-22T16-19-33.913671"


def sample(
    doc: int, metrics: dict[str, Any], *, filtered: str = "none", reply: str = "4", read: str = ""
) -> dict[str, Any]:
    """A line as lm-eval 0.4.13 logs it."""
    return {
        "doc_id": doc, "doc": {"question": f"What is {doc}?"}, "target": "4",
        "arguments": {"gen_args_0": {"arg_0": f"What is {doc}?", "arg_1": {"until": ["\n"]}}},
        "resps": [[reply]], "filtered_resps": [read or reply], "filter": filtered, "metrics": list(metrics),
        "doc_hash": f"{doc:08x}" * 8, "prompt_hash": "c8d6" * 16, "target_hash": "5fec" * 16, **metrics,
    }  # fmt: skip


def reported(task: str, results: dict[str, Any], better: dict[str, Any], items: int) -> dict[str, Any]:
    """A results file as lm-eval 0.4.13 writes it, the parts that say nothing of numbers left out."""
    return {
        "results": {task: {"name": task, "alias": task, "sample_len": items, **results}},
        "group_subtasks": {}, "versions": {task: "Yaml"}, "n-shot": {task: 0}, "higher_is_better": {task: better},
        "n-samples": {task: {"original": 8, "effective": items}}, "lm_eval_version": "0.4.13",
        "config": {"model": "hf", "batch_size": "8", "limit": float(items)}, "git_hash": None,
    }  # fmt: skip


def written(
    folder: Path, task: str, samples: list[dict[str, Any]], results: dict[str, Any], better: dict[str, Any]
) -> Path:
    """The output folder of a task."""
    place = folder / "__tmp__model"
    place.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in samples)
    if samples:
        (place / f"samples_{task}_{STAMP}.jsonl").write_text(lines, "utf-8")
    items = len({one["doc_id"] for one in samples})
    (place / f"results_{STAMP}.json").write_text(json.dumps(reported(task, results, better, items)), "utf-8")
    return folder


# -------------------------------------------------------------------------------------------------- reading


def test_a_metric_is_read_for_every_item_and_filter(tmp_path: Path) -> None:
    samples = [
        sample(doc, {"exact_match": float(doc == 1)}, filtered=filtered, reply="= 4", read="4")
        for filtered in ("strict", "flexible")
        for doc in range(3)
    ]
    results = {"exact_match,strict": 1 / 3, "exact_match_stderr,strict": 0.3, "exact_match,flexible": 1 / 3}
    reading = read_output(written(tmp_path, "sums", samples, results, {"exact_match": True}))
    assert reading.version == "0.4.13"
    names = {"lm_eval/sums/exact_match,strict", "lm_eval/sums/exact_match,flexible"}
    assert {one.suite for one in reading.results} == names
    assert [one.value for one in reading.results if one.suite.endswith("strict")] == [0.0, 1.0, 0.0]
    assert (reading.results[0].reply, reading.results[0].why) == ("= 4", "read as '4'")
    assert len({one.id for one in reading.results}) == 3


def test_judgements_of_one_item_count_by_their_number(tmp_path: Path) -> None:
    lists = [[True, False, False], [True]]
    samples = [sample(doc, {"inst_level_strict_acc": lists[doc]}) for doc in range(2)]
    results = {"inst_level_strict_acc,none": 0.5}
    found = read_output(written(tmp_path, "ifeval", samples, results, {"inst_level_strict_acc": True})).results
    assert sum(one.value or 0.0 for one in found) / 2 == pytest.approx(0.5)


def test_bits_per_byte_count_by_bytes_and_a_perplexity_is_no_mean_of_items(tmp_path: Path) -> None:
    # As lm-eval 0.4.13 reported it for SmolLM2-135M-Instruct over two sentences.
    pairs = [(-42.53763961791992, 6, 23), (-55.0, 8, 37)]
    samples = [
        sample(doc, {"word_perplexity": [nats, words], "bits_per_byte": [nats, size]})
        for doc, (nats, words, size) in enumerate(pairs)
    ]
    bits = -sum(one[0] for one in pairs) / sum(one[2] for one in pairs) / 0.6931471805599453
    results = {"word_perplexity,none": 1077.26, "word_perplexity_stderr,none": "N/A", "bits_per_byte,none": bits}
    reading = read_output(
        written(tmp_path, "pages", samples, results, {"word_perplexity": False, "bits_per_byte": False})
    )
    assert {one.suite for one in reading.results} == {"lm_eval_lower/pages/bits_per_byte"}
    assert reading.whole_only == {"lm_eval_lower/pages/word_perplexity": 1077.26}


def test_what_is_not_the_mean_that_was_reported_is_no_number(tmp_path: Path) -> None:
    samples = [sample(doc, {"f1": float(doc)}) for doc in range(3)]
    with pytest.raises(StageError, match=r"no value for single items, only lm_eval/t/f1"):
        read_output(written(tmp_path, "t", samples, {"f1,none": 0.9}, {"f1": True}))


@pytest.mark.parametrize("value", [float("nan"), "yes", None])
def test_an_item_without_a_number_has_none_and_a_reason(value: Any, tmp_path: Path) -> None:
    samples = [sample(0, {"acc": value}), sample(1, {"acc": 1.0})]
    first, second = read_output(written(tmp_path, "t", samples, {"acc,none": 1.0}, {"acc": True})).results
    assert (first.value, first.why, second.value) == (None, "lm-eval gave no number", 1.0)


def test_missing_samples_are_an_error_not_a_number(tmp_path: Path) -> None:
    folder = written(tmp_path, "t", [sample(0, {"acc": 1.0})], {"acc,none": 1.0}, {"acc": True})
    (log,) = folder.rglob("samples_*")
    log.write_text("")
    with pytest.raises(StageError, match=r"wrote 0 samples of task 't' and says it measured 1"):
        read_output(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": {}, "n-samples": []}', '{"n-samples": {"t": 3}}'])
def test_a_file_of_another_form_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / f"results_{STAMP}.json").write_text(text)
    with pytest.raises(StageError, match=r"results_.*\.json and its samples are not as lm-eval 0\.4 writes them"):
        read_output(tmp_path)


def test_no_file_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="wrote no results"):
        read_output(tmp_path)


# ---------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(("higher", "better"), [(True, "higher"), (False, "lower"), (None, None)])
def test_a_name_says_which_side_is_better(higher: bool | None, better: str | None) -> None:
    name = name_of("arc_easy", "acc", "none", higher_is_better=higher)
    assert metric_named(name) == metric_of(name)
    assert (metric_named(name).better, metric_named(name).share) == (better, True)
    assert metric_named(name).name == name


def test_names_reach_tables_and_decisions() -> None:
    name = "lm_eval_lower/wikitext/bits_per_byte"
    assert metrics_of([{"scores": {"dev": {"mc1": {}, name: {}}}}], "dev") == ["mc1", name]
    assert number(name, 0.5) == "0.500"
    assert Stop(metric=name).improves(1.0, 2.0)


# --------------------------------------------------------------------------------------------- the program

# What stands for the package: the same arguments, files and messages, no model.
FAKE = """
import json, os, sys, time
options = dict(one.removeprefix("--").partition("=")[::2] for one in sys.argv[1:] if one.startswith("--"))
task, out = options["tasks"], options["output_path"]
print("progress:  50%|#####     | 1/2", file=sys.stderr)
seen = {"argv": sys.argv, "cwd": os.getcwd(), "offline": os.environ.get("HF_HUB_OFFLINE"),
        "config": os.path.exists(options["model_args"].split(",")[0].removeprefix("pretrained=") + "/config.json")}
with open(os.environ["SEEN"], "a") as handle:
    handle.write(json.dumps(seen) + "\\n")
if task == "nosuch":
    raise ValueError(f"Tasks not found: {task}")
if task == "crash":
    raise ConnectionError("Couldn't reach 'allenai/ai2_arc' on the Hub (OfflineModeIsEnabled) \\x1b[31m")
if task == "slow":
    time.sleep(600)
place = os.path.join(out, "__tmp__model")
os.makedirs(place)
samples, results = json.load(open(os.environ["GIVES"]))
if task != "nothing":
    with open(os.path.join(place, f"samples_{task}_STAMP.jsonl"), "w") as handle:
        handle.writelines(json.dumps(one) + "\\n" for one in samples)
with open(os.path.join(place, "results_STAMP.json"), "w") as handle:
    json.dump({name: {task: part} for name, part in results.items()} | {"lm_eval_version": "0.4.13"}, handle)
"""


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package lm_eval that does as the real one; gives the file in which it tells how it was called."""
    package = tmp_path / "packages" / "lm_eval"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(FAKE)
    samples = [sample(doc, {"acc": float(doc % 2)}) for doc in range(4)]
    results = {
        "results": {"acc,none": 0.5}, "higher_is_better": {"acc": True}, "n-samples": {"original": 4, "effective": 4}
    }  # fmt: skip
    (tmp_path / "gives.json").write_text(json.dumps([samples, results]))
    monkeypatch.setenv("GIVES", str(tmp_path / "gives.json"))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen.jsonl"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    paths = [str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(str(package.parent))
    return tmp_path / "seen.jsonl"


@pytest.fixture
def measured(tmp_path: Path) -> Callable[..., list[Result]]:
    """Measures the toy model, or another one, in a store of the test."""

    def measure(settings: LmEval, model: Model | None = None) -> list[Result]:
        store = Store(tmp_path / "store")
        with asking(Run(store, Here(), ScriptedEngine(), ScriptedTrainer())):
            tables = measured_by_harness(model or weights.pinned(TOY), settings)
        return [row for table in tables for row in store.rows(table.key)]

    return measure


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "own.yaml").write_text("task: own\n")
    (folder / "own.jsonl").write_text("{}\n")
    return folder


def seen(harness: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in harness.read_text().splitlines()] if harness.exists() else []


def test_every_task_is_measured_once_and_remembered(
    harness: Path, tasks: Path, measured: Callable[..., list[Result]], tmp_path: Path
) -> None:
    settings = LmEval(tasks=("own", "arc_easy"), include_path=pinned_tasks(str(tasks)), limit=4, num_fewshot=0)
    found = measured(settings)
    assert [one.value for one in found] == [0.0, 1.0, 0.0, 1.0] * 2
    assert {one.suite for one in found} == {"lm_eval/own/acc", "lm_eval/arc_easy/acc"}
    first = seen(harness)[0]
    assert first["argv"][1:4] == ["run", "--model", "hf"]
    assert {"--limit=4", "--num_fewshot=0", "--tasks=own", "--log_samples", f"--include_path={tasks}"} <= set(
        first["argv"]
    )
    assert (first["cwd"], first["offline"], first["config"]) == (str(tasks), "1", True)
    measured(settings)
    assert len(seen(harness)) == 2
    store = Store(tmp_path / "store")
    assert [store.record(key)["notes"]["lm_eval"] for key in store.finished()] == ["0.4.13"] * 2


def test_what_is_measured_bears_identity_and_how_long_it_may_take_does_not(
    harness: Path, tasks: Path, measured: Callable[..., list[Result]]
) -> None:
    measured(LmEval(tasks=("own",), include_path=pinned_tasks(str(tasks))))
    measured(LmEval(tasks=("own",), include_path=pinned_tasks(str(tasks)), batch_size=2, time_limit_minutes=5))
    assert len(seen(harness)) == 1
    measured(LmEval(tasks=("own",), include_path=pinned_tasks(str(tasks)), apply_chat_template=True))
    assert "--apply_chat_template" in seen(harness)[1]["argv"]
    (tasks / "own.jsonl").write_text('{"changed": 1}\n')
    measured(LmEval(tasks=("own",), include_path=pinned_tasks(str(tasks))))
    assert len(seen(harness)) == 3


def test_a_folder_whose_name_has_a_comma_is_loaded_all_the_same(
    harness: Path, tmp_path: Path, measured: Callable[..., list[Result]]
) -> None:
    folder = tmp_path / "model,revision=1"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    measured(LmEval(tasks=("own",)), weights.pinned(f"path:{folder}"))
    assert seen(harness)[0]["config"]


def test_an_unknown_task_is_named(harness: Path, measured: Callable[..., list[Result]]) -> None:
    with pytest.raises(RecipeError, match=r"lm-eval knows no task 'nosuch'.*ls tasks"):
        measured(LmEval(tasks=("nosuch",)))


def test_a_crash_shows_how_its_output_ended(
    harness: Path, measured: Callable[..., list[Result]], tmp_path: Path
) -> None:
    with pytest.raises(StageError, match=r"failed on crash \(exit code 1\); its data are on the hub") as caught:
        measured(LmEval(tasks=("crash",)))
    assert "OfflineModeIsEnabled" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "%|" not in str(caught.value)
    assert Store(tmp_path / "store").finished() == []


def test_what_one_task_found_is_kept_when_another_fails(
    harness: Path, measured: Callable[..., list[Result]], tmp_path: Path
) -> None:
    with pytest.raises(StageError):
        measured(LmEval(tasks=("own", "crash")))
    assert len(Store(tmp_path / "store").finished()) == 1


def test_no_samples_are_an_error(harness: Path, measured: Callable[..., list[Result]]) -> None:
    with pytest.raises(StageError, match="wrote 0 samples of task 'nothing'"):
        measured(LmEval(tasks=("nothing",)))


def test_it_is_stopped_at_its_time_limit_and_leaves_nothing_running(
    harness: Path, measured: Callable[..., list[Result]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = LmEval(tasks=("slow",), time_limit_minutes=0)  # the edge refuses 0; here it is the shortest wait
    started = time.monotonic()
    with pytest.raises(StageError, match=r"stopped after 0 minutes: raise lm_eval\.time_limit_minutes"):
        measured(settings)
    assert time.monotonic() - started < 60


PARENT = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-m", "selfalign.harness.beside", "sleeper"], start_new_session=True)
time.sleep(600)
"""


def test_the_program_ends_when_a_killed_run_leaves_it_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "pid"
    (tmp_path / "sleeper.py").write_text(
        f"import os, time\nopen({str(told)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", PARENT]) as parent:
        deadline = time.monotonic() + 60
        while not (told.exists() and told.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        parent.kill()
    pid = int(told.read_text())
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(pid)


def runs(pid: int) -> bool:
    """Whether a process is at work; one that ended and that nobody asked about is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# ---------------------------------------------------------------------------------------------- recipes


def recipe(tmp_path: Path, base: str = TOY, **lm_eval: Any) -> Path:
    settings = deepcopy(settings_of("sft", tmp_path / "store"))
    settings["method"]["base"] = base
    settings["evaluate"]["dev"]["lm_eval"] = lm_eval
    if base == TOY:
        settings["place"] = {"store": str(tmp_path / "store"), "device": "cpu"}
    path = tmp_path / "harness.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def test_a_recipe_names_tasks_and_keeps_their_folder(harness: Path, tasks: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tasks="own", include_path=str(tasks), limit=4)
    checked = read_recipe(path, ["stop.metric=lm_eval/own/acc"])
    assert checked.settings["evaluate"]["dev"]["lm_eval"]["include_path"] == str(tasks)
    _, evaluation = checked.build(Plan(Store(tmp_path / "store")))
    assert evaluation.dev.lm_eval == LmEval(tasks=("own",), include_path=pinned_tasks(str(tasks)), limit=4)
    again = tmp_path / "again.yaml"
    again.write_text(checked.text(), "utf-8")
    assert read_recipe(again).settings == {**checked.settings}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": []}, "tasks"),
        ({"tasks": "own", "limit": 0}, "greater than or equal to 1"),
        ({"tasks": "own", "include_path": "no-such-folder"}, "there is no such folder"),
        ({"tasks": "own", "task": "x"}, "did you mean 'tasks'"),
        ({"tasks": "own", "time_limit_minutes": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        read_recipe(recipe(tmp_path, **settings))


def test_a_folder_without_tasks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecipeError, match=r"holds no \.yaml file"):
        pinned_tasks(str(tmp_path / "empty"))


def test_a_metric_decides_only_where_the_harness_measures_on_dev(tmp_path: Path) -> None:
    path = recipe(tmp_path, tasks="own")
    with pytest.raises(RecipeError, match=r"stop\.metric 'lm_eval_neutral/own/acc'"):
        read_recipe(path, ["stop.metric=lm_eval_neutral/own/acc"])
    with pytest.raises(RecipeError, match=r"stop\.metric 'lm_eval/own/acc'"):
        read_recipe(path, ["stop.metric=lm_eval/own/acc", "evaluate.dev.lm_eval=null"])


def test_without_the_package_a_plan_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("selfalign.stages.harness.MODULE", "no_such_package_lm_eval")
    assert main(["plan", str(recipe(tmp_path, tasks="own"))]) == 2
    assert "pip install 'selfalign[lm-eval]'" in capsys.readouterr().err


def test_a_model_without_weights_is_refused_at_plan_time(
    harness: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(recipe(tmp_path, "scripted:novice", tasks="own"))]) == 2
    assert "has no weights that lm-eval could load" in capsys.readouterr().err


def test_a_plan_asks_for_each_task(harness: Path, tmp_path: Path) -> None:
    plan = Plan(Store(tmp_path / "store"))
    with asking(plan):
        measured_by_harness(weights.pinned(TOY), LmEval(tasks=("a", "b"), limit=3))
    assert [(call.call.stage, call.size.rows) for call in plan.calls] == [(lm_eval_results.name, 3)] * 2
