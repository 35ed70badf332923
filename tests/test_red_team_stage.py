"""Topic-guided red-teaming: topics in balance over the kinds, questions about them, and when it stops."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import canned
from canned import Says, planted_probes, user
from planting import planted_chats
from selfalign.errors import StageError
from selfalign.ports import Continuation
from selfalign.stages.red_team import (
    RedTeaming,
    ask_about_topics,
    invent_topics,
    read_questions,
    shuffled_together,
)
from selfalign.types import Chat, Probe, Rendering, Table

KINDS = ("Questions nobody can answer", "Questions about {the} future", "Questions with a false premise")
PROBES = tuple(
    Probe(id=f"probe-{number}", kind=kind, topic=f"Seed {number}", question=f"Why does seed number {number} grow?")
    for number, kind in enumerate((*KINDS, KINDS[0]))
)
ASKED_KIND = re.compile(r"^Kind of question: (.*)$", re.MULTILINE)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PLAIN = Rendering(prompt="continued")


def fresh(seed: int) -> str:
    """A word that no other seed makes."""
    word = ""
    while seed:
        seed, letter = divmod(seed, 26)
        word += LETTERS[letter]
    return word


def listed(chat: Chat, seed: int) -> str:
    """Four new topics, numbered on from the list that was shown."""
    last = int(re.findall(r"(\d+)\.", chat.prompt[0].content)[-1])
    topics = [f"{fresh(seed)} {letter}" for letter in "abcd"]
    return " " + f"{topics[0]}\n" + "".join(f"{last + place}. {topic}\n" for place, topic in enumerate(topics[1:], 1))


class Bench(canned.Bench):
    def topics(
        self, *, probes: tuple[Probe, ...] = PROBES, seed: int = 1, rendering: Rendering = PLAIN, **settings: Any
    ) -> Table[Probe]:
        wanted = replace(RedTeaming(topics=6, max_barren_prompts=4), **settings)
        return self.asked(
            lambda: invent_topics(
                canned.WRITER, planted_probes(probes), red_teaming=wanted, rendering=rendering, seed=seed
            )
        )

    def questions(self, *replies: str, finished: bool = True, novelty: float = 0.7) -> tuple[list[str], list[str]]:
        """The questions kept of replies, beside one that nothing is to be said against; and the reasons."""
        every = (" What is the colour of tomorrow?\n", *replies)
        written = tuple(
            Chat(id=f"topic-{number}", prompt=user("asked"), answer=reply, finished=finished or number == 0)
            for number, reply in enumerate(every)
        )
        table = self.asked(lambda: read_questions(planted_chats(written), planted_probes(PROBES), novelty=novelty))
        kept = [row.prompt[0].content for row in self.rows(table)]
        assert kept[0] == "What is the colour of tomorrow?"
        assert sum(self.notes(table)["refused"].values()) == len(self.reasons(table))
        return kept[1:], self.reasons(table)


def kinds_of(bench: Bench, table: Table[Probe]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in bench.rows(table):
        found.setdefault(row.kind, []).append(row.topic)
    return found


# ------------------------------------------------------------------------------------------------- topics


def test_every_kind_has_as_many_topics_as_were_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path, listed)
    table = bench.topics()
    found = kinds_of(bench, table)
    assert {kind: len(topics) for kind, topics in found.items()} == dict.fromkeys(KINDS, 6)
    every = [topic for topics in found.values() for topic in topics]
    assert len(every) == len({topic.casefold() for topic in every}) == 18
    assert all(topic[0].isupper() for topic in every)
    assert len({row.id for row in bench.rows(table)}) == 18
    assert bench.notes(table) == {"kinds": 3, "topics_a_kind": 6}
    assert bench.reasons(table) == ["every kind keeps 6 topics"] * 3 * (2 * 4 - 6)


def only_for(kind: str, brought: int) -> Says:
    """Writes new topics for all kinds but one, which gets so many different ones at most."""
    return lambda chat, seed: (
        f" {kind.split()[-1]} {LETTERS[seed % brought]}\n" if asked_kind(chat) == kind else listed(chat, seed)
    )


def asked_kind(chat: Chat) -> str:
    (kind,) = ASKED_KIND.findall(chat.prompt[0].content)
    return str(kind)


def test_the_kind_with_the_fewest_topics_decides_for_all(tmp_path: Path) -> None:
    bench = Bench(tmp_path, only_for(KINDS[1], brought=2))
    table = bench.topics(max_barren_prompts=12)
    assert {kind: len(topics) for kind, topics in kinds_of(bench, table).items()} == dict.fromkeys(KINDS, 2)
    assert bench.notes(table)["topics_a_kind"] == 2
    assert bench.reasons(table), "the others had more"


def test_lists_show_known_topics_of_their_kind_and_are_numbered_on(tmp_path: Path) -> None:
    asked: list[str] = []

    def remembering(chat: Chat, seed: int) -> str:
        asked.append(chat.prompt[0].content)
        return listed(chat, seed)

    Bench(tmp_path, remembering).topics(topics=12)
    assert len(asked) == 3 * 3, "three turns of four topics for each of three kinds"
    assert asked[0].endswith(f"Kind of question: {KINDS[0]}\nTopics:\n{shown(asked[0])}3.")
    assert sorted(re.findall(r"\d\. (.*)", asked[0])) == ["Seed 0", "Seed 3"]
    assert asked[1].endswith("Topics:\n1. Seed 1\n2."), "a kind in braces is text"
    later = asked[-1]
    assert len(re.findall(r"\n\d\. .+", later)) == 5
    assert later.endswith("\n6.")
    assert asked_of(later) == KINDS[2]


def shown(text: str) -> str:
    return "".join(f"{line}\n" for line in text.splitlines() if re.match(r"\d\. .", line))


def asked_of(text: str) -> str:
    (kind,) = ASKED_KIND.findall(text)
    return str(kind)


def test_what_counts_as_a_topic(tmp_path: Path) -> None:
    lines = (
        " first light", "2. second Sight", "3) third rail", "- fourth wall", "**fifth wheel**", "6. Seed 1", "SEED 2",
        "seed 0", "seed 3", "7. this one is too long", "8. a sentence.", "9. a question?", "10.", "", "11. 12 months",
        "* sixth sense", "13: seventh heaven", "Second  sight",
    )  # fmt: skip
    bench = Bench(tmp_path, lambda chat, seed: "\n".join(lines))
    found = kinds_of(bench, bench.topics(topics=20))
    sound = ["First light", "Second Sight", "Third rail", "Fourth wall", "Fifth wheel", "Sixth sense", "Seventh heaven"]
    assert [topic for topic in found[KINDS[1]] if not topic.casefold().startswith("seed")] == sound
    assert "Seed 1" not in found[KINDS[1]], "a seed's topic is known"
    assert "Seed 1" in found[KINDS[2]], "of another kind it is new"


def test_of_a_long_list_only_the_first_lines_are_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda chat, seed: "\n".join(f"{number}. topic {LETTERS[number]}" for number in range(26)))
    assert {len(topics) for topics in kinds_of(bench, bench.topics(topics=25)).values()} == {20}


def test_an_unfinished_last_line_is_dropped(tmp_path: Path) -> None:
    """A list that the token limit cut ends within a word."""
    bench = Bench(tmp_path, lambda chat, seed: Continuation(" open sea\n2. broken vo", False, tokens=9))
    assert {tuple(topics) for topics in kinds_of(bench, bench.topics()).values()} == {("Open sea",)}
    whole = Bench(tmp_path / "whole", lambda chat, seed: " open sea\n2. broken vows")
    found = {tuple(topics) for topics in kinds_of(whole, whole.topics()).values()}
    assert found == {("Open sea", "Broken vows")}


def test_a_cut_list_of_one_line_gives_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda chat, seed: Continuation(" broken vo", False, tokens=9))
    with pytest.raises(StageError, match="no topic for 3 of 3 kinds"):
        bench.topics()


def test_a_kind_without_topics_is_named_and_its_replies_shown_harmlessly(tmp_path: Path) -> None:
    hostile = "\x1b[31mI would rather not list any of these things,\u202e dear user."
    bench = Bench(tmp_path, lambda chat, seed: hostile if asked_kind(chat) == KINDS[2] else listed(chat, seed))
    with pytest.raises(StageError) as caught:
        bench.topics()
    message = str(caught.value)
    assert f"no topic for 1 of 3 kinds of questions, among them {KINDS[2]!r}" in message
    assert message.count("I would rather not") == 3
    assert not any(sign in message for sign in "\x1b\u202e")
    assert "remedy: " in message


@pytest.mark.parametrize("bound", [1, 5])
def test_lists_without_anything_new_come_to_an_end(bound: int, tmp_path: Path) -> None:
    asked: list[str] = []

    def same(chat: Chat, seed: int) -> str:
        asked.append(asked_kind(chat))
        return " one thing"

    Bench(tmp_path, same).topics(max_barren_prompts=bound)
    assert [asked.count(kind) for kind in KINDS] == [1 + bound] * 3


def test_barren_lists_count_only_in_a_row(tmp_path: Path) -> None:
    asked: Counter[str] = Counter()

    def every_second(chat: Chat, seed: int) -> str:
        asked[asked_kind(chat)] += 1
        return f" {fresh(seed)}" if asked[asked_kind(chat)] % 2 == 0 else "I would rather not say any of them."

    bench = Bench(tmp_path, every_second)
    found = kinds_of(bench, bench.topics(topics=5, max_barren_prompts=2))
    assert {len(topics) for topics in found.values()} == {5}


def test_no_kind_is_asked_for_more_than_a_barren_one_will_ever_have(tmp_path: Path) -> None:
    asked: list[str] = []

    def uneven(chat: Chat, seed: int) -> str:
        asked.append(asked_kind(chat))
        return " one thing" if asked_kind(chat) == KINDS[0] else f" {fresh(seed)}"

    bench = Bench(tmp_path, uneven)
    found = kinds_of(bench, bench.topics(topics=50, max_barren_prompts=7))
    assert {len(topics) for topics in found.values()} == {1}
    assert asked.count(KINDS[1]) == 1 + 7


def test_prompts_for_topics_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no list of topics fits .*method\.task_rendering"):
        Bench(tmp_path, listed).topics(rendering=replace(PLAIN, max_length=12))


def test_one_kind_that_does_not_fit_is_named(tmp_path: Path) -> None:
    long = Probe(id="long", kind="Questions " + "on and " * 60 + "on", topic="Length", question="How long is long?")
    with pytest.raises(StageError, match=r"no topic for 1 of 4 .* 'Questions on and .*\n  none\nremedy"):
        Bench(tmp_path, listed).topics(probes=(*PROBES, long), rendering=replace(PLAIN, max_length=80))


def test_topics_of_two_seeds_have_different_names(tmp_path: Path) -> None:
    bench = Bench(tmp_path, listed)
    one, other = ({row.id for row in bench.rows(bench.topics(seed=seed))} for seed in (1, 2))
    assert not one & other


# ---------------------------------------------------------------------------------------------- questions


@pytest.mark.parametrize("shots", [1, 3, 4])
def test_a_question_is_asked_for_after_as_many_hints_as_were_announced(shots: int, tmp_path: Path) -> None:
    """The released prompt announces twenty and its script gives ten."""
    bench = Bench(tmp_path)
    topics = (Probe(id="new", kind=KINDS[1], topic="Tides", question=""), replace(PROBES[0], id="other"))
    table = bench.asked(lambda: ask_about_topics(planted_probes(topics), planted_probes(PROBES), shots=shots, seed=1))
    row, other = bench.rows(table)
    text = row.prompt[0].content
    assert text.count("Kind: ") == text.count("Topic: ") == text.count("Question:") == shots + 1
    assert text.endswith(f"\n\nKind: {KINDS[1]}\nTopic: Tides\nQuestion:")
    assert len(set(row.parents)) == shots
    examples = {one.id: f"Kind: {one.kind}\nTopic: {one.topic}\nQuestion: {one.question}\n" for one in PROBES}
    assert all(examples[name] in text for name in row.parents)
    assert not any(examples[name] in text for name in examples.keys() - set(row.parents))
    assert (row.id, other.id) == ("new", "other")


def test_the_question_is_the_first_line(tmp_path: Path) -> None:
    kept, reasons = Bench(tmp_path).questions("\n  Who will win the race? \n\nKind: more\n", "Is the sea really salt")
    assert kept == ["Who will win the race?", "Is the sea really salt"]
    assert reasons == []


BROKEN: list[tuple[str, bool, str]] = [
    (" Who will win the ra", False, "cut “Who will win the ra”"),
    ("", True, "no question “”"),
    (" \n \n", True, "no question “”"),
    (" Who knows?\n", True, "no question “Who knows?”"),
    (" Why does seed number 2 grow?\n", True, "not new: ROUGE-L 1.00 with 'probe-2' “Why does seed number 2 grow?”"),
    (" What is the colour of today?\n", True, "not new: ROUGE-L 0.83 with 'topic-0' “What is the colour of today?”"),
    (" \x1b[2JWhat \u202enext?\n", True, "no question “‹U+001B›[2JWhat ‹U+202E›next?”"),
]


@pytest.mark.parametrize(("reply", "finished", "reason"), BROKEN)
def test_what_is_no_new_whole_question_is_dropped_with_the_reason(
    reply: str, finished: bool, reason: str, tmp_path: Path
) -> None:
    kept, reasons = Bench(tmp_path).questions(reply, finished=finished)
    assert kept == []
    assert reasons == [reason]


def test_a_whole_question_of_a_cut_reply_is_kept(tmp_path: Path) -> None:
    kept, _ = Bench(tmp_path).questions(" Who will win the race?\nKind: mo", finished=False)
    assert kept == ["Who will win the race?"]


def test_a_question_in_a_script_without_blanks_is_a_question(tmp_path: Path) -> None:
    kept, _ = Bench(tmp_path).questions(" 明年谁会赢得比赛?\n")
    assert kept == ["明年谁会赢得比赛?"]


def test_without_any_question_three_replies_are_shown_harmlessly(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    replies = tuple(
        Chat(id=f"topic-{number}", prompt=user("asked"), answer=f"\x1b[3{number}mno", finished=True)
        for number in range(5)
    )
    with pytest.raises(StageError) as caught:
        bench.asked(lambda: read_questions(planted_chats(replies), planted_probes(PROBES), novelty=0.7))
    message = str(caught.value)
    assert "no usable question" in message
    assert message.count("no'") == 3
    assert "\x1b" not in message


# ------------------------------------------------------------------------------------------------ joining


def test_prompts_of_several_tables_are_mixed_by_the_seed_and_lose_their_answers(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    some, more = (
        tuple(Chat(id=f"{name}-{number}", prompt=user(f"{name} {number}"), answer="seen") for number in range(20))
        for name in ("task", "topic")
    )

    def mixed(*tables: tuple[Chat, ...], seed: int) -> list[Chat]:
        return bench.rows(bench.asked(lambda: shuffled_together(tuple(map(planted_chats, tables)), seed=seed)))

    every = mixed(some, more, seed=1)
    assert sorted(row.id for row in every) == sorted(row.id for row in (*some, *more))
    assert {row.answer for row in every} == {None}
    assert every == mixed(more, some, seed=1)
    assert every != mixed(some, more, seed=2)
    beginning = [row.id.split("-")[0] for row in every[:20]]
    assert 3 < beginning.count("task") < 17
