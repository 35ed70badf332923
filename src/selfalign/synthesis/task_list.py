"""A numbered list of tasks: written for a model to continue, and read from what it wrote. Pure.

A task is an instruction and, where it needs something to work on, an input; in a prompt a blank line parts the two.
Reading is tolerant of form (other marks, bold type, numbers that go on, an answer nobody asked for) and exact in what
it gives: a task is whole or it is none. The last one of a text that was cut is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Parts tasks; the sign is the published one, which base models have met in many lists.
MARK = "###"
NO_INPUT = "<noinput>"
# Our own wording of Self-Instruct's and Alpaca's request.
REQUEST = (
    "What follows is a list of tasks for an assistant that reads and writes text and can do nothing else.\n"
    "- Every task differs from the others: in what is wanted, in the verb it begins with, in its subject, in the "
    "length and form of the answer.\n"
    "- Questions and commands take turns. Some need knowledge, some reasoning, some a sense of style, some code.\n"
    "- An instruction is one or two plain sentences and can be carried out as it stands.\n"
    f"- An input is the very material that its instruction speaks of, at most a hundred words; {NO_INPUT} stands "
    "where none is needed.\n"
)
CUT, NO_INSTRUCTION, NO_FIELD, OTHER_NUMBER, REPEATED_FIELD = (
    "the text was cut within it",
    "its instruction is empty",
    "it has several lines and no input",
    "its input has another number than its instruction",
    "it has two inputs",
)

# Possessive: a line of marks is looked at once.
FIELD = re.compile(
    r"^[ \t>*_-]*+(?:#{1,6}[ \t]++)?+(?:(?P<number>\d{1,4})[ \t]*+[.):][ \t]*+)?+"
    r"[*_]*+(?P<name>instruction|input|output)[*_]*+[ \t]*+[:：][*_]*+[ \t]*+",
    re.IGNORECASE | re.MULTILINE,
)
MARK_LINE = re.compile(r"^[ \t]*(?:#{3,}|-{3,}|={3,})[ \t]*$", re.MULTILINE)
NOTHING = re.compile(r"[<(\[*_]*(?:no[ _-]?input|none|n/?a|not applicable|empty)[>)\]*_]*\.?", re.IGNORECASE)
BLANK_LINES = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Task:
    """An instruction of one paragraph and what it is about; `input` is empty where it needs nothing."""

    instruction: str
    input: str = ""

    @property
    def prompt(self) -> str:
        """What a model is asked: instruction and input, a blank line between them."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A piece of a list that is no task, and why."""

    text: str
    why: str


def task_of(prompt: str) -> Task:
    """The task that a prompt poses: its first paragraph is the instruction, the rest the input."""
    instruction, *rest = BLANK_LINES.split(prompt.strip(), maxsplit=1)
    return Task(instruction, rest[0].strip() if rest else "")


def task_list(shots: Sequence[Task], *, request: str) -> str:
    """A list that begins with some tasks, up to the number of the next one: a model goes on with its instruction."""
    lines = [request.rstrip(), ""] if request.strip() else []
    for number, shot in enumerate(shots, 1):
        lines += [MARK, f"{number}. Instruction: {shot.instruction}", f"{number}. Input:", shot.input or NO_INPUT]
    return "\n".join((*lines, MARK, f"{len(shots) + 1}. Instruction:"))


def read_tasks(text: str, *, number: int, finished: bool) -> list[Task | Unreadable]:
    """The tasks in a continuation of a list, whose first is number `number`; pieces that are none say why.

    A task ends at a mark, where the next one begins, or where the text ends by itself. Of a text that was cut
    (`finished` is False) the last task is none unless a mark stands after it. Linear in the length of the text.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [read_block(block, closed=closed or finished) for block, closed in blocks(from_first_task(text, number))]


def from_first_task(text: str, number: int) -> str:
    """A continuation with the heading of its first task before it.

    A model that was asked in a conversation writes that heading itself, often after a word of its own.
    """
    first = FIELD.search(text)
    if first is None or first["name"].casefold() != "instruction":
        return f"{number}. Instruction:{text}"
    itself = first["number"] == str(number) or not text[: first.start()].strip()
    return text[first.start() :] if itself else f"{number}. Instruction:{text}"


# ------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a task as it stands in the text: `name` in lower case, `number` empty where none is written."""

    name: str
    number: str
    text: str


def blocks(text: str) -> Iterator[tuple[list[Field], bool]]:
    """The fields of each piece that begins with an instruction, and whether something tells that it ended."""
    marks = [(found.start(), found.end(), None) for found in MARK_LINE.finditer(text)]
    fields = [(found.start(), found.end(), found) for found in FIELD.finditer(text)]
    places = sorted((*marks, *fields), key=lambda place: place[0])
    block: list[Field] = []
    for place, (_, end, found) in enumerate(places):
        if found is None or found["name"].casefold() == "instruction":
            if block:
                yield block, True
            block = []
        if found is not None and (block or found["name"].casefold() == "instruction"):
            until = places[place + 1][0] if place + 1 < len(places) else len(text)
            block.append(Field(found["name"].casefold(), found["number"] or "", text[end:until].strip()))
    if block:
        yield block, False


def read_block(fields: Sequence[Field], *, closed: bool) -> Task | Unreadable:
    """The task that fields amount to. What follows an answer (`Output:`) belongs to the answer and is left out."""
    instruction, *rest = fields
    shown = "\n".join(one.text for one in fields)
    if not closed:
        return Unreadable(shown, CUT)
    inputs = [one for one in rest if one.name == "input"]
    if not instruction.text:
        return Unreadable(shown, NO_INSTRUCTION)
    if len(inputs) > 1:
        return Unreadable(shown, REPEATED_FIELD)
    if not inputs and "\n" in instruction.text:
        return Unreadable(shown, NO_FIELD)
    if inputs and inputs[0].number and instruction.number and inputs[0].number != instruction.number:
        return Unreadable(shown, OTHER_NUMBER)
    given = inputs[0].text if inputs else ""
    return Task(BLANK_LINES.sub("\n", instruction.text), "" if NOTHING.fullmatch(given) else given)
