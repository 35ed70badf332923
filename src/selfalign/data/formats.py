"""What one row of a data file means: the known formats, recognised by their keys, turned into the nouns.

Pure: a row is a mapping that somebody else read. This module knows nothing of files, lines or the network; a row it
cannot use raises `Misfit`, and `sources` adds the place. Texts are taken as they are: nothing is stripped or repaired,
except that an empty system message means none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from selfalign.data.turns import (
    Misfit,
    Reading,
    asked,
    conversation,
    nearest,
    prompt_at,
    shown,
    split_answer,
    text_at,
    without_nothing,
)
from selfalign.measures.verifiers import check_faults
from selfalign.types import Chat, Demonstration, Instruction, Message, Pair, Probe

Row = Mapping[str, Any]


# ---------------------------------------------------------------------------------------------- the nouns


def chat_of(row: Row, identifier: str, *, answers: bool = True) -> Chat:
    """The prompt and answer of a row. A preference row gives its preferred answer (`chosen`, `real`).

    With `answers` an answer that is missing or blank is refused; without it, such a row is a prompt.

    Raises:
        Misfit: the row has no known format, a value of the wrong type, no user message, or lacks a needed answer.
    """
    row = without_nothing(row)
    reading = format_of(row)(row)
    if not any(message.role == "user" for message in reading.prompt):
        raise Misfit("no user message comes before the answer: there is nothing to answer")
    if reading.answer is None and answers:
        raise Misfit(missing_answer(row))
    if reading.answer is not None and not reading.answer.strip():
        if answers:
            raise Misfit("the answer is empty: give one or remove the row")
        return Chat(id=identifier, prompt=reading.prompt)
    return Chat(id=identifier, prompt=reading.prompt, answer=reading.answer)


def pair_of(row: Row, identifier: str) -> Pair:
    """The preferred and the other answer of a row with `chosen`/`rejected` or SPIN's `real`/`generated`.

    Raises:
        Misfit: as `chat_of`, and when the two sides answer different prompts.
    """
    row = without_nothing(row)
    names = preference_keys(row)
    if names is None:
        raise unrecognised(row, PAIR_FORMATS)
    chosen, rejected = (whole_conversation(row, name) for name in names)
    if chosen[:-1] != rejected[:-1]:
        raise Misfit(f"{names[0]!r} and {names[1]!r} answer different prompts: a pair needs two answers to one prompt")
    if not any(message.role == "user" for message in chosen[:-1]):
        raise Misfit(f"no user message comes before the answers: add a 'prompt' to {names[0]!r} and {names[1]!r}")
    for name, side in zip(names, (chosen, rejected), strict=True):
        if not side[-1].content.strip():
            raise Misfit(f"the answer in {name!r} is empty: give one or remove the row")
    return Pair(id=identifier, prompt=chosen[:-1], chosen=chosen[-1].content, rejected=rejected[-1].content)


def instruction_of(row: Row, identifier: str) -> Instruction:
    """The prompt of a row and its `checks`: a list of constraints that `measures.verifiers` knows.

    Raises:
        Misfit: as `chat_of`, and when `checks` is missing, empty or wrong; every wrong check is named.
    """
    row = without_nothing(row)
    checks = row.get("checks")
    if not isinstance(checks, list) or not checks:
        raise Misfit(f"'checks' must be a list of at least one check, not {shown(checks)}")
    faults = check_faults(checks)
    if faults:
        raise Misfit("; ".join(faults))
    chat = chat_of(row, identifier, answers=False)
    return Instruction(id=identifier, prompt=chat.prompt, checks=json.dumps(checks, sort_keys=True))


def demonstration_of(row: Row, identifier: str) -> Demonstration:
    """The prompt and answer of a row, and its `thought`: what is thought before the answer; none where it is missing.

    Raises:
        Misfit: as `chat_of`, and when the thought is no text.
    """
    row = without_nothing(row)
    chat = chat_of(row, identifier)
    assert chat.answer is not None
    thought = text_at(row, "thought") if "thought" in row else ""
    return Demonstration(id=identifier, prompt=chat.prompt, thought=thought.strip(), answer=chat.answer.strip())


def probe_of(row: Row, identifier: str) -> Probe:
    """The `type` (or `kind`), `topic` and `question` of a row.

    Raises:
        Misfit: one of them is missing, empty or no text.
    """
    row = without_nothing(row)
    fields = {"kind": "type" if "type" in row else "kind", "topic": "topic", "question": "question"}
    texts = {}
    for name, key in fields.items():
        if key not in row or not text_at(row, key).strip():
            raise Misfit(f"{key!r} is missing or empty: a probe has 'type', 'topic' and 'question'")
        texts[name] = " ".join(text_at(row, key).split())
    return Probe(id=identifier, kind=texts["kind"], topic=texts["topic"], question=texts["question"])


# -------------------------------------------------------------------------------------------- the formats


def of_messages(row: Row) -> Reading:
    """`messages`: role and content; the last one, if the assistant's, is the answer."""
    return split_answer(conversation(row["messages"], "messages"))


