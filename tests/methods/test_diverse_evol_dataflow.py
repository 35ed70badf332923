"""DiverseEvol, round by round: what was chosen from what, by whose eyes, and which model was trained on it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import pytest

from methods.recorded import BASE, Recorded, played
from selfalign.errors import RecipeError
from selfalign.selection.k_center import k_center


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Four rounds: four rows to start with, four more each round."""
    return played("diverse_evol", tmp_path_factory.mktemp("plain"), rounds=4)


def ids(run: Recorded, number: int) -> list[str]:
    """The ids of the rows that round `number` trained on."""
    (key,) = run.rounds[number + 1]["trained_on"]
    return [row.id for row in run.store.rows(key)]


def choices(run: Recorded, number: int) -> list[Any]:
    """Everything chosen when round `number` trained."""
    return [row for key in run.rounds[number + 1]["chosen"] for row in run.store.rows(key)]


def test_the_sets_are_nested_and_grow_by_as_many_rows_each_round(plain: Recorded) -> None:
    sets = [ids(plain, number) for number in range(4)]
    assert [len(set(one)) for one in sets] == [4, 8, 12, 16]
    for smaller, larger in pairwise(sets):
        assert larger[: len(smaller)] == smaller


def test_every_round_trains_the_base_on_the_chosen_rows_alone(plain: Recorded) -> None:
    assert [event["started_from"] for event in plain.rounds[1:]] == [BASE] * 4
    for number, training in enumerate(plain.trainings()):
        assert training["model"] == {"model": BASE}
        assert training["objective"] == {"type": "Sft"}
        assert training["reference"] == []
        (table,) = training["tables"]
        assert plain.record(table["table"])["stage"] == "taken"
        assert [row.id for row in plain.rows(table)] == ids(plain, number)


def test_the_model_of_each_round_embeds_the_whole_pool_and_picks_the_next_rows(plain: Recorded) -> None:
    pool = plain.arguments(plain.rounds[1]["chosen"][0])["pool"]
    for number in range(1, 4):
        call = plain.arguments(plain.rounds[number + 1]["chosen"][-1])
        assert plain.record(plain.rounds[number + 1]["chosen"][-1])["stage"] == "choose_by_vectors"
        eyes = plain.arguments(call["vectors"]["matrix"])
        assert eyes["model"] == {"model": plain.models()[number]}
        assert eyes["chats"] == pool
        assert [one["table"] for one in call["chosen"]] == plain.rounds[number]["chosen"]


def test_the_next_rows_are_those_k_center_picks_from_everything_chosen(plain: Recorded) -> None:
    for number in range(1, 4):
        key = plain.rounds[number + 1]["chosen"][-1]
        row_ids, values_ND = plain.store.matrix(plain.arguments(key)["vectors"]["matrix"])
        before = [row_ids.index(row_id) for row_id in ids(plain, number - 1)]
        expected = k_center(numpy.asarray(values_ND), 4, chosen=before)
        picked = list(plain.store.rows(key))
        assert [row.id for row in picked] == [row_ids[row] for row in expected.rows]
        assert [row.value for row in picked] == pytest.approx(expected.values.tolist())
        assert [row.nearest for row in picked] == [row_ids[row] for row in expected.nearest]
        assert [row.order for row in picked] == list(range(4 * number, 4 * number + 4))
        assert {row.by for row in picked} == {"k-center"}


def test_runs_with_another_selector_share_their_start(plain: Recorded, tmp_path: Path) -> None:
    for folder in ("margin", "other"):
        (tmp_path / folder).mkdir()
    margin = played("diverse_evol", tmp_path / "margin", selection={"by": "margin"})
    other = played("diverse_evol", tmp_path / "other", start_seed=1)
    assert ids(margin, 0) == ids(plain, 0)
    assert ids(margin, 2) != ids(plain, 2)
    assert ids(other, 0) != ids(plain, 0)
    assert {row.by for row in choices(margin, 1)[4:]} == {"margin"}


@pytest.mark.parametrize(
    "by", ["random", "farthest", "k-means", "facility-location", "least-confidence", "entropy", "ifd", "perplexity"]
)
def test_every_selector_gives_as_many_new_rows(by: str, tmp_path: Path) -> None:
    run = played("diverse_evol", tmp_path, start=3, grow=3, selection={"by": by, "high_percentile": 95})
    assert [len(set(ids(run, number))) for number in range(3)] == [3, 6, 9]
    assert {row.by for row in choices(run, 2)[3:]} == {by}


@pytest.mark.parametrize("embedder", ["base", "external"])
def test_another_model_can_be_the_eyes(embedder: str, tmp_path: Path) -> None:
    named = {"external_embedder": "scripted:eyes"} if embedder == "external" else {}
    run = played("diverse_evol", tmp_path, embedder=embedder, **named)
    seen = [run.arguments(run.rounds[number]["chosen"][-1])["vectors"] for number in (2, 3)]
    assert seen[0] == seen[1], "the pool is embedded once"
    assert run.arguments(seen[0]["matrix"])["model"] == {"model": named.get("external_embedder", BASE)}


def test_rounds_can_go_on_from_the_last_model(tmp_path: Path) -> None:
    run = played("diverse_evol", tmp_path, train_from="current")
    assert [event["started_from"] for event in run.rounds[1:]] == run.models()[:-1]


def test_a_fixed_number_of_updates_takes_as_many_epochs_as_it_needs(tmp_path: Path) -> None:
    run = played("diverse_evol", tmp_path, updates=[3, 5], optimisation={"batch_size": 4})
    asked = [training["optimisation"] for training in run.trainings()]
    assert [one["max_steps"] for one in asked] == [3, 5, 5]
    assert [one.get("num_train_epochs", 1) for one in asked] == [3, 3, 2]


def test_every_chosen_set_is_described_beside_its_pool(plain: Recorded) -> None:
    for number in range(4):
        measures = {row.id: row for row in plain.store.rows(plain.rounds[number + 1]["selection"])}
        assert (measures["rows"].chosen, measures["rows"].pool) == (4 * (number + 1), 20)
        assert measures["answer_words"].chosen > 0
        assert any(name.startswith("language:") for name in measures)
        assert ("covering_radius" in measures) == (number > 0), "a random start is chosen by nothing"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"start": 18}, "4 rows are to be chosen from a pool of 20, 18 of them chosen before"),
        ({"start": 21}, "21 rows are to be chosen from a pool of 20"),
        ({"selection": {"metric": "cosine"}}, "needs vectors of unit length"),
        ({"selection": {"embedding": {"text": "prompt", "pooling": "answer"}}}, "finds no answer in text 'prompt'"),
        ({"selection": {"by": "random", "quality": "ifd"}}, "'random' uses none"),
        ({"embedder": "external"}, "set both or none"),
        ({"selection": {"low_percentile": 80}}, "must be below high_percentile"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(changes: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=says):
        played("diverse_evol", tmp_path, **changes)
    assert not (tmp_path / "store" / "made").exists()
