"""I-SHEEP, algorithm 1: who invented, answered and graded, what was kept, what each model was trained on and from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from methods.recorded import BASE, Recorded, played
from selfalign.errors import RecipeError
from selfalign.grading.self_assessment import questions
from selfalign.synthesis.task_list import task_of


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Three rounds in the paper's setting, one-base."""
    return played("i_sheep", tmp_path_factory.mktemp("plain"))


def made_by(run: Recorded, stage: str) -> list[str]:
    """The keys that a stage made in the whole run, in the order of the plan's rounds."""
    keys = [key for key in run.store.finished() if run.record(key)["stage"] == stage]
    return sorted(keys, key=lambda key: run.record(key)["arguments"].get("seed", 0))


def answers_of(run: Recorded) -> list[dict[str, Any]]:
    """The arguments of every round's call that answered its tasks."""
    return [run.arguments(event["generated"]) for event in run.rounds[1:]]


def inventions(run: Recorded) -> list[tuple[str, dict[str, Any]]]:
    """Key and arguments of the call that invented each round's tasks."""
    keys = [call["prompts"]["table"] for call in answers_of(run)]
    return [(key, run.arguments(key)) for key in keys]


def test_the_model_of_the_round_invents_and_answers(plain: Recorded) -> None:
    for number, (invented, answered) in enumerate(zip(inventions(plain), answers_of(plain), strict=True)):
        assert plain.record(invented[0])["stage"] == "invent"
        assert invented[1]["model"] == answered["model"] == {"model": plain.models()[number]}


def test_the_base_is_asked_as_text_and_tuned_models_in_conversation(plain: Recorded) -> None:
    renderings = [call["rendering"] for call in answers_of(plain)]
    assert renderings[0]["prompt"] == "plain"
    assert all(one.get("prompt", "chat") == "chat" for one in renderings[1:])
    assert all(call["rendering"]["prompt"] == "continued" for _, call in inventions(plain))


def test_every_training_starts_from_the_base_and_sees_the_newest_pairs_alone(plain: Recorded) -> None:
    assert [one["model"] for one in plain.trainings()] == [{"model": BASE}] * 3
    assert [event["started_from"] for event in plain.rounds[1:]] == [BASE] * 3
    for event in plain.rounds[1:]:
        (table,) = event["trained_on"]
        learned = {row.id for row in plain.store.rows(table)}
        assert learned < {row.id for row in plain.store.rows(event["generated"])}


@pytest.mark.parametrize(
    ("setting", "tables", "starts"),
    [
        ("one-base", [1, 1, 1], [0, 0, 0]),
        ("one-last", [1, 1, 1], [0, 1, 2]),
        ("total-base", [1, 2, 3], [0, 0, 0]),
        ("one-shot", [1, 2, 3], [0, 0, 0]),
    ],
)
def test_settings_differ_in_what_is_learned_and_from_where(
    setting: str, tables: list[int], starts: list[int], tmp_path: Path
) -> None:
    run = played("i_sheep", tmp_path, setting=setting)
    assert [len(one["tables"]) for one in run.trainings()] == tables
    assert [one["model"]["model"] for one in run.trainings()] == [run.models()[start] for start in starts]
    writers = [call["model"]["model"] for call in answers_of(run)]
    assert writers == ([BASE] * 3 if setting == "one-shot" else run.models()[:3])
    ids = [row.id for table in run.trainings()[-1]["tables"] for row in run.rows(table)]
    assert len(ids) == len(set(ids)), "rows of all rounds can stand in one training"


@pytest.mark.parametrize("grader", ["current", "base"])
def test_the_grader_is_the_model_of_the_round_or_the_base(grader: str, tmp_path: Path) -> None:
    run = played("i_sheep", tmp_path, grader=grader)
    expected = run.models()[:3] if grader == "current" else [BASE] * 3
    assert [event["grader"] for event in run.rounds[1:]] == expected
    asked = [run.arguments(table["table"]) for event in run.rounds[1:] for table in both_grades(run, event)]
    assert [call["model"]["model"] for call in asked] == [model for model in expected for _ in range(2)]
    forms = [call["rendering"].get("prompt", "chat") for call in asked]
    assert forms == ["plain" if model == BASE else "chat" for model in expected for _ in range(2)]


def both_grades(run: Recorded, event: dict[str, Any]) -> list[dict[str, str]]:
    """The tables of grades of which the lowest decided."""
    tables: list[dict[str, str]] = run.arguments(event["grades"])["grades"]
    return tables


def test_a_pair_is_kept_iff_both_its_grades_exceed_the_threshold(tmp_path: Path) -> None:
    run = played("i_sheep", tmp_path, rounds=1, assessment={"reading": "distribution", "threshold": 2})
    (event,) = run.rounds[1:]
    quality, following = ({row.id: row.value for row in run.rows(table)} for table in both_grades(run, event))
    kept = {row.id for row in run.store.rows(event["trained_on"][0])}
    assert kept == {row_id for row_id in quality if min(quality[row_id], following[row_id]) > 2}
    assert 0 < len(kept) < len(quality), "the threshold tells rows apart"
    assert any(quality[row_id] > 2 for row_id in quality.keys() - kept), "one good grade is not enough"


