"""Inventing tasks: lists that are continued, what is accepted and refused, and when it stops."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import canned
from planting import planted_chats
from selfalign.errors import StageError
from selfalign.ports import Continuation
from selfalign.stages.invent import Synthesis, invent
from selfalign.synthesis.task_filters import TaskFilter
from selfalign.synthesis.task_list import NO_INPUT, Task, task_of
from selfalign.types import Chat, Message, Rendering, Table

WORDS = tuple(f"{one}{other}" for one in ("ka", "lo", "mi", "ru", "te") for other in ("bor", "dan", "fil", "gum"))
PLAIN = Rendering(prompt="continued")


def drawn(seed: int) -> str:
    """Two tasks, the second of which another list may have brought already."""
    draw = random.Random(seed)
    fresh = " ".join(draw.choices(WORDS, k=8))
    place = draw.randrange(6)
    often = f"Say {WORDS[place]} {WORDS[place + 6]} {WORDS[place + 12]}."
    return f" {fresh}\n3. Input:\n{NO_INPUT}\n###\n4. Instruction: {often}\n4. Input:\n{NO_INPUT}\n###\n"


def chats(*tasks: Task, name: str = "seed") -> tuple[Chat, ...]:
    return tuple(
        Chat(id=f"{name}-{number}", prompt=(Message(role="user", content=task.prompt),))
        for number, task in enumerate(tasks)
    )


SEEDS = chats(Task("Name a river in Asia."), Task("Add up these numbers.", "2, 3"), Task("Spell the word for 7."))


class Bench(canned.Bench):
    """Continues every list with the same text, or, where there is none, with tasks drawn from its stream."""

    def __init__(self, folder: Path, text: str = "", *, finished: bool = True) -> None:
        super().__init__(folder, lambda chat, seed: Continuation(text or drawn(seed), finished, tokens=9))

    def invented(
        self,
        *,
        seeds: tuple[Chat, ...] = SEEDS,
        known: tuple[Table[Chat], ...] = (),
        seed: int = 1,
        rendering: Rendering = PLAIN,
        **synthesis: Any,
    ) -> Table[Chat]:
        wanted = replace(Synthesis(target=10, shots=2, request="", max_barren_prompts=5), **synthesis)
        return self.asked(
            lambda: invent(canned.WRITER, planted_chats(seeds), known, synthesis=wanted, rendering=rendering, seed=seed)
        )

    def tasks(self, table: Table[Chat]) -> list[Task]:
        return [task_of(row.prompt[-1].content) for row in self.store.rows(table.key)]


@pytest.mark.parametrize("target", [1, 7, 40])
def test_as_many_tasks_are_accepted_as_were_asked_for(target: int, tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    table = bench.invented(target=target)
    tasks = bench.tasks(table)
    assert len(tasks) == len({task.instruction for task in tasks}) == target
    notes = bench.notes(table)
    assert (notes["accepted"], notes["short_by"]) == (target, 0)
    assert notes["refused"].get("novelty", 0) == sum("refused by novelty" in one for one in bench.reasons(table))


def test_a_smaller_target_gives_the_beginning_of_a_larger_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    small, large = (bench.tasks(bench.invented(target=target)) for target in (5, 300))
    assert large[:5] == small, "neither the shards nor the target change what a list brings"


def test_tasks_tell_which_seeds_they_were_shown(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    rows = list(bench.store.rows(bench.invented().key))
    assert all(len(set(row.parents)) == 2 and set(row.parents) <= {seed.id for seed in SEEDS} for row in rows)
    assert len({row.parents for row in rows}) > 1, "shots are drawn anew for every list"


def test_nothing_accepted_in_any_round_comes_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    rounds: list[Table[Chat]] = []
    for number in range(6):
        rounds.append(bench.invented(known=tuple(rounds), seed=number, target=30))
    every = [task.instruction for table in rounds for task in bench.tasks(table)]
    assert len(every) == len(set(every)) == 180
    often = [instruction for instruction in every if instruction.startswith("Say ")]
    assert len(often) == 6, "what the first round accepted, the last one still refuses"
    assert bench.notes(rounds[-1])["refused"]["novelty"] > 0


def test_seeds_are_known_too(tmp_path: Path) -> None:
    bench = Bench(
        tmp_path, " Name one river in Asia.\n3. Input: none\n###\n4. Instruction: Name a bird of prey.\n###\n"
    )
    table = bench.invented()
    assert bench.tasks(table) == [Task("Name a bird of prey.")]
    assert any("refused by novelty, ROUGE-L 0.80 with 'seed-0'" in reason for reason in bench.reasons(table))
    off = bench.invented(filters=TaskFilter(novelty=None))
    assert len(bench.tasks(off)) == 10, "switched off, everything is new"


def test_a_model_that_has_no_more_tasks_stops_short_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, " Name a bird of prey.\n3. Input: none\n###\n")
    notes = bench.notes(bench.invented(max_barren_prompts=7))
    assert (notes["accepted"], notes["short_by"], notes["lists_continued"]) == (1, 9, 8)


def test_a_model_without_tasks_stops_and_shows_three_replies(tmp_path: Path) -> None:
    bench = Bench(tmp_path, " I would rather\nnot \x1b[31mdo that.", finished=True)
    with pytest.raises(StageError) as caught:
        bench.invented(max_barren_prompts=4)
    message = str(caught.value)
    assert "continued 4 lists of tasks and invented none that can be used" in message
    assert "4: it has no input, and nothing tells where its instruction ends" in message
    assert message.count("I would rather not") == 3
    assert "\x1b" not in message
    assert "remedy: " in message


def test_refusals_alone_stop_too_and_are_counted_by_rule(tmp_path: Path) -> None:
    bench = Bench(tmp_path, " Draw a picture of a cat.\n3. Input: none\n###\n")
    with pytest.raises(StageError, match="5: refused by forbidden_words"):
        bench.invented()
    assert len(bench.tasks(bench.invented(filters=TaskFilter(forbidden_words=())))) == 1


def test_a_cut_last_task_is_dropped_with_the_reason(tmp_path: Path) -> None:
    bench = Bench(tmp_path, " Name a bird of prey.\n3. Input: none\n###\n4. Instruction: Name a tr", finished=False)
    table = bench.invented()
    assert bench.tasks(table) == [Task("Name a bird of prey.")]
    assert "unreadable, the text was cut within it: “Name a tr”" in bench.reasons(table)


def test_lists_that_do_not_fit_are_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"no list of tasks fits .* take fewer shots"):
        Bench(tmp_path).invented(rendering=replace(PLAIN, max_length=12))


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [((), "0 user turns instead of one"), ((Message(role="user", content="  \n"),), "no instruction")],
)
def test_a_seed_without_an_instruction_is_named(prompt: tuple[Message, ...], fault: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=rf"seed 'odd' has {fault}; mend it or leave it out"):
        Bench(tmp_path).invented(seeds=(*SEEDS, Chat(id="odd", prompt=prompt)))


def test_shots_are_seeds_unless_generated_ones_are_asked_for(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    known = bench.planted(chats(Task("Sing a song of one line."), Task("Tell a joke on bread."), name="before"))
    only_seeds = list(bench.store.rows(bench.invented(known=(known,)).key))
    assert {parent.split("-")[0] for row in only_seeds for parent in row.parents} == {"seed"}
    mixed = list(bench.store.rows(bench.invented(known=(known,), generated_shots=1).key))
    assert all(sorted(parent.split("-")[0] for parent in row.parents) == ["before", "seed"] for row in mixed)
    first_round = list(bench.store.rows(bench.invented(generated_shots=1).key))
    assert {parent.split("-")[0] for row in first_round for parent in row.parents} == {"seed"}


def test_lists_that_do_not_fit_are_passed_over_whatever_the_target(tmp_path: Path) -> None:
    long = chats(Task("Shorten this text.", "word " * 400), name="long")
    for target in (4, 40):
        table = Bench(tmp_path / str(target)).invented(
            seeds=(*SEEDS, *long), target=target, rendering=replace(PLAIN, max_length=300), max_barren_prompts=60
        )
        bench = Bench(tmp_path / str(target))
        assert len(bench.tasks(table)) == target
        assert bench.notes(table)["lists_too_long"] > 0 or target == 4


def test_neither_prose_nor_refusals_count_as_tasks(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="invented none that can be used"):
        Bench(tmp_path, " I'm sorry, but I cannot continue this list of tasks.").invented()