def of_conversations(row: Row) -> Reading:
    """ShareGPT: `conversations` with from and value."""
    return split_answer(conversation(row["conversations"], "conversations"))


def of_preference(row: Row) -> Reading:
    """A pair: the preferred side is the demonstration."""
    names = preference_keys(row)
    assert names is not None, "the format was recognised by these keys"
    return split_answer(whole_conversation(row, names[0]))


def of_real(row: Row) -> Reading:
    """SPIN's file before any model has generated: `real` alone."""
    return split_answer(whole_conversation(row, "real"))


def of_instances(row: Row) -> Reading:
    """Self-Instruct's seed tasks: an instruction and exactly one instance of input and output."""
    instances = row["instances"]
    if not isinstance(instances, list) or len(instances) != 1 or not isinstance(instances[0], Mapping):
        raise Misfit(f"'instances' must be a list of one instance, not {shown(instances)}: write one row an instance")
    return of_instruction({"instruction": row["instruction"], **without_nothing(instances[0])})


def of_instruction(row: Row) -> Reading:
    """Alpaca: `instruction`, `input` (joined to it by a blank line), `output`; Dolly's names are known too."""
    instruction = text_at(row, "instruction")
    if not instruction.strip():
        raise Misfit("'instruction' is empty: give one or remove the row")
    given = text_at(row, "input" if "input" in row else "context") if row.keys() & {"input", "context"} else ""
    answer = text_at(row, "output" if "output" in row else "response") if row.keys() & {"output", "response"} else None
    return Reading(asked(f"{instruction}\n\n{given}" if given.strip() else instruction, "instruction"), answer)


def of_prompt(row: Row) -> Reading:
    """`prompt` and perhaps `completion` or `response`: each a text or a list of messages."""
    prompt = prompt_at(row, "prompt")
    name = next((name for name in ("completion", "response") if name in row), None)
    if name is None:
        return split_answer(prompt)
    return split_answer((*prompt, *answer_at(row, name)))


def of_question(row: Row) -> Reading:
    """`question` and `answer`."""
    answer = text_at(row, "answer") if "answer" in row else None
    return Reading(asked(text_at(row, "question"), "question"), answer)


def of_turns(row: Row) -> Reading:
    """MT-Bench and Vicuna: `turns`, the user's messages one after the other; the first of them is the prompt."""
    turns = row["turns"]
    if not isinstance(turns, list) or not turns:
        raise Misfit(f"'turns' must be a list of the user's messages, not {shown(turns)}")
    return Reading(asked(text_at({"turns": turns[0]}, "turns"), "turns"), None)


def of_text(row: Row) -> Reading:
    """Vicuna's first form: `question_id` and `text`."""
    return Reading(asked(text_at(row, "text"), "text"), None)


class Format(NamedTuple):
    """A format: the keys that tell it, how it is written in messages, how it is read. The first that fits is used."""

    keys: frozenset[str]
    written: str
    read: Callable[[Row], Any]


