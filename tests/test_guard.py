"""The guard: a planted collapse raises its alarm before anything is trained on it, a healthy run none."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as some

from planting import Harvest, Planted, chats, grades
from scripted_recipes import settings_of, written
from selfalign.cli import main
from selfalign.config import checked_recipe, read_recipe
from selfalign.engines.scripted import ScriptedEngine
from selfalign.errors import RecipeError, StageError
from selfalign.executors.local import Here
from selfalign.folder import RunFolder
from selfalign.guard import LEAST_ROWS, WATCHED, Guard, Limit
from selfalign.loop import Outcome, Plan, Stop, planned, play
from selfalign.playing import plan_recipe, play_recipe
from selfalign.run import Run
from selfalign.stage import asking
from selfalign.stages.evaluate import Evaluation
from selfalign.stages.health import health
from selfalign.store import Store
from selfalign.trainers.scripted import ScriptedTrainer
from selfalign.types import Chat, HealthMeasure, Model

ROWS = 40
HEALTHY = Harvest(made=chats(2 * ROWS), kept=chats(ROWS), grades=(grades(*[3.0, 4.0, 5.0, None] * 20),), known=())
# A collapse, the measure that sees it, what the default limits do about it, and what is said.
COLLAPSES: dict[str, tuple[Harvest, str, str, str]] = {
    "duplicates": (
        replace(HEALTHY, kept=chats(ROWS, prompt="Explain in a few words what the number {n} is good for in life")),
        "near_duplicate_share", "stop", "97 % of the kept prompts nearly repeat another, above 50 %",
    ),
    "known prompts again": (
        replace(HEALTHY, known=chats(ROWS)),
        "near_duplicate_share", "stop", "100 % of the kept prompts nearly repeat another, above 50 %",
    ),
    "unread grades": (
        replace(HEALTHY, grades=(grades(*[None] * 77, 3.0, 4.0, 5.0),)),
        "unread_share", "stop", "96 % of the grades could not be read, above 90 %",
    ),
    "a saturated judge": (
        replace(HEALTHY, grades=(grades(*[3.0, 5.0] * 20), grades(*[5.0] * 78, 4.0, 3.0))),
        "commonest_score_share", "warn", "97 % of the grades are one and the same score, above 95 %",
    ),
    "a saturated judge of expected scores": (
        replace(HEALTHY, grades=(grades(*[4.98 + n / 1e5 for n in range(80)]),)),
        "commonest_score_share", "warn", "100 % of the grades are one and the same score, above 95 %",
    ),
    "low yield": (
        replace(HEALTHY, made=chats(1000), kept=chats(12)),
        "kept_share", "warn", "1.2 % of the rows made were kept, below 2 %",
    ),
    "shrinking answers": (
        replace(HEALTHY, kept=chats(ROWS, answer="yes {n} of word{n}")),
        "answer_length_ratio", "warn", "the median kept answer is 20 % as long as in the first round, below 33 %",
    ),
    "empty answers": (
        replace(HEALTHY, kept=tuple(replace(chat, answer="") for chat in chats(ROWS))),
        "median_answer_words", "warn", "the median kept answer has 0 words, below 1",
    ),
    "repetitive answers": (
        replace(HEALTHY, kept=chats(ROWS, answer="it is what it is " * 4)),
        "distinct_2", "stop", "0.53 % of the word pairs in kept answers are different ones, below 10 %",
    ),
}  # fmt: skip

# Empty answers are short ones too.
ALSO = {"empty answers": [("round 1", "answer_length_ratio", "warn")]}


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def hear(self, event: Any) -> None:
        self.events.append(dict(event))

    def alarms(self) -> list[tuple[str, str, str]]:
        """Round, measure and level of every alarm."""
        looks = [event for event in self.events if event["event"] == "guard"]
        return [(event["round"], one["metric"], one["level"]) for event in looks for one in event["alarms"]]

    def trained(self) -> list[str]:
        """The rounds in which a model was trained."""
        return [event["round"] for event in self.events if event["event"] == "started" and event["stage"] == "train"]

    def made(self) -> list[str]:
        """The keys of everything that was made."""
        return [event["key"] for event in self.events if event["event"] == "made"]


def evaluation_in(run: Any, folder: Path) -> Evaluation:
    recipe = checked_recipe(settings_of("sft", folder), where="recipe", name="guard")
    _, evaluation = recipe.build(run)
    return evaluation


def outcome_of(folder: Path, *harvests: Harvest, guard: Guard = Guard()) -> tuple[Outcome, Heard]:
    heard = Heard()
    run = Run(Store(folder / "store"), Here(), ScriptedEngine(), ScriptedTrainer(), (heard,))
    method = Planted(base=Model("scripted:novice"), harvests=harvests)
    evaluation = evaluation_in(run, folder)
    return play(run, method, rounds=len(harvests), evaluation=evaluation, stop=Stop(), guard=guard), heard


# ------------------------------------------------------------------------------------------------ alarms


def test_a_healthy_run_raises_no_alarm(tmp_path: Path) -> None:
    outcome, heard = outcome_of(tmp_path, HEALTHY, HEALTHY, HEALTHY)
    assert heard.alarms() == []
    assert (outcome.stopped, len(outcome.labels)) == ("all rounds played", 4)
    looks = [event for event in heard.events if event["event"] == "guard"]
    assert [event["round"] for event in looks] == ["round 0", "round 1", "round 2"]
    assert {one["id"] for one in looks[0]["measures"]} == set(WATCHED)


@pytest.mark.parametrize("collapse", COLLAPSES)
def test_a_collapse_raises_its_alarm_and_no_other(collapse: str, tmp_path: Path) -> None:
    harvest, metric, level, says = COLLAPSES[collapse]
    outcome, heard = outcome_of(tmp_path, HEALTHY, harvest, HEALTHY)
    assert heard.alarms() == [("round 1", metric, level), *ALSO.get(collapse, [])]
    if level == "stop":
        assert outcome.stopped == f"guard: {says} ({metric})"
        assert (heard.trained(), outcome.labels) == (["round 0"], ("base", "round 0"))
    else:
        told = next(event for event in heard.events if event["event"] == "guard" and event["alarms"])
        assert told["alarms"][0]["says"] == f"{says} ({metric})"
        assert (outcome.stopped, heard.trained()) == ("all rounds played", ["round 0", "round 1", "round 2"])


@pytest.mark.parametrize("collapse", COLLAPSES)
def test_every_measure_can_stop_a_run_or_be_left_alone(collapse: str, tmp_path: Path) -> None:
    harvest, metric, _, _ = COLLAPSES[collapse]
    warn = getattr(Guard(), metric).warn
    stopping = replace(Guard(), **{metric: Limit(stop=warn)})
    outcome, heard = outcome_of(tmp_path, HEALTHY, harvest, guard=stopping)
    assert outcome.stopped.startswith("guard: ")
    assert outcome.stopped.endswith(f"({metric})")
    assert heard.trained() == ["round 0"]
    for nothing in (None, Limit()):
        outcome, heard = outcome_of(tmp_path, HEALTHY, harvest, guard=replace(Guard(), **{metric: nothing}))
        assert (outcome.stopped, heard.alarms()) == ("all rounds played", ALSO.get(collapse, []))


def test_a_stop_keeps_the_best_model_so_far_and_an_earlier_one_the_base(tmp_path: Path) -> None:
    bad = COLLAPSES["duplicates"][0]
    outcome, _ = outcome_of(tmp_path, HEALTHY, bad)
    assert (outcome.best, outcome.models[outcome.best].ref.startswith("made:")) == (1, True)
    outcome, heard = outcome_of(tmp_path / "first", bad, HEALTHY)
    assert (outcome.best, outcome.labels, heard.trained()) == (0, ("base",), [])


def test_a_repeated_run_decides_the_same_and_another_limit_recomputes_nothing(tmp_path: Path) -> None:
    harvests = (HEALTHY, COLLAPSES["duplicates"][0], HEALTHY)
    first, before = outcome_of(tmp_path, *harvests)
    again, heard = outcome_of(tmp_path, *harvests)
    assert again == first
    assert heard.made() == []
    assert heard.alarms() == before.alarms()
    on, heard = outcome_of(tmp_path, *harvests, guard=Guard(near_duplicate_share=Limit(warn=0.2)))
    assert on.labels == ("base", "round 0", "round 1", "round 2")
    assert not set(heard.made()) & set(before.made())
    assert heard.trained() == ["round 1", "round 2"]


def test_a_plan_lists_every_look_and_goes_on_past_it(tmp_path: Path) -> None:
    plan = Plan(Store(tmp_path / "store"))
    method = Planted(base=Model("scripted:novice"), harvests=(HEALTHY, COLLAPSES["duplicates"][0], HEALTHY))
    calls = planned(plan, method, rounds=3, evaluation=evaluation_in(plan, tmp_path))
    looks = [call for call in calls if call.call.stage == "health"]
    assert [(call.round, call.size.rows) for call in looks] == [(f"round {n}", len(WATCHED)) for n in range(3)]
    assert [call.round for call in calls if call.call.stage == "train"] == ["round 0", "round 1", "round 2"]
    _, heard = outcome_of(tmp_path, HEALTHY, HEALTHY)
    assert looks[0].key in heard.made()


# ---------------------------------------------------------------------------------------------- measures


def measured(folder: Path, harvest: Harvest, first: tuple[Chat, ...] | None = None) -> dict[str, HealthMeasure]:
    run = Run(Store(folder / "store"), Here(), ScriptedEngine(), ScriptedTrainer())
    with asking(run):
        given = harvest.gathered()
        earlier = None if first is None else replace(HEALTHY, kept=first).gathered().kept
        table = health(given.made, given.kept, grades=given.grades, known=given.known, first=earlier)
    return {row.id: row for row in run.store.rows(table.key)}


def test_what_cannot_be_measured_has_no_row_and_what_has_no_value_says_why(tmp_path: Path) -> None:
    kept = chats(ROWS)
    assert set(measured(tmp_path, Harvest(made=kept, kept=kept))) == {
        "median_answer_words", "answer_length_ratio", "distinct_2",
    }  # fmt: skip
    nothing = measured(tmp_path, Harvest(made=kept, kept=(), grades=((),), known=()))
    assert nothing.pop("kept_share").value == 0.0
    assert all(row.value is None and row.why for row in nothing.values())


def test_shares_are_of_all_grades_and_of_the_worst_table(tmp_path: Path) -> None:
    found = measured(tmp_path, replace(HEALTHY, grades=(grades(1, 2, 3, None), grades(2, 2, 2, 4, None, None))))
    assert found["unread_share"].value == pytest.approx(3 / 10)
    assert found["commonest_score_share"].value == pytest.approx(3 / 4)


def test_grades_between_whole_numbers_are_told_apart_by_tenths(tmp_path: Path) -> None:
    close = grades(*[2.9 + n / 100 for n in range(60)])
    found = measured(tmp_path, replace(HEALTHY, grades=(close,)))["commonest_score_share"].value
    assert found is not None
    assert found < 0.25


def test_lengths_are_compared_with_the_first_round(tmp_path: Path) -> None:
    short = replace(HEALTHY, kept=chats(ROWS, answer="just five words for {n}"))
    assert measured(tmp_path, short)["answer_length_ratio"].value is None
    assert measured(tmp_path, short, first=chats(ROWS))["answer_length_ratio"].value == pytest.approx(5 / 20)
    assert measured(tmp_path, HEALTHY, first=())["answer_length_ratio"].value is None


def test_distinct_pairs_do_not_fall_with_the_number_of_answers(tmp_path: Path) -> None:
    def wordy(count: int) -> Harvest:
        kept = chats(count, answer="answer {n} of a kind that begins and ends alike, with one part of its own {n}")
        return replace(HEALTHY, kept=kept)

    some_rows, many = (measured(tmp_path, wordy(count))["distinct_2"].value for count in (250, 5000))
    assert some_rows is not None
    assert many == pytest.approx(some_rows, abs=0.01)


# ------------------------------------------------------------------------------------------------ limits


def test_the_guard_watches_every_measure_there_is() -> None:
    assert [item.name for item in fields(Guard)] == list(WATCHED)


@pytest.mark.parametrize("metric", WATCHED)
def test_on_its_limit_a_measure_is_no_alarm_and_over_few_rows_none_either(metric: str) -> None:
    limit = getattr(Guard(), metric).warn
    worse = limit + 0.01 if WATCHED[metric].alarming == "above" else limit - 0.01
    for value, of, alarms in ((limit, 99, 0), (worse, 99, 1), (worse, LEAST_ROWS, 1), (worse, LEAST_ROWS - 1, 0)):
        assert len(Guard().alarms([HealthMeasure(id=metric, value=value, of=of)])) == alarms
    assert Guard().alarms([HealthMeasure(id=metric, value=None, of=99, why="not measured")]) == []


@given(metric=some.sampled_from(sorted(WATCHED)), limit=some.floats(0, 1), value=some.floats(0, 1))
def test_an_alarm_says_a_number_that_is_beyond_the_limit_it_says(metric: str, limit: float, value: float) -> None:
    limit = round(limit, 3)
    guard = replace(Guard(), **{metric: Limit(warn=limit)})
    alarms = guard.alarms([HealthMeasure(id=metric, value=value, of=99)])
    assert bool(alarms) == (value > limit if WATCHED[metric].alarming == "above" else value < limit)
    for alarm in alarms:
        said, end = (numbers(part) for part in alarm.says.split(f", {WATCHED[metric].alarming} "))
        assert (said > end) == (value > limit)


def numbers(text: str) -> float:
    """The only number in a part of an alarm's sentence."""
    (found,) = [word for word in text.replace(f"({text.rpartition('(')[2]}", "").split() if word[:1].isdigit()]
    return float(found)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("guard.near_duplicate_share.stop=0.15", "would stop at 0.15 before it warns at 0.2: the alarm is for"),
        ("guard.distinct_2={warn: 0.1, stop: 0.2}", "would stop at 0.2 before it warns at 0.1: the alarm is for"),
        ("guard.unread_share.stop=1.5", "guard.unread_share.stop is a share from 0 to 1, not 1.5"),
        ("guard.kept_share.warn=-0.1", "guard.kept_share.warn: input should be greater than or equal to 0"),
        ("guard.near_duplicates={stop: 0.2}", "did you mean 'near_duplicate_share'?"),
        ("guard.kept_share.warm=0.1", "did you mean 'warn'?"),
        ("guard.kept_share.stop=.nan", "guard.kept_share.stop"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_meant_are_refused(override: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as refused:
        read_recipe(written(tmp_path, settings_of("humpback", tmp_path / "store")), [override])
    assert says in str(refused.value)


def test_a_limit_given_in_part_keeps_the_rest_and_null_switches_off(tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of("humpback", tmp_path / "store"))
    given = read_recipe(recipe, ["guard.near_duplicate_share.stop=0.4"]).guard
    assert given == replace(Guard(), near_duplicate_share=Limit(warn=0.2, stop=0.4))
    off = read_recipe(recipe, ["guard.near_duplicate_share.stop=null", "guard.distinct_2=null"]).guard
    assert off == replace(Guard(), near_duplicate_share=Limit(warn=0.2), distinct_2=None)
    assert read_recipe(recipe).guard == Guard()


@pytest.mark.parametrize(
    ("method", "override", "says"),
    [
        ("sft", "guard.distinct_2.stop=0.2", "method 'sft' gathers nothing to look at; leave out guard.distinct_2"),
        ("diverse_evol", "guard.kept_share.stop=0.01", "method 'diverse_evol' gathers nothing to look at"),
        ("spin", "guard.unread_share.stop=0.5", "shows answer_length_ratio, distinct_2, median_answer_words"),
    ],
)
def test_a_limit_on_what_a_method_never_shows_is_refused(method: str, override: str, says: str, tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of(method, tmp_path / "store"))
    with pytest.raises(RecipeError) as refused:
        plan_recipe(recipe, [override])
    assert says in str(refused.value)
    with pytest.raises(RecipeError):
        play_recipe(recipe, [override], tmp_path / "run")
    assert not (tmp_path / "run" / "journal.jsonl").exists()
    plan_recipe(recipe, [f"guard.{override.split('.')[1]}=null"])


@pytest.mark.parametrize(
    ("method", "watched"), [("sft", set()), ("spin", {"median_answer_words", "answer_length_ratio", "distinct_2"})]
)
def test_the_resolved_recipe_of_a_run_says_the_limits_that_have_an_effect(
    method: str, watched: set[str], tmp_path: Path
) -> None:
    recipe = written(tmp_path, settings_of(method, tmp_path / "store") | {"rounds": 1})
    play_recipe(recipe, [], tmp_path / "run")
    said = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())["guard"]
    assert set(said) == watched
    again = read_recipe(tmp_path / "run" / "recipe.yaml")
    assert again.guard == Guard()


def test_a_limit_enters_no_key(tmp_path: Path) -> None:
    recipe = written(tmp_path, settings_of("humpback", tmp_path / "store"))
    plans = [plan_recipe(recipe, overrides)[1] for overrides in ([], ["guard.distinct_2={warn: 0.9, stop: 0.8}"])]
    assert [call.key for call in plans[0]] == [call.key for call in plans[1]]
    assert any(call.call.stage == "health" for call in plans[0])


# ------------------------------------------------------------------------------------------- a whole run


def test_a_stopped_run_is_written_up_and_goes_on_when_told_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of("spin", tmp_path / "store") | {"guard": {"median_answer_words": {"warn": 21}}}
    settings["guard"]["answer_length_ratio"] = {"warn": None, "stop": 3.8}
    # Scripted models write longer answers as they learn, so one limit is passed in round 1 only: 20 words are 10 / 3.
    recipe, folder = tmp_path / "recipe.yaml", tmp_path / "run"
    recipe.write_text(yaml.safe_dump(settings))
    assert main(["run", str(recipe), "-o", str(folder)]) == 0
    said = capsys.readouterr().out
    reason = "the median kept answer is 330 % as long as in the first round, below 380 % (answer_length_ratio)"
    assert f"stopped: {reason}; to go on all the same: -s guard.answer_length_ratio.stop=null\n" in said
    assert f"\nstopped: guard: {reason}\n" in said
    assert "warning: the median kept answer has 6 words, below 21 (median_answer_words)\n" in said
    assert [event["label"] for event in RunFolder(folder).rounds()] == ["base", "round 0"]
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert journal[-1]["stopped"] == f"guard: {reason}"
    assert (folder / "metrics.jsonl").exists()
    assert (folder / "model").is_symlink()
    on = ["-s", "guard.answer_length_ratio.stop=null"]
    assert main(["run", str(recipe), "-o", str(folder), *on]) == 0
    assert "stopped:" not in capsys.readouterr().out
    assert len(RunFolder(folder).rounds()) == 4


def test_a_later_round_that_keeps_nothing_ends_the_run_and_the_best_is_kept(tmp_path: Path) -> None:
    nothing = replace(HEALTHY, grades=(grades(*[3.0, 5.0] * (ROWS // 2)),), threshold=9.0)
    outcome, heard = outcome_of(tmp_path, HEALTHY, nothing, HEALTHY)
    assert outcome.labels == ("base", "round 0")
    assert outcome.stopped.startswith("round 1, stage 'kept_by_grade'")
    assert "no row is kept: the 40 grades lie from 3 to 5, and the threshold is 9" in outcome.stopped
    assert heard.trained() == ["round 0"]


def test_a_first_round_that_keeps_nothing_fails(tmp_path: Path) -> None:
    nothing = replace(HEALTHY, grades=(grades(*[3.0, 5.0] * (ROWS // 2)),), threshold=9.0)
    with pytest.raises(StageError, match="no row is kept"):
        outcome_of(tmp_path, nothing, HEALTHY)


def test_a_table_with_a_handful_of_read_grades_hides_no_saturated_one(tmp_path: Path) -> None:
    both = (grades(*[None] * 79, 5.0), grades(*[5.0] * 80))
    _, heard = outcome_of(tmp_path, HEALTHY, replace(HEALTHY, grades=both))
    assert ("round 1", "commonest_score_share", "warn") in heard.alarms()


def test_one_instruction_over_different_inputs_is_one_prompt_and_one_input_under_many_is_not(tmp_path: Path) -> None:
    same = chats(ROWS, prompt="Shorten this text please.\n\nalpha{n} beta{n} gamma{n}")
    other = chats(ROWS, prompt="{opening} alpha{n} beta{n} gamma{n}\n\n" + "the same material " * 20)
    _, heard = outcome_of(tmp_path, replace(HEALTHY, kept=other), replace(HEALTHY, kept=same))
    assert heard.alarms() == [("round 1", "near_duplicate_share", "stop")]
