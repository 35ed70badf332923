"""The whole real code path on the toy model: transformers engine, default trainer, SPIN, two processes too few."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from selfalign.playing import Played, play_recipe
from selfalign.store import Store

pytest.importorskip("torch")

REHEARSAL = Path(__file__).parents[2] / "recipes" / "spin-rehearsal.yaml"


def written(folder: Path) -> Path:
    """A shorter rehearsal: one round; the demonstrations fill two shards."""
    settings: dict[str, Any] = yaml.safe_load(REHEARSAL.read_text("utf-8"))
    settings["name"] = "short-rehearsal"
    settings["rounds"] = 1
    settings["method"]["demonstrations"] = "embedded:toy-tasks#train#144"
    settings["place"] = {"device": "cpu", "store": str(folder / "store")}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Played]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, play_recipe(written(folder), [], folder / "run")


def the_record(folder: Path, stage: str) -> dict[str, Any]:
    store = Store(folder / "store")
    return next(record for record in map(store.record, store.finished()) if record["stage"] == stage)


def test_the_first_real_batch_has_loss_ln_2_and_no_margin(undisturbed: tuple[Path, Played]) -> None:
    first = the_record(undisturbed[0], "train")["notes"]["steps"][0]
    assert first["loss"] == pytest.approx(0.6931472, abs=1e-4)
    assert first["margin"] == pytest.approx(0.0, abs=1e-3)


def test_a_real_round_of_spin_lowers_held_out_nll_significantly(undisturbed: tuple[Path, Played]) -> None:
    outcome = undisturbed[1].outcome
    for split in ("dev", "test"):
        change = outcome.scores[1][split]["nll"].against_base
        assert change is not None
        assert change.high < 0, f"{split}: {change.describe()}"
    assert outcome.beat_base


def test_the_kept_model_loads_with_plain_from_pretrained(undisturbed: tuple[Path, Played]) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = undisturbed[0] / "run" / "model"
    model = AutoModelForCausalLM.from_pretrained(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
    assert tokenizer.chat_template
    assert model.num_parameters() > 500_000


@pytest.mark.slow
def test_a_real_run_killed_in_generation_scoring_and_training_ends_with_the_same_weights(
    undisturbed: tuple[Path, Played], tmp_path: Path
) -> None:
    recipe, script = written(tmp_path), Path(__file__).with_name("dying.py")
    for stage, rows in (("generate", 130), ("score_pairs", 20), ("train", 60)):
        command = [sys.executable, str(script), str(recipe), str(tmp_path / "run"), stage, str(rows)]
        died = subprocess.run(command, capture_output=True, text=True, check=False)
        assert died.returncode == -signal.SIGKILL, died.stderr
    play_recipe(recipe, [], tmp_path / "run")
    before, after = Store(undisturbed[0] / "store"), Store(tmp_path / "store")
    assert after.finished() == before.finished()
    for key in before.finished():
        assert after.record(key)["files"] == before.record(key)["files"], before.record(key)["stage"]
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text("utf-8").splitlines()]
    undisturbed_metrics = (undisturbed[0] / "run/metrics.jsonl").read_text("utf-8").splitlines()
    assert metrics == [json.loads(line) for line in undisturbed_metrics]