def known_format(written: str, keys: str, read: Callable[[Row], Reading]) -> Format:
    """One line of the table below; `keys` are separated by spaces."""
    return Format(frozenset(keys.split()), written, read)


CHAT_FORMATS = (
    known_format("messages", "messages", of_messages),
    known_format("conversations", "conversations", of_conversations),
    known_format("prompt + chosen + rejected", "chosen rejected", of_preference),
    known_format("real + generated", "real generated", of_preference),
    known_format("real", "real", of_real),
    known_format("instruction + instances", "instruction instances", of_instances),
    known_format("instruction + input + output", "instruction", of_instruction),
    known_format("prompt + completion", "prompt", of_prompt),
    known_format("question + answer", "question", of_question),
    known_format("question_id + turns", "question_id turns", of_turns),
    known_format("question_id + text", "question_id text", of_text),
)
PAIR_FORMATS = tuple(item for item in CHAT_FORMATS if item.read is of_preference)


def format_of(row: Row) -> Callable[[Row], Reading]:
    """How to read a row with these keys.

    Raises:
        Misfit: no format fits; the message shows the row's keys, what they nearly are, and the formats that fit.
    """
    for item in CHAT_FORMATS:
        if item.keys <= row.keys():
            return item.read
    raise unrecognised(row, CHAT_FORMATS)


def preference_keys(row: Row) -> tuple[str, str] | None:
    """The names of the preferred and of the other side, when the row has both."""
    return next((pair for pair in (("chosen", "rejected"), ("real", "generated")) if row.keys() >= set(pair)), None)


def unrecognised(row: Row, formats: Sequence[Format]) -> Misfit:
    """The refusal of a row whose keys fit none of these formats, with the nearest known key where there is one."""
    known = sorted({key for item in formats for key in item.written.split(" + ")})
    near = [f"{key!r} (did you mean {match[0]!r}?)" for key in map(str, row) if (match := nearest(key, known))]
    keys = ", ".join(map(repr, list(row)[:12])) or "none"
    return Misfit(f"no known format fits its keys {keys}" + "".join(f"; {hint}" for hint in near), unrecognised=True)


def written(formats: Iterable[Format]) -> str:
    """The formats as a message lists them."""
    return " | ".join(item.written for item in formats)


def missing_answer(row: Row) -> str:
    """Why a row without an answer has none."""
    if row.keys() & {"messages", "conversations"}:
        return "the conversation does not end with the assistant: an answer is needed here"
    keys = ", ".join(map(repr, list(row)[:12]))
    return f"no answer among its keys {keys}: one is needed here ('output', 'completion', 'response' or 'answer')"


# ------------------------------------------------------------------------------------------ both sides of a pair


def answer_at(row: Row, name: str) -> tuple[Message, ...]:
    """An answer given as a text or as messages that end with the assistant's."""
    if not isinstance(row[name], list):
        return (Message(role="assistant", content=text_at(row, name)),)
    messages = conversation(row[name], name)
    if messages[-1].role != "assistant":
        raise Misfit(f"the last message of {name!r} must be the assistant's, not the {messages[-1].role}'s")
    return messages


def whole_conversation(row: Row, name: str) -> tuple[Message, ...]:
    """Prompt and answer of one side of a pair, whether the side repeats the prompt or not.

    Only messages are searched for the prompt: a text answer may rightly begin with the words of its prompt.
    """
    side = answer_at(row, name)
    if "prompt" not in row:
        return side
    prompt = prompt_at(row, "prompt")
    if side[: len(prompt)] == prompt and len(side) > len(prompt):
        return side
    if len(side) == 1:
        return (*prompt, *side)
    if isinstance(row["prompt"], str) and prompt[0].content.strip() in {message.content.strip() for message in side}:
        return side
    raise Misfit(f"the conversation in {name!r} does not contain the 'prompt': remove 'prompt' or correct it")
