"""A numbered list of tasks: written for a model to continue, and read from what it wrote. Pure.

A task is an instruction and, where it needs something to work on, an input; in a prompt a blank line parts the two.
Reading is tolerant of form (bold type, numbers that go on or begin anew, rules between tasks, an answer nobody asked
for) and exact in what it gives: a task is whole or it is none, and where that cannot be told it is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

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
CUT, NO_INSTRUCTION, NO_FIELD, EMPTY_INPUT, OTHER_NUMBER, WITHIN = (
    "the text was cut within it",
    "its instruction is empty",
    "it has no input, and nothing tells where its instruction ends",
    "its input is empty",
    "its input has another number than its instruction",
    "what could be another field or task stands within it",
)

# Possessive: a line of marks is looked at once. A heading behind signs of markdown has a number, so that no comment in
# code is one.
FIELD = re.compile(
    r"^(?:[ \t>*_-]*+(?:#{1,6}[ \t]++)?+(?P<number>\d{1,4})[ \t]*+[.):][ \t]*+|[ \t>*_-]*+)"
    r"[*_]*+(?P<name>instruction|input|output)(?:[ \t]++(?P<after>\d{1,4}))?+[*_]*+[ \t]*+[:：][*_]*+[ \t]*+",
    re.IGNORECASE | re.MULTILINE,
)
# At the end of a line, too: "2, 3 ###".
MARK_END = re.compile(r"#{3,}[ \t]*$", re.MULTILINE)
RULE_END = re.compile(r"(?:\A|\n)[ \t]*(?:-{3,}|={3,}|\*{3,})[ \t]*\Z")
NOTHING = re.compile(
    r"[<(\[*_]*(?:no[ _-]?input|none|n/?a|not applicable)[>)\]*_]*\.?|[<(\[](?:empty|nothing)[>)\]]", re.IGNORECASE
)
# Headings that are not in the form asked for, behind which the next task may stand.
OTHER_HEADING = re.compile(r"^#{2,}[ \t]*+(?:(?:task|instruction)\b|\d)", re.IGNORECASE | re.MULTILINE)
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

    A task ends at a mark, where the next one begins, or, after its input, where the text ends by itself. Of a text that
    was cut (`finished` is False) the last task is none unless a mark stands after it. In a numbered task only headings
    with its number count once its input has begun: a line that could be one without makes it unreadable, since nobody
    can tell whether it belongs to the input. Linear in the length of the text.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return [read_block(block, finished=finished) for block in blocks(from_first_task(text, number))]


def from_first_task(text: str, number: int) -> str:
    """A continuation with the heading of its first task before it.

    A model that was asked in a conversation writes that heading itself, often after a word of its own.
    """
    first = FIELD.search(text)
    if first is None or first["name"].casefold() != "instruction":
        return f"{number}. Instruction:{text}"
    itself = number_of(first) == str(number) or not text[: first.start()].strip()
    return text[first.start() :] if itself else f"{number}. Instruction:{text}"


# ------------------------------------------------------------------------------------------------ reading

Closed = Literal["mark", "heading", "nothing"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a task as it stands in the text: `name` in lower case, `number` empty where none is written."""

    name: str
    number: str
    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """The fields of a piece that begins with an instruction, and what tells that it ended."""

    fields: tuple[Field, ...]
    closed: Closed


def number_of(heading: re.Match[str]) -> str:
    """The number in a heading, before or after its word; empty where none is written."""
    return heading["number"] or heading["after"] or ""


def blocks(text: str) -> Iterator[Block]:
    """The pieces of a list, each from its instruction to a mark, the next instruction, or the end."""
    marks = [(found.start(), found.end(), None) for found in MARK_END.finditer(text)]
    headings = [(found.start(), found.end(), found) for found in FIELD.finditer(text)]
    places = sorted((*marks, *headings), key=lambda place: place[0])
    fields: list[Field] = []
    for place, (_, end, heading) in enumerate(places):
        begins = heading is not None and begins_task(heading, fields)
        if fields and (heading is None or begins):
            yield Block(tuple(fields), "mark" if heading is None else "heading")
        if heading is None or begins:
            fields = []
        if heading is not None and (fields or begins):
            until = places[place + 1][0] if place + 1 < len(places) else len(text)
            fields.append(Field(heading["name"].casefold(), number_of(heading), text[end:until].strip()))
    if fields:
        yield Block(tuple(fields), "nothing")


def begins_task(heading: re.Match[str], fields: Sequence[Field]) -> bool:
    """Whether a heading begins the next task: one without a number does so only in a list without numbers."""
    if heading["name"].casefold() != "instruction":
        return False
    return not fields or bool(number_of(heading)) or not fields[0].number


def read_block(block: Block, *, finished: bool) -> Task | Unreadable:
    """The task that fields amount to; an answer nobody asked for is left out."""
    instruction, *rest = block.fields
    given, fault = input_of(instruction, rest)
    text = given.text if given is not None else ""
    if block.closed == "heading":  # a rule is often drawn between two tasks
        text = RULE_END.sub("", text).strip()
    whys = (
        (CUT, block.closed == "nothing" and not finished),
        (NO_INSTRUCTION, not instruction.text),
        (fault, bool(fault)),
        (NO_FIELD, given is None and ("\n" in instruction.text or block.closed != "mark")),
        (EMPTY_INPUT, given is not None and not text),
        (WITHIN, strays(instruction, text) or strays(instruction, instruction.text)),
    )
    why = next((why for why, holds in whys if holds), "")
    if why:
        return Unreadable("\n".join(one.text for one in block.fields), why)
    return Task(BLANK_LINES.sub("\n", instruction.text), "" if NOTHING.fullmatch(text) else text)


def input_of(instruction: Field, rest: Sequence[Field]) -> tuple[Field | None, str]:
    """The input among the fields after an instruction, if there is one, and what is wrong with them.

    The answer a model adds (`Output:`) is written in the form of the field before it, and nothing follows it.
    """
    if not rest:
        return None, ""
    given, *after = rest
    if given.name == "output":
        return None, "" if not after and given.number == instruction.number else WITHIN
    if given.name != "input" or given.number not in ("", instruction.number):
        return None, OTHER_NUMBER if given.name == "input" else WITHIN
    sound = not after or (len(after) == 1 and after[0].name == "output" and after[0].number == given.number)
    return given, "" if sound and (not after or given.number == instruction.number) else WITHIN


def strays(instruction: Field, text: str) -> bool:
    """Whether a heading in another form, or the next number of the list, stands in a text."""
    if OTHER_HEADING.search(text) is not None:
        return True
    if not instruction.number:
        return False
    number = int(instruction.number)
    numbered = {int(found[1]) for found in re.finditer(r"^[ \t]*(\d{1,4})[.)][ \t]", text, re.MULTILINE)}
    return number + 1 in numbered and number not in numbered
