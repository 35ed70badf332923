"""The control: the same demonstrations, the same budget, no self-play."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods.recorded import BASE, Recorded, played
from selfalign.methods.sft import SupervisedFineTuning
from selfalign.methods.spin import Spin


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Four rounds with default settings."""
    return played("sft", tmp_path_factory.mktemp("control"), rounds=4)


def test_every_round_goes_on_from_the_last_one_on_all_demonstrations(control: Recorded) -> None:
    models, trainings = control.models(), control.trainings()
    assert models[0] == BASE
    assert [one["model"] for one in trainings] == [{"model": model} for model in models[:-1]]
    assert all(one["tables"] == trainings[0]["tables"] for one in trainings)
    assert control.record(trainings[0]["tables"][0]["table"])["stage"] == "load_chats"
    assert all(one["reference"] == [] and one["objective"] == {"type": "Sft"} for one in trainings)
    assert [one["seed"] for one in trainings] == [42, 43, 44, 45], "no round repeats another one's order of rows"
    assert [event["generated"] for event in control.rounds[1:]] == [None] * 4


def sequences(run: Recorded) -> list[int]:
    """How many sequences each round's training passes through the model."""
    found = []
    for model in run.models()[1:]:
        record = run.record(model)
        epochs = record["arguments"]["optimisation"].get("num_train_epochs", 1)
        notes = record["notes"]
        found.append(epochs * (2 * notes["pairs"] if "pairs" in notes else notes["answers"]))
    return found


def test_it_passes_as_many_sequences_a_round_as_spin_does(control: Recorded, tmp_path: Path) -> None:
    assert sequences(control) == sequences(played("spin", tmp_path, rounds=4)) == [80, 160, 160, 160]


def test_it_shares_spins_learning_rates_and_optimiser(control: Recorded) -> None:
    rates = [one["optimisation"].get("learning_rate", 5e-7) for one in control.trainings()]
    assert rates == [5e-7, 5e-7, 1e-7, 1e-7]
    assert SupervisedFineTuning.learning_rate == Spin.learning_rate
    assert all(one["optimisation"]["optimiser"] == "rmsprop" for one in control.trainings())
    assert SupervisedFineTuning.rendering == Spin.rendering


def test_epochs_and_learning_rate_hold_their_last_value(tmp_path: Path) -> None:
    run = played("sft", tmp_path, epochs=3, learning_rate=[1e-3, 1e-4])
    assert [one["optimisation"]["num_train_epochs"] for one in run.trainings()] == [3, 3, 3]
    assert [one["optimisation"]["learning_rate"] for one in run.trainings()] == [1e-3, 1e-4, 1e-4]
