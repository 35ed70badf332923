"""The loop: which round is kept, when it stops, and that the test split never decides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripted_recipes import settings_of
from selfalign.cli import main
from selfalign.config import checked_recipe
from selfalign.engines.scripted import ScriptedEngine
from selfalign.errors import StageError
from selfalign.executors.local import Here
from selfalign.loop import Outcome, Stop, play
from selfalign.measures.intervals import paired_difference
from selfalign.run import Run
from selfalign.store import Store
from selfalign.trainers.scripted import ScriptedTrainer

BY_LIKELIHOOD = Stop(metric="nll")


class Heard:
    """An observer that remembers rounds."""

    def __init__(self) -> None:
        self.rounds: list[Any] = []

    def hear(self, event: Any) -> None:
        if event["event"] == "round":
            self.rounds.append(dict(event))


def outcome_of(
    folder: Path,
    *,
    learns: float = 0.5,
    rounds: int = 3,
    stop: Stop = BY_LIKELIHOOD,
    method: str = "sft",
    **evaluate: Any,
) -> tuple[Outcome, Heard]:
    """Play a scripted method whose models learn, or forget, at a given pace."""
    settings = settings_of(method, folder)
    settings["evaluate"] = settings["evaluate"] | evaluate
    recipe = checked_recipe(settings, where="recipe", name="loop")
    heard = Heard()
    run = Run(Store(folder / "store"), Here(), ScriptedEngine(), ScriptedTrainer(learns), (heard,))
    built, evaluation = recipe.build(run)
    return play(run, built, rounds=rounds, evaluation=evaluation, stop=stop), heard


def means(outcome: Outcome, metric: str, split: str = "dev") -> list[float]:
    return [scores[split][metric].mean.mean for scores in outcome.scores]


def test_a_method_that_learns_keeps_its_last_round(tmp_path: Path) -> None:
    outcome, _ = outcome_of(tmp_path)
    assert means(outcome, "nll") == sorted(means(outcome, "nll"), reverse=True)
    assert (outcome.best, outcome.beat_base, outcome.stopped) == (3, True, "all rounds played")
    assert outcome.labels == ("base", "round 0", "round 1", "round 2")


def test_a_method_that_forgets_keeps_the_base(tmp_path: Path) -> None:
    outcome, heard = outcome_of(tmp_path, learns=-0.5)
    assert (outcome.best, outcome.beat_base) == (0, False)
    assert [event["best"] for event in heard.rounds] == ["base"] * 4
    assert outcome.models[outcome.best].ref == "scripted:novice"


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_stops_after_so_many_rounds_without_a_new_best(patience: int, tmp_path: Path) -> None:
    outcome, _ = outcome_of(tmp_path, learns=-0.5, rounds=9, stop=Stop(patience=patience))
    assert len(outcome.labels) == 1 + patience
    assert outcome.stopped == f"no better nll on dev for {patience} round{'s' if patience > 1 else ''}"


def test_patience_never_stops_a_method_that_goes_on_learning(tmp_path: Path) -> None:
    outcome, _ = outcome_of(tmp_path, stop=Stop(patience=1))
    assert (len(outcome.labels), outcome.stopped) == (4, "all rounds played")


def test_an_equal_round_is_no_better_one(tmp_path: Path) -> None:
    outcome, _ = outcome_of(tmp_path, learns=0.0, stop=Stop(patience=2), rounds=5)
    assert len(set(means(outcome, "nll"))) == 1
    assert (outcome.best, len(outcome.labels)) == (0, 3)


def test_the_best_round_is_that_of_the_deciding_metric_on_dev(tmp_path: Path) -> None:
    for metric, better in (("house_style", max), ("nll", min), ("repetition", min)):
        outcome, _ = outcome_of(tmp_path / metric, stop=Stop(metric=metric))
        found = means(outcome, metric)
        assert outcome.best == found.index(better(found)), metric


def test_the_test_split_never_decides(tmp_path: Path) -> None:
    plain, _ = outcome_of(tmp_path / "plain", stop=Stop(metric="house_style", patience=1))
    without, _ = outcome_of(tmp_path / "without", stop=Stop(metric="house_style", patience=1), test=None)
    other = {"held_out": "embedded:house-style#test#3", "checks": ["house_style"]}
    changed, _ = outcome_of(tmp_path / "changed", stop=Stop(metric="house_style", patience=1), test=other)
    assert means(plain, "nll", "test") != means(changed, "nll", "test")
    for outcome in (without, changed):
        assert (outcome.best, outcome.labels, outcome.models) == (plain.best, plain.labels, plain.models)


def test_a_metric_measured_on_test_only_cannot_decide(tmp_path: Path) -> None:
    dev = {"held_out": "embedded:house-style#dev#12"}
    settings = settings_of("sft", tmp_path)
    settings["evaluate"] = settings["evaluate"] | {"dev": dev}
    settings |= {"stop": {"metric": "nll"}}
    recipe = checked_recipe(settings, where="recipe", name="loop")
    run = Run(Store(tmp_path / "store"), Here(), ScriptedEngine(), ScriptedTrainer())
    built, evaluation = recipe.build(run)
    with pytest.raises(StageError, match="'house_style' was not measured on dev; measured: nll"):
        play(run, built, rounds=1, evaluation=evaluation, stop=Stop(metric="house_style"))


def test_changes_are_paired_and_positive_when_a_metric_grew(tmp_path: Path) -> None:
    outcome, heard = outcome_of(tmp_path)
    base, first = outcome.scores[0]["dev"], outcome.scores[1]["dev"]
    assert base["nll"].against_base is None
    for metric in ("nll", "house_style"):
        change = first[metric].against_base
        assert change is not None
        assert change.mean == pytest.approx(first[metric].mean.mean - base[metric].mean.mean)
        assert change.items == 12
    assert first["nll"].against_base.mean < 0, "the first round made human answers likelier"  # type: ignore[union-attr]
    last = outcome.scores[3]["dev"]["nll"]
    assert last.against_previous.mean == pytest.approx(  # type: ignore[union-attr]
        means(outcome, "nll")[3] - means(outcome, "nll")[2]
    )
    assert heard.rounds[1]["scores"]["dev"]["nll"]["against_base"][0] == first["nll"].against_base.mean  # type: ignore[union-attr]


def test_a_paired_difference_looks_only_at_items_both_have() -> None:
    change = paired_difference({"a": 1.0, "b": 2.0, "c": None}, {"a": 2.0, "b": 3.0, "d": 9.0, "c": 5.0}, seed=0)
    assert (change.mean, change.items) == (1.0, 2)


def test_two_runs_in_different_stores_end_the_same(tmp_path: Path) -> None:
    one, _ = outcome_of(tmp_path / "one")
    other, _ = outcome_of(tmp_path / "other")
    assert one == other


def test_a_run_in_which_no_round_beats_the_base_exits_with_three_and_keeps_the_base(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One demonstration and one training round teach a scripted model; a metric at its optimum cannot get better.
    settings = settings_of("sft", tmp_path / "store") | {"rounds": 1, "stop": {"metric": "unfinished"}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    run: Callable[[], int] = lambda: main(["run", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "run")])  # noqa: E731
    assert run() == 3
    assert not (tmp_path / "run" / "model").exists(), "a scripted base has no weights to point at"
    assert run() == 3, "again, from what was made"
    assert "base" in capsys.readouterr().out
