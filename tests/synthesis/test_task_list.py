"""Lists of tasks: what a model is shown, and what is read from what it wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfalign.synthesis.task_list import (
    CUT,
    NO_FIELD,
    NO_INSTRUCTION,
    OTHER_NUMBER,
    REPEATED_FIELD,
    REQUEST,
    Task,
    Unreadable,
    read_tasks,
    task_list,
    task_of,
)

SORT = Task("Sort these words by length.", "pear, fig, banana")
RHYME = Task("Find three words that rhyme with moon.")


def read(text: str, *, number: int = 3, finished: bool = True) -> list[Task | Unreadable]:
    return read_tasks(text, number=number, finished=finished)


def test_a_list_ends_where_the_next_instruction_begins() -> None:
    text = task_list([SORT, RHYME], request="Go on.")
    assert text == (
        "Go on.\n\n###\n1. Instruction: Sort these words by length.\n1. Input:\npear, fig, banana\n"
        "###\n2. Instruction: Find three words that rhyme with moon.\n2. Input:\n<noinput>\n###\n3. Instruction:"
    )
    assert task_list([RHYME], request="").startswith("###\n1. Instruction:")


@pytest.mark.parametrize("task", [SORT, RHYME, Task("Shorten it.", "One paragraph.\n\nAnd another: 1. 2. 3.")])
def test_a_task_survives_the_list_and_the_prompt(task: Task) -> None:
    whole = task_list([SORT, task], request=REQUEST)
    written = whole.split("2. Instruction:")[1].rsplit("###", 1)[0] + "###\n"
    assert read(written, number=2) == [task]
    assert task_of(task.prompt) == task


CASES = {
    "as asked": (" Name a metal.\n3. Input:\n<noinput>\n###\n4. Instruction: Add.\n4. Input:\n2, 3\n###\n",
                 [Task("Name a metal."), Task("Add.", "2, 3")]),
    "no marks between tasks": (" Name a metal.\n3. Input: none\n4. Instruction: Add.\n4. Input: 2, 3",
                               [Task("Name a metal."), Task("Add.", "2, 3")]),
    "bold and brackets": (" Name a metal.\n**3. Input:** (no input)\n###\n**4) Instruction:** Add.\n**Input**: 2, 3",
                          [Task("Name a metal."), Task("Add.", "2, 3")]),
    "the reply begins with its own heading": ("\n3. Instruction: Name a metal.\n3. Input:\nN/A\n###",
                                              [Task("Name a metal.")]),
    "a chat model's opening words": ("Sure, here they are.\n3. Instruction: Name a metal.\n3. Input: none",
                                     [Task("Name a metal.")]),
    "an answer nobody asked for": (" Name a metal.\n3. Input:\n<noinput>\n3. Output:\nIron.\n\nAnd tin.\n###\n",
                                   [Task("Name a metal.")]),
    "numbers restart": (" Name a metal.\n3. Input: none\n###\n1. Instruction: Add.\n1. Input:\n2\n###",
                        [Task("Name a metal."), Task("Add.", "2")]),
    "an instruction on one line without input": (" Name a metal.\n###\n4. Instruction: Add.\n4. Input:\n2\n###",
                                                 [Task("Name a metal."), Task("Add.", "2")]),
    "chatter after the list": (" Name a metal.\n3. Input: none\n###\nThat was the list.\n", [Task("Name a metal.")]),
    "windows line ends": (" Name a metal.\r\n3. Input:\r\n<noinput>\r\n###\r\n", [Task("Name a metal.")]),
    "several lines": (" Write a haiku\nabout frost.\n3. Input:\n<noinput>\n###", [Task("Write a haiku\nabout frost.")]),
    "a blank line within": (" Write a haiku.\n\nAbout frost.\n3. Input:\nnone\n###",
                            [Task("Write a haiku.\nAbout frost.")]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_tasks_are_read_whatever_the_form(name: str) -> None:
    text, tasks = CASES[name]
    assert read(text) == tasks


FAULTY = {
    NO_INSTRUCTION: "\n3. Input:\nred, blue\n###\n",
    NO_FIELD: " Write a poem.\nRoses are red,\nviolets are blue.\n###\n",
    OTHER_NUMBER: " Add these.\n5. Input:\n2, 3\n###\n",
    REPEATED_FIELD: " Add these.\n3. Input:\n2, 3\n3. Input:\n4\n###\n",
}


@pytest.mark.parametrize("why", FAULTY)
def test_a_piece_that_is_no_whole_task_says_why(why: str) -> None:
    (piece,) = read(FAULTY[why])
    assert isinstance(piece, Unreadable)
    assert piece.why == why


def test_the_last_task_of_a_cut_text_is_none() -> None:
    text = " Name a metal.\n3. Input: none\n###\n4. Instruction: Add the numbers in this li"
    assert read(text, finished=False)[0] == Task("Name a metal.")
    last = read(text, finished=False)[1]
    assert isinstance(last, Unreadable)
    assert last.why == CUT
    assert read(" Add.\n3. Input:\n2, 3", finished=False) == [Unreadable("Add.\n2, 3", CUT)]
    assert read(" Add.\n3. Input:\n2, 3\n###\n", finished=False) == [Task("Add.", "2, 3")], "the mark closes it"
    assert read(" Add.\n3. Input:\n2, 3", finished=True) == [Task("Add.", "2, 3")], "the text ended by itself"


@given(st.text(alphabet=" \n#.:12345Instrucoupa<>*-", max_size=400), st.booleans())
def test_no_text_breaks_the_reader_or_makes_half_a_task(text: str, finished: bool) -> None:
    for piece in read(text, finished=finished):
        if isinstance(piece, Task):
            assert piece.instruction.strip() == piece.instruction != ""
            assert "\n\n" not in piece.instruction
            assert task_of(piece.prompt) == piece


def test_reading_is_linear_in_the_length() -> None:
    import time

    def seconds(text: str) -> float:
        begun = time.perf_counter()
        read(text)
        return time.perf_counter() - begun

    for hostile in ("\n", "# ", "###\n", "3. Instruction:", "\n \n", "*_", "3. Input:\n", "-" * 3 + "\n"):
        assert seconds(hostile * 20_000) < 2.0, hostile
