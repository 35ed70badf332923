"""Lists of tasks: what a model is shown, and what is read from what it wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfalign.synthesis.task_list import (
    CUT,
    EMPTY_INPUT,
    NO_FIELD,
    NO_INSTRUCTION,
    OTHER_NUMBER,
    REQUEST,
    WITHIN,
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
}
WITHIN_CASES = (
    " Add these.\n3. Input:\n2, 3\n3. Input:\n4\n###\n",
    " Name the animal.\n3. Input:\nword: cat\nOutput: feline\nword: dog\n###\n",
    " Say who speaks.\n3. Input:\nUser: hi\nInput: hello\n###\n",
    " Add these.\n3. Input:\n2, 3\n### Task 4\nWrite a poem.\n###\n",
    " Add these.\n3. Input:\n2, 3\n##\n4. Write a poem\n###\n",
    " Add these.\n3. Input:\n2, 3\nInstruction: Write a poem.\nInput: none\n###\n",
    " Square it.\n3. Output:\nInput: 5\nprints 25\n###\n",
)


@pytest.mark.parametrize("why", FAULTY)
def test_a_piece_that_is_no_whole_task_says_why(why: str) -> None:
    (piece,) = read(FAULTY[why])
    assert isinstance(piece, Unreadable)
    assert piece.why == why


@pytest.mark.parametrize("text", WITHIN_CASES)
def test_what_could_be_another_field_or_task_makes_a_task_unreadable_never_shorter(text: str) -> None:
    assert read(text)
    assert all(isinstance(piece, Unreadable) and piece.why == WITHIN for piece in read(text))


def test_rules_and_comments_within_an_input_belong_to_it() -> None:
    letter = "Dear Ann,\n---\nPS: bring the keys."
    table = "Name Age\n=====\nAnn 30"
    code = "def f(x):\n    return 2 * x\n# Output: 6\nprint(f(3))"
    for material in (letter, table, code):
        assert read(f" Shorten it.\n3. Input:\n{material}\n###\n") == [Task("Shorten it.", material)]
    ruled = f" Shorten it.\n3. Input:\n{letter}\n---\n4. Instruction: Add.\n4. Input:\n2\n###"
    assert read(ruled) == [Task("Shorten it.", letter), Task("Add.", "2")]
    assert read(f" Shorten it.\n3. Input:\n{letter}", finished=False) == [Unreadable(f"Shorten it.\n{letter}", CUT)]


def test_an_input_that_is_announced_and_missing_is_no_input_of_none() -> None:
    (piece, *_) = read(" Correct the spelling.\n3. Input:\n###\n")
    assert isinstance(piece, Unreadable)
    assert piece.why == EMPTY_INPUT
    assert read(" Give a synonym.\n3. Input:\nempty\n###\n") == [Task("Give a synonym.", "empty")]


@pytest.mark.parametrize(
    "prose", [" I'm sorry, I can't continue this list.", "Sure, here are more:\n\n1. Instruction: Go"]
)
def test_prose_is_no_task(prose: str) -> None:
    assert all(isinstance(piece, Unreadable) for piece in read(prose))


def test_the_last_task_of_a_cut_text_is_none() -> None:
    text = " Name a metal.\n3. Input: none\n###\n4. Instruction: Add the numbers in this li"
    assert read(text, finished=False)[0] == Task("Name a metal.")
    last = read(text, finished=False)[1]
    assert isinstance(last, Unreadable)
    assert last.why == CUT
    assert read(" Add.\n3. Input:\n2, 3", finished=False) == [Unreadable("Add.\n2, 3", CUT)]
    assert read(" Add.\n3. Input:\n2, 3\n###\n", finished=False) == [Task("Add.", "2, 3")], "the mark closes it"
    assert read(" Add.\n3. Input:\n2, 3", finished=True) == [Task("Add.", "2, 3")], "the text ended by itself"


PLANTED = [Task("Name a metal."), SORT, Task("Add.", "2\n3"), Task("Turn it round.", "1. one\n2. two")]
PIECES = st.sampled_from(
    ["3. Input:\n", "Input: ", "4. Instruction: ", "Instruction: Go.", "###\n", "---\n", "Output: ", "3. Output:\n",
     "# Input: 3", "\n", " some words", "2, 3", "\n\n", "**", "7. Input: none\n", "<noinput>", "Sure:"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join), st.booleans())
def test_no_text_breaks_the_reader_or_makes_half_a_task(text: str, finished: bool) -> None:
    for piece in read(text, finished=finished):
        if isinstance(piece, Task):
            assert piece.instruction.strip() == piece.instruction != ""
            assert "\n\n" not in piece.instruction
            assert task_of(piece.prompt) == piece


@given(st.lists(st.sampled_from(PLANTED), min_size=1, max_size=4), st.integers(0, 400))
def test_a_text_that_is_cut_anywhere_gives_whole_tasks_of_it_alone(tasks: list[Task], length: int) -> None:
    lines = [f" {tasks[0].instruction}\n3. Input:\n{tasks[0].input or '<noinput>'}\n###\n"]
    for number, task in enumerate(tasks[1:], 4):
        lines.append(f"{number}. Instruction: {task.instruction}\n{number}. Input:\n{task.input or '<noinput>'}\n###\n")
    whole = "".join(lines)
    assert read(whole) == tasks
    found = [piece for piece in read(whole[:length], finished=False) if isinstance(piece, Task)]
    assert found == tasks[: len(found)]


def test_reading_is_linear_in_the_length() -> None:
    import gc
    import time

    def seconds(text: str) -> float:
        # Of this process alone, and without the collector, which goes over all that other tests left.
        gc.disable()
        begun = time.process_time()
        read(text)
        spent = time.process_time() - begun
        gc.enable()
        return spent

    for hostile in (
        "\n",
        "# ",
        "###\n",
        "3. Instruction:",
        "\n \n",
        "*_",
        "3. Input:\n",
        "---\n",
        "4. ",
        "## 4\n",
        "#",
    ):
        for frame in ("{}", " Add.\n3. Input:\n{}\n###\n"):
            short, long = (min(seconds(frame.format(hostile * times)) for _ in range(3)) for times in (4_000, 32_000))
            assert long < 30 * short + 0.05, (hostile, frame)
