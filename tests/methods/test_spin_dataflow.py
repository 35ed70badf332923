"""SPIN, Algorithm 1, round by round: what was trained on, from which model, against which reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from methods.recorded import BASE, Recorded, played
from selfalign.types import Rendering


def value(settings: dict[str, object], name: str, default: object) -> object:
    return settings.get(name, default)


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Four rounds with the paper's settings."""
    return played("spin", tmp_path_factory.mktemp("paper"), rounds=4)


def test_every_round_starts_from_the_model_of_the_round_before(paper: Recorded) -> None:
    models = paper.models()
    assert models[0] == BASE
    assert len(set(models)) == 5
    assert [training["model"] for training in paper.trainings()] == [{"model": model} for model in models[:-1]]
    assert [event["started_from"] for event in paper.rounds[1:]] == models[:-1]
    assert [event["reference"] for event in paper.rounds[1:]] == models[:-1]


def test_the_current_model_answers_every_prompt_of_every_round(paper: Recorded) -> None:
    demonstrations = set()
    for number, event in enumerate(paper.rounds[1:]):
        call = paper.arguments(event["generated"])
        assert paper.record(event["generated"])["stage"] == "generate"
        assert call["model"] == {"model": paper.models()[number]}
        assert call["seed"] == 42 + number, "no round repeats another one's draws"
        assert call["rendering"] == {"type": "Rendering", "prompt": "instruction-response"}
        assert call["sampling"] == {"type": "Sampling"}, "256 tokens at temperature 1: the defaults"
        demonstrations.add(call["prompts"]["table"])
    assert len(demonstrations) == 1


def test_human_answers_are_chosen_and_the_models_own_rejected(paper: Recorded) -> None:
    for number, training in enumerate(paper.trainings()):
        newest = paper.arguments(training["tables"][-1]["table"])
        assert newest["rejected"] == {"table": paper.rounds[number + 1]["generated"]}
        human = {chat.id: chat.answer for chat in paper.rows(newest["chosen"])}
        own = {chat.id: chat for chat in paper.rows(newest["rejected"])}
        pairs = paper.rows(training["tables"][-1])
        assert [pair.id for pair in pairs] == list(human)
        for pair in pairs:
            assert (pair.chosen, pair.rejected) == (human[pair.id], own[pair.id].answer)
            assert (pair.chosen_finished, pair.rejected_finished) == (True, own[pair.id].finished)


def test_a_round_mixes_in_the_pairs_of_the_round_before_and_no_older_ones(paper: Recorded) -> None:
    newest = [training["tables"][-1] for training in paper.trainings()]
    assert [training["tables"] for training in paper.trainings()] == [
        newest[:1], newest[:2], newest[1:3], newest[2:4],
    ]  # fmt: skip
    assert [event["trained_on"] for event in paper.rounds[1:]] == [
        [table["table"] for table in training["tables"]] for training in paper.trainings()
    ]


def test_the_current_model_is_the_reference_of_all_pairs(paper: Recorded) -> None:
    for number, training in enumerate(paper.trainings()):
        calls = [paper.arguments(scores["table"]) for scores in training["reference"]]
        assert [call["pairs"] for call in calls] == training["tables"]
        assert all(call["model"] == {"model": paper.models()[number]} for call in calls)
        assert all(call["rendering"] == training["rendering"] for call in calls), "scored as it is trained"


def test_beta_and_learning_rate_follow_the_papers_schedule(paper: Recorded) -> None:
    trainings = paper.trainings()
    assert [value(one["objective"], "beta", 0.1) for one in trainings] == [0.1, 0.1, 0.1, 5.0]
    assert [value(one["optimisation"], "learning_rate", 5e-7) for one in trainings] == [5e-7, 5e-7, 1e-7, 1e-7]
    assert all(one["objective"]["type"] == "Dpo" and "loss" not in one["objective"] for one in trainings)
    for one in trainings:
        optimisation = one["optimisation"]
        assert (optimisation["optimiser"], optimisation["num_train_epochs"]) == ("rmsprop", 2)
        assert one["rendering"] == {"type": "Rendering"}, "the chat template, up to the default length"
    assert Rendering().max_length == 2048


def test_schedules_shorter_than_the_run_hold_their_last_value(tmp_path: Path) -> None:
    run = played("spin", tmp_path, beta=[0.5, 2.0], learning_rate=1e-3)
    assert [one["objective"]["beta"] for one in run.trainings()] == [0.5, 2.0, 2.0]
    assert [one["optimisation"]["learning_rate"] for one in run.trainings()] == [1e-3] * 3


@pytest.mark.parametrize(("mixed", "sizes"), [(1, [1, 1, 1]), (2, [1, 2, 2]), ("all", [1, 2, 3])])
def test_sets_mixed_is_how_many_of_the_newest_sets_a_round_trains_on(
    mixed: int | str, sizes: list[int], tmp_path: Path
) -> None:
    run = played("spin", tmp_path, sets_mixed=mixed)
    newest = [training["tables"][-1] for training in run.trainings()]
    for number, (training, size) in enumerate(zip(run.trainings(), sizes, strict=True)):
        assert training["tables"] == newest[number + 1 - size : number + 1]
        assert len(training["reference"]) == size
        assert run.record(run.models()[number + 1])["notes"]["pairs"] == 20 * size


def test_old_pairs_can_be_held_against_the_model_that_wrote_them(tmp_path: Path) -> None:
    run = played("spin", tmp_path, old_reference="generator", sets_mixed="all")
    for training in run.trainings():
        for table, scores in zip(training["tables"], training["reference"], strict=True):
            answers = run.arguments(run.arguments(table["table"])["rejected"]["table"])
            scored = run.arguments(scores["table"])
            assert scored["pairs"] == table
            assert scored["model"] == answers["model"]


def test_generation_and_training_have_renderings_of_their_own(tmp_path: Path) -> None:
    run = played(
        "spin", tmp_path, rounds=1, generation_rendering={"prompt": "chat", "system": "be brief"},
        rendering={"answer_end": "official-double", "max_length": 512},
    )  # fmt: skip
    (training,) = run.trainings()
    generation = run.arguments(run.rounds[1]["generated"])["rendering"]
    assert generation == {"type": "Rendering", "system": "be brief"}
    assert training["rendering"] == {"type": "Rendering", "answer_end": "official-double", "max_length": 512}