def test_the_lowest_grade_is_that_of_both_questions(plain: Recorded) -> None:
    for event in plain.rounds[1:]:
        tables = [plain.rows(table) for table in both_grades(plain, event)]
        lowest = list(plain.store.rows(event["grades"]))
        assert [{one.rubric for one in table} for table in tables] == [{"quality-combined"}, {"following-combined"}]
        assert [one.value for one in lowest] == [
            min(quality.value, following.value) for quality, following in zip(*tables, strict=True)
        ]


def test_tasks_of_all_rounds_are_known_to_later_ones(plain: Recorded) -> None:
    keys = [key for key, _ in inventions(plain)]
    for number, (_, call) in enumerate(inventions(plain)):
        assert call["known"] == [{"table": key} for key in keys[:number]]
    seeds = plain.rows(inventions(plain)[0][1]["seeds"])
    asked = [task_of(row.prompt[-1].content).instruction for key in keys for row in plain.store.rows(key)]
    asked += [task_of(row.prompt[-1].content).instruction for row in seeds]
    assert len(asked) == len(set(asked)) == 3 * 12 + 20


@pytest.mark.parametrize(
    ("assessment", "stages"),
    [
        ({"level": "none"}, set()),
        ({"level": "quality"}, {"choose_grades"}),
        ({"wording": "in-context"}, {"choose_grades"}),
        ({"keep_by": "perplexity", "max_perplexity": 1e9}, {"whole_pairs", "kept_by_perplexity"}),
        ({"keep_by": "density", "clusters": 5}, {"embed", "one_of_each_cluster"}),
        ({"keep_by": "density-perplexity", "clusters": 5}, {"embed", "whole_pairs", "one_of_each_cluster"}),
    ],
)
def test_levels_wordings_and_alternatives_ask_for_what_they_need(
    assessment: dict[str, Any], stages: set[str], tmp_path: Path
) -> None:
    by_grades = {} if "keep_by" in assessment else {"reading": "distribution", "threshold": 1}
    settings = {**by_grades, **assessment}
    run = played("i_sheep", tmp_path, rounds=1, assessment=settings)
    done = [run.record(key)["stage"] for key in run.store.finished()]
    every = {"choose_grades", "whole_pairs", "kept_by_perplexity", "embed", "one_of_each_cluster", "lowest_grade"}
    assert every & set(done) == stages
    (event,) = run.rounds[1:]
    kept, made = (list(run.store.rows(key)) for key in (event["trained_on"][0], event["generated"]))
    if assessment.get("keep_by", "").startswith("density"):
        assert len(kept) == 5
    if assessment == {"level": "none"}:
        assert kept == made


def test_perplexities_are_of_the_answer_and_of_the_pair_alone(tmp_path: Path) -> None:
    run = played("i_sheep", tmp_path, rounds=1, assessment={"keep_by": "perplexity", "max_perplexity": 1e9})
    (kept,) = made_by(run, "kept_by_perplexity")
    alone, together = (run.arguments(table["table"]) for table in run.arguments(kept)["scores"])
    assert alone["rendering"]["context"] == together["rendering"]["context"] == "header"
    pairs = {row.id: row for row in run.rows(run.arguments(kept)["chats"])}
    for row in run.rows(together["chats"]):
        assert row.answer == f"{pairs[row.id].prompt[-1].content}\n{pairs[row.id].answer}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"assessment": {"threshold": 10}}, "must lie on the scale of rubric 'quality-combined' and below its top"),
        ({"assessment": {"threshold": 0}}, "1 to 10: grades must exceed it"),
        ({"synthesis": {"shots": 21}}, "a list begins with 21 seed tasks .* and there are 20 seeds"),
        ({"synthesis": {"shots": 2, "generated_shots": 3}}, "generated_shots 3 is more than shots 2"),
        ({"synthesis": {"target": 0}}, "method.synthesis.target: input should be greater than or equal to 1"),
        ({"assessment": {"keep_by": "density", "threshold": 5}}, "threshold without effect where keep_by is 'density'"),
        ({"assessment": {"clusters": 5}}, "clusters without effect where keep_by is 'assessment'"),
        ({"setting": "one-bse"}, "method.setting"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_computed(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        played("i_sheep", tmp_path, **changes)
    assert not (tmp_path / "store" / "made").exists()


def test_every_wording_asks_on_the_scale_from_1_to_10() -> None:
    for wording in ("simple", "combined"):
        assert [one.name for one in questions("both", wording)] == [f"quality-{wording}", f"following-{wording}"]
        assert questions("following", wording)[0].name == f"following-{wording}"
    assert len(questions("both", "in-context")) == 1
    assert questions("none", "simple") == ()
    assert {(one.lowest, one.highest) for one in questions("both", "combined")} == {(1, 10)}


def test_seeds_need_instructions_and_no_answers(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text(
        '{"instruction": "Name three rivers of Asia."}\n'
        '{"instruction": "Correct the spelling.", "input": "The whether is fine."}\n'
        '{"instruction": "Write a short poem about rain."}\n'
    )
    run = played("i_sheep", tmp_path, rounds=1, seeds=str(seeds))
    ((key, call),) = inventions(run)
    assert [task_of(row.prompt[-1].content).input for row in run.rows(call["seeds"])] == [
        "",
        "The whether is fine.",
        "",
    ]
    assert run.record(key)["rows"] == 12
    seeds.write_text('{"instruction": "", "input": "The whether is fine."}\n')
    with pytest.raises(RecipeError, match="'instruction' is empty"):
        played("i_sheep", tmp_path, rounds=1, seeds=str(seeds))
