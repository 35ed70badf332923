"""The rules for invented tasks and their answers: each by its name, each with a switch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from selfalign.errors import RecipeError
from selfalign.synthesis.answer_filters import RULES as ANSWER_RULES
from selfalign.synthesis.answer_filters import AnswerFilter
from selfalign.synthesis.task_filters import RULES, TaskFilter
from selfalign.synthesis.task_list import Task

SOUND = (
    Task("Name three rivers of Africa."),
    Task("Correct the spelling of this sentence.", "The whether is fine."),
    Task("3 friends share 12 plums evenly, how many for each?"),
    Task("Is the comparison 3 < 5 and 7 > 2 true?"),
    Task("Explain what a profile is in a few words."),
)
BROKEN: dict[str, tuple[Task, dict[str, Any]]] = {
    "words": (Task("Add these numbers."), {"min_words": 1}),
    "first_character": (Task("¿Qué hora es en Lima?"), {"first_character": False}),
    "forbidden_words": (Task("Describe what this picture shows, please."), {"forbidden_words": ()}),
    "input_leak": (Task("Write a short poem, no input needed."), {"input_leak": False}),
    "embedded_fields": (Task("Write a letter. Input: a friend's name"), {"embedded_fields": False}),
    "links": (Task("Summarise the page https://example.org in words."), {"links": False}),
    "placeholders": (Task("Write a greeting card.", "To <name of friend>"), {"placeholders": False}),
    "input_repeated": (Task("Turn 'good day' into French, please.", "good day"), {"input_repeated": False}),
}


def test_sound_tasks_pass() -> None:
    assert [TaskFilter().fault(task) for task in SOUND] == [""] * len(SOUND)


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_refuses_by_its_name_and_can_be_switched_off(rule: str) -> None:
    task, off = BROKEN[rule]
    assert TaskFilter().fault(task) == rule
    assert replace(TaskFilter(), **off).fault(task) == ""


def test_every_rule_is_tried_here() -> None:
    assert {*BROKEN, "novelty"} == set(RULES)


@pytest.mark.parametrize(("count", "fault"), [(3, "words"), (4, ""), (150, ""), (151, "words")])
def test_the_published_bounds_on_words(count: int, fault: str) -> None:
    assert TaskFilter().fault(Task(" ".join(["word"] * count))) == fault


def test_bounds_that_nothing_lies_between_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"min_words 9 is above max_words 5"):
        TaskFilter(min_words=9, max_words=5)


ANSWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "role_markers": ("Iron.\nUser: and another?", {"role_markers": False}),
    "answer_choices": ("Answer choices: iron, wood", {"answer_choices": False}),
    "input_leak": ("Iron. <noinput>", {"input_leak": False}),
    "follow_up": ("Iron is a metal.\n\nWhat is the capital of Peru?", {"follow_up": False}),
}
OFF_BY_DEFAULT: dict[str, str] = {"option_letters": "It is B. Iron", "east_asian": "Iron is 鉄 in Japanese."}


@pytest.mark.parametrize("rule", ANSWERS)
def test_each_rule_for_answers_refuses_by_its_name_and_can_be_switched_off(rule: str) -> None:
    answer, off = ANSWERS[rule]
    assert AnswerFilter().fault(answer, finished=True) == rule
    assert replace(AnswerFilter(), **off).fault(answer, finished=True) == ""


@pytest.mark.parametrize("rule", OFF_BY_DEFAULT)
def test_rules_that_refuse_good_answers_are_off_unless_asked_for(rule: str) -> None:
    assert AnswerFilter().fault(OFF_BY_DEFAULT[rule], finished=True) == ""
    switched_on: dict[str, Any] = {rule: True}
    assert replace(AnswerFilter(), **switched_on).fault(OFF_BY_DEFAULT[rule], finished=True) == rule


def test_cut_and_empty_answers() -> None:
    assert AnswerFilter().fault("  \n", finished=True) == "empty"
    assert AnswerFilter().fault("Iron is", finished=False) == ""
    assert AnswerFilter(cut=True).fault("Iron is", finished=False) == "cut"
    assert {*ANSWERS, *OFF_BY_DEFAULT, "cut", "empty"} == set(ANSWER_RULES)


@pytest.mark.parametrize(
    "answer", ["Iron.", "Why not? Iron it is.", "The user: a person.", "It asks: is iron a metal?"]
)
def test_sound_answers_pass(answer: str) -> None:
    assert AnswerFilter().fault(answer, finished=True) == ""
