"""Every known way to write a row gives the same nouns; a row that cannot be used says why."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfalign.data.formats import chat_of, instruction_of, pair_of
from selfalign.data.turns import Misfit
from selfalign.types import Message


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, str]:
    return {"role": "system", "content": text}


def said(prompt: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in prompt]


ONE_TURN: list[dict[str, Any]] = [
    {"instruction": "Hi", "output": "Ho"},
    {"instruction": "Hi", "input": "", "output": "Ho"},
    {"instruction": "Hi", "context": "", "response": "Ho"},
    {"instruction": "Hi", "instances": [{"input": "", "output": "Ho"}]},
    {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]},
    {"conversations": [{"from": "user", "value": "Hi"}, {"from": "assistant", "value": "Ho"}]},
    {"conversations": [user("Hi"), assistant("Ho")]},
    {"messages": [user("Hi"), assistant("Ho")]},
    {"messages": [system(""), user("Hi"), {**assistant("Ho"), "tool_calls": None}]},
    {"prompt": "Hi", "messages": [user("Hi"), assistant("Ho")], "prompt_id": "x"},
    {"prompt": "Hi", "completion": "Ho"},
    {"prompt": "Hi", "response": "Ho", "messages": None},
    {"prompt": [user("Hi")], "completion": [assistant("Ho")]},
    {"prompt": [user("Hi")], "completion": "Ho"},
    {"prompt": "Hi", "chosen": "Ho", "rejected": "No"},
    {"chosen": [user("Hi"), assistant("Ho")], "rejected": [user("Hi"), assistant("No")]},
    {"real": [user("Hi"), assistant("Ho")], "generated": [user("Hi"), assistant("")]},
    {"real": [user("Hi"), assistant("Ho")]},
    {"question": "Hi", "answer": "Ho"},
]


@pytest.mark.parametrize("row", ONE_TURN, ids=lambda row: "+".join(row))
def test_one_turn_in_every_format(row: dict[str, Any]) -> None:
    chat = chat_of(row, "a")
    assert (chat.id, said(chat.prompt), chat.answer, chat.finished) == ("a", [("user", "Hi")], "Ho", True)


def test_the_input_follows_the_instruction_after_a_blank_line() -> None:
    assert chat_of({"instruction": "Sum up:", "input": "A.", "output": "B"}, "a").prompt[0].content == "Sum up:\n\nA."


def test_earlier_turns_and_the_system_message_belong_to_the_prompt() -> None:
    turns = [system("Be brief."), user("Hi"), assistant("Ho"), user("Who?"), assistant("Me")]
    chat = chat_of({"messages": turns}, "a")
    assert said(chat.prompt) == [("system", "Be brief."), ("user", "Hi"), ("assistant", "Ho"), ("user", "Who?")]
    assert chat.answer == "Me"


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi"},
        {"instruction": "Hi"},
        {"question": "Hi"},
        {"messages": [user("Hi")]},
        {"prompt": [user("Hi")]},
        {"instruction": "Hi", "output": " "},
    ],
)
def test_a_prompt_alone_is_read_where_no_answer_is_needed(row: dict[str, Any]) -> None:
    chat = chat_of(row, "a", answers=False)
    assert (said(chat.prompt), chat.answer) == ([("user", "Hi")], None)
    with pytest.raises(Misfit, match="answer"):
        chat_of(row, "a")


def test_an_answer_is_kept_where_none_is_needed() -> None:
    assert chat_of({"question": "Hi", "answer": "Ho"}, "a", answers=False).answer == "Ho"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"text": "x"}, "no known format fits its keys 'text'"),
        ({"instuction": "x", "output": "y"}, "'instuction' (did you mean 'instruction'?)"),
        ({"messages": "Hi"}, "'messages' must be a list of messages, not str 'Hi'"),
        ({"messages": []}, "'messages' must be a list of messages"),
        ({"messages": [None]}, "messages[0] must be an object with 'role' and 'content', not nothing"),
        ({"messages": [{"role": "user"}]}, "messages[0]: 'content' is missing"),
        ({"messages": [{"role": "user", "content": [1]}]}, "messages[0]: 'content' must be text, not list [1]"),
        (
            {"messages": [user("Hi"), {"role": "assistent", "content": "x"}]},
            "messages[1]: unknown role 'assistent': did you mean",
        ),
        ({"messages": [user("Hi"), {"role": "tool", "content": "x"}]}, "known are system, user (human) and assistant"),
        ({"messages": [user(""), assistant("x")]}, "messages[0]: the user's message is empty"),
        ({"messages": [system(" ")]}, "holds no message but an empty system message"),
        ({"messages": [assistant("x")]}, "no user message"),
        ({"messages": [system("S"), assistant("x")]}, "no user message"),
        ({"messages": [user("Hi"), assistant("Ho"), user("?")]}, "does not end with the assistant"),
        ({"messages": [user("Hi"), assistant("  ")]}, "the answer is empty"),
        ({"prompt": "", "completion": "x"}, "'prompt' is empty: there is nothing to answer"),
        ({"prompt": "x", "completion": 3}, "'completion' must be text, not int 3"),
        ({"prompt": "x", "completion": [user("y")]}, "the last message of 'completion' must be the assistant's"),
        ({"instruction": "x", "instances": []}, "'instances' must be a list of one instance"),
        ({"instruction": "x", "input": 4, "output": "y"}, "'input' must be text, not int 4"),
        ({"question": "x", "answer": ["y"]}, "'answer' must be text, not list ['y']"),
    ],
)
def test_a_row_that_cannot_be_used_says_why(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(Misfit) as caught:
        chat_of(row, "a")
    assert fault in str(caught.value)


HI, HO, NO = user("Hi"), assistant("Ho"), assistant("No")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi", "chosen": "Ho", "rejected": "No"},
        {"prompt": [HI], "chosen": [HO], "rejected": [NO]},
        {"prompt": [HI], "chosen": "Ho", "rejected": [NO]},
        {"prompt": "Hi", "chosen": [HI, HO], "rejected": [HI, NO]},
        {"prompt": [HI], "chosen": [HI, HO], "rejected": [HI, NO]},
        {"chosen": [HI, HO], "rejected": [HI, NO], "prompt": None},
        {"real": [HI, HO], "generated": [HI, NO]},
        {"prompt": "Hi", "real": "Ho", "generated": "No"},
    ],
)
def test_pairs_in_every_format(row: dict[str, Any]) -> None:
    pair = pair_of(row, "a")
    assert (pair.id, said(pair.prompt), pair.chosen, pair.rejected) == ("a", [("user", "Hi")], "Ho", "No")


def test_a_whole_conversation_keeps_its_earlier_turns() -> None:
    turns = [system("S"), HI, HO, user("Why?")]
    pair = pair_of({"prompt": "Hi", "chosen": [*turns, HO], "rejected": [*turns, NO]}, "a")
    assert [message.content for message in pair.prompt] == ["S", "Hi", "Ho", "Why?"]


def test_a_text_answer_that_begins_like_its_prompt_stays_whole() -> None:
    pair = pair_of({"prompt": "Hi", "chosen": "Hi there", "rejected": "Hi!"}, "a")
    assert (pair.chosen, pair.rejected) == ("Hi there", "Hi!")


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": "Hi", "completion": "Ho"}, "no known format fits its keys 'prompt', 'completion'"),
        ({"prompt": "Hi", "chosen": "Ho"}, "no known format"),
        ({"chosen": "Ho", "rejected": "No"}, "add a 'prompt' to 'chosen' and 'rejected'"),
        ({"prompt": "Hi", "chosen": "Ho", "rejected": ""}, "the answer in 'rejected' is empty"),
        ({"chosen": [HI, HO], "rejected": [user("Hey"), NO]}, "answer different prompts"),
        ({"prompt": "Hey", "chosen": [HI, HO], "rejected": [HI, NO]}, "'chosen' does not contain the 'prompt'"),
        (
            {"chosen": [HI], "rejected": [HI, NO]},
            "the last message of 'chosen' must be the assistant's, not the user's",
        ),
        ({"prompt": "Hi", "chosen": {}, "rejected": "No"}, "'chosen' must be text, not dict {}"),
    ],
)
def test_a_pair_that_is_none_says_why(row: dict[str, Any], fault: str) -> None:
    with pytest.raises(Misfit) as caught:
        pair_of(row, "a")
    assert fault in str(caught.value)


def test_an_instruction_keeps_its_checks_as_canonical_json() -> None:
    item = instruction_of({"prompt": "Hi", "checks": [{"count": 3, "kind": "words_at_most"}]}, "a")
    assert (said(item.prompt), item.checks) == ([("user", "Hi")], '[{"count": 3, "kind": "words_at_most"}]')


@pytest.mark.parametrize("checks", [None, [], "x", [{"kind": "nothing"}], [{"kind": "words_at_most"}]])
def test_an_instruction_without_usable_checks_is_refused(checks: Any) -> None:
    with pytest.raises(Misfit, match="check"):
        instruction_of({"prompt": "Hi", "checks": checks}, "a")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["user", "assistant", "gpt"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "input", "output", "kind"]), inner)
    ),
    max_leaves=8,
)
KEYS = (
    "messages conversations prompt completion chosen rejected real generated instruction input output instances checks"
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(row=st.dictionaries(st.sampled_from(KEYS.split()), VALUES, max_size=4), answers=st.booleans())
def test_any_row_is_read_or_refused(row: dict[str, Any], answers: bool) -> None:
    for read in (
        lambda: chat_of(row, "a", answers=answers),
        lambda: pair_of(row, "a"),
        lambda: instruction_of(row, "a"),
    ):
        with suppress(Misfit):
            made = read()
            assert made.id
            assert made.prompt, "what is read has a prompt"
