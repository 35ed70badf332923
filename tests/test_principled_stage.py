"""Answers by principles: which demonstrations stand before a prompt, what is cut away, what is refused and why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import canned
from canned import planted_demonstrations, planted_texts, user
from planting import planted_chats
from selfalign.errors import StageError
from selfalign.render import rendered
from selfalign.stages.principled import AnswerRules, Shots, named, principled_prompts, without_thoughts
from selfalign.types import Chat, Demonstration, Message, Rendering, Table, Text
from selfalign.weights import TOY_FOLDER

TOPICS = ("rivers", "bread", "stars", "knots", "glass", "wolves", "tides", "maps")
POOL = tuple(
    Demonstration(
        id=f"demo-{topic}",
        prompt=user(f"Tell me about {topic}."),
        thought=f"Rule 2 says what to tell about {topic}.",
        answer=f"A reply concerned with {topic}, {topic} alone and {number} more things.",
    )
    for number, topic in enumerate(TOPICS)
)
RULES = (Text(id="one", text="1. Be honest.\n"), Text(id="two", text="2. Be brief.\n"))
PROMPTS = tuple(Chat(id=f"row-{number}", prompt=user(f"Question {number}?"), answer="human") for number in range(30))


class Bench(canned.Bench):
    def asked_for(
        self,
        *,
        prompts: tuple[Chat, ...] = PROMPTS,
        pool: tuple[Demonstration, ...] = POOL,
        rules: tuple[Text, ...] = RULES,
        shots: Shots = Shots(count=3),
        room: int = 1000,
        seed: int = 1,
    ) -> Table[Chat]:
        return self.asked(
            lambda: principled_prompts(
                planted_chats(prompts), planted_demonstrations(pool), (planted_texts(rules),) if rules else (),
                shots=shots, room=room, seed=seed,
            )
        )  # fmt: skip

    def judged(
        self, *replies: str, finished: bool = True, thought_first: bool = True, **rules: Any
    ) -> tuple[Table[Chat], list[str]]:
        """What is kept of replies, beside one that nothing is to be said against; and the reasons of the others."""
        every = ("Thought: fine.\nAnswer: Quite a sound reply.", *replies)
        written = tuple(
            Chat(id=f"row-{number}", prompt=user("shown"), answer=reply, finished=finished or number == 0)
            for number, reply in enumerate(every)
        )
        table = self.asked(
            lambda: without_thoughts(
                planted_chats(written), planted_chats(PROMPTS), planted_demonstrations(POOL),
                rules=AnswerRules(**rules), thought_first=thought_first,
            )
        )  # fmt: skip
        return table, self.reasons(table)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def answer_of(text: str) -> str:
    return f"Thought: rule 2.\nAnswer: {text}"


# ------------------------------------------------------------------------------------------------- asking


def test_a_prompt_stands_after_principles_and_demonstrations_that_think_before_they_answer(bench: Bench) -> None:
    (row, *_) = bench.rows(bench.asked_for())
    first, *turns, last = row.prompt
    assert first == Message(role="system", content="1. Be honest.\n\n2. Be brief.")
    assert last == PROMPTS[0].prompt[0]
    assert row.answer is None, "the human answer, if a file has one, is not shown to the model that answers"
    shown = {one.id: one for one in POOL}
    expected = [
        turn
        for one in map(shown.__getitem__, row.parents)
        for turn in (
            *one.prompt,
            Message(role="assistant", content=f"Thought: {one.thought}\nAnswer: {one.answer}"),
        )
    ]
    assert turns == expected
    assert len(row.parents) == len(set(row.parents)) == 3


def test_a_demonstration_without_a_thought_shows_the_answer_alone(bench: Bench) -> None:
    bare = tuple(replace(one, thought="") for one in POOL)
    (row, *_) = bench.rows(bench.asked_for(pool=bare, rules=()))
    assert [turn.role for turn in row.prompt] == ["user", "assistant"] * 3 + ["user"], "and no empty system message"
    assert all(turn.content.startswith("Answer: ") for turn in row.prompt if turn.role == "assistant")


def test_a_prompts_own_system_message_follows_the_principles(bench: Bench) -> None:
    own = Chat(id="own", prompt=(Message(role="system", content="Speak Latin."), *user("Who?")))
    (row,) = bench.rows(bench.asked_for(prompts=(own,)))
    assert [turn.content for turn in row.prompt if turn.role == "system"] == [
        "1. Be honest.\n\n2. Be brief.\n\nSpeak Latin."
    ]


def test_which_demonstrations_a_prompt_sees_depends_on_the_seed_and_its_id_alone(bench: Bench) -> None:
    every = {row.id: row.parents for row in bench.rows(bench.asked_for())}
    some = {row.id: row.parents for row in bench.rows(bench.asked_for(prompts=PROMPTS[::-7]))}
    assert some.items() <= every.items()
    other = {row.id: row.parents for row in bench.rows(bench.asked_for(seed=2))}
    assert other != every


def test_how_often_demonstrations_are_drawn_anew(bench: Bench) -> None:
    def sets(drawn: Any, seed: int) -> list[tuple[str, ...]]:
        table = bench.asked_for(shots=Shots(count=3, drawn=drawn), seed=seed)
        shown = [row.parents for row in bench.rows(table)]
        notes = bench.notes(table)
        assert notes["demonstrations"] == len(POOL)
        assert notes["demonstrations_shown"] == len({one for row in shown for one in row})
        assert notes["coverage"] == notes["demonstrations_shown"] / len(POOL)
        return shown

    assert len(set(sets("per-prompt", 1))) > 10
    assert bench.notes(bench.asked_for())["coverage"] == 1.0, "thirty prompts see all of eight demonstrations"
    (one,) = set(sets("per-round", 1))
    (another,) = set(sets("per-round", 2))
    assert one != another
    first = tuple(demonstration.id for demonstration in POOL[:3])
    assert set(sets("fixed", 1)) == set(sets("fixed", 2)) == {first}


# --------------------------------------------------------------------------------------------- the answer


def test_of_a_reply_the_answer_alone_is_learned_after_the_bare_prompt(bench: Bench) -> None:
    table, _ = bench.judged("Thought: rule 2\napplies.\nAnswer:  Two lines,\nof which this is one. \n")
    row = bench.rows(table)[1]
    assert row.prompt == PROMPTS[1].prompt
    assert row.answer == "Two lines,\nof which this is one."
    assert row.parents == ("row-1",)


@pytest.mark.parametrize("heading", ["Answer:", "**Answer:** ", "answer :", "  *ANSWER*: ", "Answer："])
def test_headings_of_answers_are_read_as_models_write_them(heading: str, bench: Bench) -> None:
    table, _ = bench.judged(f"Thought: rule 2.\n{heading}Bread rises.")
    assert bench.rows(table)[1].answer == "Bread rises."


def test_only_the_first_heading_ends_the_thought(bench: Bench) -> None:
    table, reasons = bench.judged("Thought: the answer: is short.\nAnswer: Yes, the answer: is on a line with others.")
    assert bench.rows(table)[1].answer == "Yes, the answer: is on a line with others."
    assert reasons == []


def test_without_thoughts_the_whole_reply_is_the_answer(bench: Bench) -> None:
    table, reasons = bench.judged("A reply at once.", thought_first=False)
    assert bench.rows(table)[0].answer == "A reply at once."
    assert reasons == ["refused by leak: “Thought: fine. Answer: Quite a sound reply.”"]


REPEATED = " ".join(["so it goes"] * 12)
ECHO = POOL[3].answer.replace("A reply", "This reply")
BREAKS: list[tuple[str, str, dict[str, Any]]] = [
    ("no_answer", "I would say seven.", {}),
    ("no_answer", "Thought: rule 2, and the answer: seven.", {}),
    ("no_answer", "", {}),
    ("empty", answer_of("  \n"), {}),
    ("cut", answer_of("Seven is the"), {"finished": False}),
    ("leak", answer_of("Seven.\n\nUser: and eight?"), {}),
    ("leak", answer_of("Seven.\n**Thought:** rule 3."), {}),
    ("leak", answer_of("Seven.\n### Assistant: Eight."), {}),
    ("leak", answer_of("Seven.\n\n### User \nAnd eight?"), {}),
    ("leak", answer_of("Seven.\n## **assistant**\nEight."), {}),
    ("leak", answer_of("Seven.\nHuman: and eight?"), {}),
    ("leak", answer_of("Seven.\nAnswer: eight."), {}),
    ("leak", answer_of("Seven.\n System : be kind."), {}),
    ("repetitive", answer_of(REPEATED), {}),
    ("echo", answer_of(ECHO), {}),
    ("apology", answer_of("I'm sorry, I cannot tell."), {"apology": True}),
    ("apology", answer_of("Sorry: no."), {"apology": True}),
    ("apology", answer_of("I apologise for that."), {"apology": True}),
    ("apology", answer_of("“My apologies, no.”"), {"apology": True}),
]


@pytest.mark.parametrize(("rule", "reply", "how"), BREAKS)
def test_every_rule_fires_by_its_name_and_is_counted(rule: str, reply: str, how: dict[str, Any], bench: Bench) -> None:
    table, reasons = bench.judged(reply, reply, **how)
    assert [row.id for row in bench.rows(table)] == ["row-0"]
    assert bench.notes(table)["refused"] == {rule: 2}
    assert len(reasons) == 2
    assert all(reason.startswith(f"refused by {rule}: “") for reason in reasons)


@pytest.mark.parametrize(
    ("reply", "how"),
    [
        (answer_of("Seven is the"), {"finished": False, "cut": False}),
        (answer_of(REPEATED), {"max_repetition": 1.0}),
        (answer_of(ECHO), {"max_overlap": 1.0}),
        (answer_of("I'm sorry, I cannot tell."), {}),
    ],
)
def test_rules_can_be_switched_off(reply: str, how: dict[str, Any], bench: Bench) -> None:
    table, reasons = bench.judged(reply, **how)
    assert [row.id for row in bench.rows(table)] == ["row-0", "row-1"]
    assert bench.notes(table)["refused"] == {}
    assert reasons == []
    assert bench.rows(table)[1].finished is how.get("finished", True), "so that a cut answer gets no end token"


def test_no_answer_at_all_says_why_and_shows_a_reply_harmlessly(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    hostile = "\x1b[31mred\x1b[0m <script>alert(1)</script>\n\u202eright to left"
    written = (
        Chat(id="row-0", prompt=user("shown"), answer="", finished=True),
        Chat(id="row-1", prompt=user("shown"), answer=hostile, finished=True),
        Chat(id="row-2", prompt=user("shown"), answer=answer_of(" "), finished=True),
    )
    with pytest.raises(StageError) as caught:
        bench.asked(
            lambda: without_thoughts(
                planted_chats(written), planted_chats(PROMPTS), planted_demonstrations(POOL), rules=AnswerRules()
            )
        )
    message = str(caught.value)
    assert "no answer is left of 3:\n  2: refused by no_answer\n  1: refused by empty" in message
    assert "‹U+001B›[31mred" in message, "the first reply that says anything is shown"
    assert "remedy: " in message
    assert not any(sign in message for sign in "\x1b\u202e")


def test_reasons_show_hostile_replies_on_one_printable_line(bench: Bench) -> None:
    _, (reason,) = bench.judged("\x1b[2J\u202eno\u2066 answer\r\n" + "x" * 500)
    assert reason.isprintable()
    assert len(reason) < 200


# ------------------------------------------------ defects of the released code (docs/methods/self_align.md)

TWO_FUNCTIONS = """Two functions:

```c
int add(int a, int b) {
    if (a == 0) {
        return b;
    }
    return a + b;
}

int sub(int a, int b) {
    if (b == 0) {
        return a;
    }
    return a - b;
}
```"""
LIST = "Pack:\n- water, salt\n- bread, salt\n- a map\n- a knife, a cord\n- a lamp, a cord\n- water, again"
REFRAIN = "So it goes. The river rose, and the town moved. So it goes. The river fell, and the town stayed. So it goes."


@pytest.mark.parametrize("text", [TWO_FUNCTIONS, LIST, REFRAIN])
def test_code_lists_and_refrains_are_kept_whole(text: str, bench: Bench) -> None:
    """The released cleaning cuts an answer at the first segment that stood in it before."""
    table, _ = bench.judged(answer_of(text))
    row = bench.rows(table)[1]
    assert (row.answer, row.finished) == (text, True)


@pytest.mark.parametrize(
    "text",
    [
        "The weather of the coast is mild.",
        "A president is elected for five years.",
        "An alpaca is a camelid of the Andes.",
        "Sorry to say, nobody knows; here is what is known.",
    ],
)
def test_no_topic_and_no_honest_refusal_is_deleted(text: str, bench: Bench) -> None:
    """The released filter deletes every answer with a word of its demonstrations, and every apology."""
    table, _ = bench.judged(answer_of(text))
    assert [row.answer for row in bench.rows(table)][1:] == [text]


def test_an_answer_that_shares_a_demonstrations_topic_is_no_echo(bench: Bench) -> None:
    table, _ = bench.judged(answer_of("Wolves live in packs of six to ten; a pair leads."))
    assert len(bench.rows(table)) == 2


def test_kept_answers_are_learned_with_an_end_token_and_cut_ones_without(bench: Bench) -> None:
    """The released code trains no end token: its model knows no end but the next heading."""
    from transformers import AutoTokenizer

    toy: Any = AutoTokenizer.from_pretrained(TOY_FOLDER)
    whole, cut = (
        bench.rows(bench.judged(answer_of("Bread rises."), finished=finished, cut=False)[0])[1]
        for finished in (True, False)
    )
    how = Rendering(prompt="dialogue")
    ends = [rendered(toy, row, how) for row in (whole, cut)]
    assert ends[0].ids[-1] == toy.eos_token_id
    assert ends[0].loss[-1], "the end is learned, not only shown"
    assert toy.eos_token_id not in [token for token, learned in zip(ends[1].ids, ends[1].loss, strict=True) if learned]


def test_identity_rows_need_no_numbers_and_get_the_name(bench: Bench) -> None:
    """The released code fails at identity rows, which have no example_id."""
    rows = (
        Chat(id="who", prompt=user("Are you {name}?"), answer="I am {name}; {name} is a model."),
        Chat(id="other", prompt=user("Who made you?"), answer="Nobody {knows}."),
    )
    one, other = bench.rows(bench.asked(lambda: named(planted_chats(rows), name="Aster {x}")))
    assert (one.prompt, one.answer) == (user("Are you Aster {x}?"), "I am Aster {x}; Aster {x} is a model.")
    assert other == rows[1]
