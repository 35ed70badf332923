"""How a conversation is written in a row: texts, messages, roles, and what is wrong with one that cannot be read.

Pure, and blind to formats: which keys a row has is `formats`' business. Texts are taken as they are; nothing is
stripped or repaired, except that an empty system message means none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from selfalign.types import Message, Role

ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}

Row = Mapping[str, Any]


class Misfit(ValueError):
    """A row that cannot be used, and why. `unrecognised` is True when no known format fits its keys."""

    def __init__(self, fault: str, *, unrecognised: bool = False) -> None:
        super().__init__(fault)
        self.unrecognised = unrecognised


class Reading(NamedTuple):
    """A prompt and the answer a row gives to it, if it gives one."""

    prompt: tuple[Message, ...]
    answer: str | None


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """The known word that this one is a slip of the pen for, if any; empty when it is itself known."""
    return [] if word in known else get_close_matches(word.lower(), known, n=1, cutoff=0.75)


def without_nothing(row: Row) -> dict[str, Any]:
    """The row less its None values: Parquet gives every row every key that any row has."""
    return {key: value for key, value in row.items() if value is not None}


def text_at(row: Row, name: str) -> str:
    """A text value. Raises `Misfit` when it is of another type, missing, or cannot be written as UTF-8."""
    if name not in row:
        raise Misfit(f"{name!r} is missing")
    value = row[name]
    if not isinstance(value, str):
        raise Misfit(f"{name!r} must be text, not {shown(value)}")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Misfit(f"{name!r} holds half of a surrogate pair, which no file or tokenizer can hold: repair the text")
    return value


def asked(text: str, name: str) -> tuple[Message, ...]:
    """A prompt of one user message; a blank one is refused."""
    if not text.strip():
        raise Misfit(f"{name!r} is empty: there is nothing to answer")
    return (Message(role="user", content=text),)


def prompt_at(row: Row, name: str) -> tuple[Message, ...]:
    """A prompt given as a text or as messages."""
    value = row[name]
    return conversation(value, name) if isinstance(value, list) else asked(text_at(row, name), name)


def conversation(value: Any, name: str) -> tuple[Message, ...]:
    """Messages from a list of role/content or from/value objects; empty system messages are left out."""
    if not isinstance(value, list) or not value:
        raise Misfit(f"{name!r} must be a list of messages, not {shown(value)}")
    messages = tuple(message_of(turn, f"{name}[{index}]") for index, turn in enumerate(value))
    spoken = tuple(message for message in messages if message.role != "system" or message.content.strip())
    if not spoken:
        raise Misfit(f"{name!r} holds no message but an empty system message")
    return spoken


def message_of(turn: Any, place: str) -> Message:
    """One turn of a conversation."""
    if not isinstance(turn, Mapping):
        raise Misfit(f"{place} must be an object with 'role' and 'content', not {shown(turn)}")
    turn = without_nothing(turn)
    role_name, content_name = ("from", "value") if "from" in turn else ("role", "content")
    try:
        role, content = text_at(turn, role_name), text_at(turn, content_name)
    except Misfit as misfit:
        raise Misfit(f"{place}: {misfit}") from None
    if role not in ROLES:
        near = nearest(role, list(ROLES))
        remedy = f"did you mean {near[0]!r}?" if near else "known are system, user (human) and assistant (gpt)"
        raise Misfit(f"{place}: unknown role {role!r}: {remedy}")
    if ROLES[role] == "user" and not content.strip():
        raise Misfit(f"{place}: the user's message is empty")
    return Message(role=ROLES[role], content=content)


def split_answer(messages: tuple[Message, ...]) -> Reading:
    """The last message as the answer when it is the assistant's, and what comes before it."""
    if messages[-1].role == "assistant":
        return Reading(messages[:-1], messages[-1].content)
    return Reading(messages, None)


def shown(value: Any) -> str:
    """A wrong value in few words."""
    if value is None:
        return "nothing"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:40] + '…'}"
