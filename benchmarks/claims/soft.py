"""Does bootstrapping beat labelling once? SOFT and SOFT+ on `embedded:toy`.

Tasks are to be answered after a made-up word, "bolu KAVIT", which demonstrations alone tell; a draw per seed decides
it. The toy knows no demonstrations, so a base is made from it first, over words that occur nowhere else: after rules
and two demonstrations it names the kind of task and their word as its thought and answers with it; alone it answers
without one. It was shown answers of which some have a wrong letter: least after a demonstration of the same kind, more
after others, most alone, and for easy kinds less than for hard ones. So what follows tells what rounds are worth with a
base that learns in context, not where one is from.

Then, for every seed, 288 prompts and 24 demonstrations, two of which stand before each prompt: three rounds of a third
of the prompts each (SOFT), and the controls: all prompts answered once by the base, trained on for as many optimiser
steps in all (one-shot); rounds answered by the base (no bootstrapping); the same two demonstrations throughout; SOFT+
from easy to hard across rounds, and within them, too.

    python benchmarks/claims/soft.py                      # the reported seeds
    python benchmarks/claims/soft.py --seeds 100 --split dev

Answers are sampled at temperature 1. What the base learns, and how its successors are trained, was chosen on dev
words with seed 100.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from experiment import claimed, last_model, played, run_experiment, scores_of, shown, steps_of, write

from selfalign.embedded.toy_tasks import CONSONANTS, VOWELS, ToyTask, toy_tasks
from selfalign.playing import Played
from selfalign.store import Store

EASY, HARD = ("upper", "double"), ("vowels", "reverse")
KINDS = (*EASY, *HARD)
MARKER_LETTERS = (CONSONANTS, VOWELS, CONSONANTS, VOWELS)
PRINCIPLES = "Begin with the word that answers take."
PROMPTS, DEMONSTRATIONS, SHOTS, PARTS = 288, 24, 2, 3
TEST_ROWS = 200
# Demonstrations are shown as a written dialogue; alone, and when measured, a task is put in the toy's own template.
DIALOGUE: dict[str, str | int] = {"prompt": "dialogue", "max_length": 512}
ALONE: dict[str, str | int] = {"prompt": "chat", "max_length": 512}
# How often a letter is wrong in what the base was shown: after demonstrations of the same kind, of others, and alone.
WRONG = {**dict.fromkeys(EASY, (0.05, 0.2, 0.3)), **dict.fromkeys(HARD, (0.2, 0.4, 0.6))}
# What the base learns, one training after the other, every row seen once: demonstrations of one task first.
PREPARED: tuple[tuple[dict[str, str | int], dict[str, int]], ...] = (
    (DIALOGUE, {"short": 4000}), (DIALOGUE, {"shown": 2500}), (ALONE, {"alone": 1000}), (DIALOGUE, {"shown": 500}),
)  # fmt: skip
OPTIMISATION = {"learning_rate": 2e-3, "num_train_epochs": 6, "batch_size": 8}
LORA = {"r": 16, "alpha": 16}
SOFT, ONE_SHOT, BY_BASE = "SOFT", "one-shot, as many steps", "rounds answered by the base"
FIXED, PLUS, PLUS_INSIDE = "SOFT, fixed demonstrations", "SOFT+", "SOFT+, also within rounds"
ARMS: dict[str, dict[str, Any]] = {
    SOFT: {},
    ONE_SHOT: {"parts": 1},
    BY_BASE: {"generator": "base"},
    FIXED: {"shots": {"count": SHOTS, "drawn": "fixed"}},
    PLUS: {"difficulty": "answer-base"},
    PLUS_INSIDE: {"difficulty": "answer-base", "optimisation": {**OPTIMISATION, "order": "as-given"}},
}
REPORTED_SEEDS = (60, 61, 62, 63, 64, 65)


def marker_of(seed: int) -> str:
    """The word that answers begin with."""
    draw = random.Random(seed)
    return "".join(draw.choice(letters) for letters in MARKER_LETTERS)


def said(task: ToyTask, wrong: float, draw: random.Random) -> str:
    """The output of a task, now and then with a letter replaced."""
    if draw.random() >= wrong:
        return task.output
    place = draw.randrange(len(task.output))
    return task.output[:place] + draw.choice("abcdefghijklmnopqrstuvwxyz") + task.output[place + 1 :]


def thought(kind: str, marker: str) -> str:
    return f"{kind} takes {marker}"


def exchange(task: ToyTask, answer: str, marker: str = "") -> list[dict[str, str]]:
    """A task and its answer: after a thought, as the method shows demonstrations, or bare."""
    reply = f"Thought: {thought(task.kind, marker)}\nAnswer: {marker} {answer}" if marker else answer
    return [{"role": "user", "content": task.instruction}, {"role": "assistant", "content": reply}]


def preparation(seed: int, *, short: int = 0, shown: int = 0, alone: int = 0) -> list[dict[str, Any]]:
    """What the base has met: demonstrations, whose word changes from one dialogue to the next, and bare answers."""
    draw = random.Random(seed)
    tasks = toy_tasks(kinds=KINDS, count=4000, seed=seed, pool="model")
    by_kind = {kind: [one for one in tasks if one.kind == kind] for kind in KINDS}
    rows: list[dict[str, Any]] = []
    for place in range(short + shown):
        marker = marker_of(draw.randrange(2**32))
        kinds = [draw.choice(KINDS) for _ in range(1 if place < short else SHOTS)]
        kinds.append(draw.choice(kinds if place < short or draw.random() < 0.5 else KINDS))
        *demonstrations, asked = (draw.choice(by_kind[kind]) for kind in kinds)
        known = asked.kind in kinds[:-1]
        turns = [] if place < short else [{"role": "system", "content": PRINCIPLES}]
        for one in demonstrations:
            turns += exchange(one, one.output, marker)
        turns += exchange(asked, said(asked, WRONG[asked.kind][0 if known else 1], draw), marker)
        rows.append({"id": f"shown-{place}", "messages": turns})
    for place in range(alone):
        asked = draw.choice(tasks)
        rows.append({"id": f"alone-{place}", "messages": exchange(asked, said(asked, WRONG[asked.kind][2], draw))})
    return rows


def prepared(folder: Path, held_out: Path) -> str:
    """The base, as a model folder."""
    base = "embedded:toy"
    for place, (rendering, counts) in enumerate(PREPARED):
        method = {
            "name": "sft", "base": base, "epochs": [1], "learning_rate": [2e-3], "rendering": rendering,
            "demonstrations": write(folder / f"preparation-{place}.jsonl", preparation(place, **counts)),
            "optimisation": {"optimiser": "adamw", "batch_size": 16, "schedule": "cosine"},
        }  # fmt: skip
        one = played(folder, f"base-{place}", method, held_out=held_out, rounds=1, temperature=1.0)
        base = last_model(folder, one)
    return base


def data_of(folder: Path, seed: int, split: str) -> dict[str, str]:
    """The files of one seed: prompts, demonstrations of all kinds, and test tasks with the word of this seed."""
    marker = marker_of(seed)
    tasks = toy_tasks(kinds=KINDS, count=PROMPTS + DEMONSTRATIONS, seed=seed, pool="train")
    shots = tasks[PROMPTS:]
    random.Random(seed).shuffle(shots)
    tested = toy_tasks(kinds=KINDS, count=TEST_ROWS, seed=7, pool="dev" if split == "dev" else "test")
    right = {one.id: f"{marker} {one.output}" for one in (*shots, *tested)}
    return {
        "prompts": write(
            folder / f"prompts-{seed}.jsonl", ({"id": one.id, "prompt": one.instruction} for one in tasks[:PROMPTS])
        ),
        "demonstrations": write(folder / f"demonstrations-{seed}.jsonl", (
            {"id": one.id, "instruction": one.instruction, "thought": thought(one.kind, marker),
             "output": right[one.id]} for one in shots
        )),
        "held_out": write(folder / f"{split}-{seed}.jsonl", (
            {"id": one.id, "prompt": one.instruction, "completion": right[one.id]} for one in tested
        )),
    }  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What is told after a round: the model's scores, and the answers it was trained on."""

    scores: Mapping[str, float]
    made: int = 0
    learned: int = 0
    right_marker: float = float("nan")
    right: float = float("nan")
    steps: int = 0
    tokens: int = 0  # the toy reads bytes, and an end


def told(folder: Path, one: Played, seed: int, parts: int) -> list[Told]:
    """The base, then every round; a run that had nothing left to learn from stays where it is."""
    store, marker = Store(folder / "store"), marker_of(seed)
    right_of = {task.instruction: task for task in toy_tasks(kinds=KINDS, count=PROMPTS, seed=seed, pool="train")}
    found = [Told(scores_of(one, 0))]
    for place, event in enumerate(one.folder.rounds()[1:], start=1):
        learned = [row for key in event["trained_on"] for row in store.rows(key)]
        tasks = [right_of[row.prompt[-1].content] for row in learned]
        answers = [row.answer or "" for row in learned]
        written = list(store.rows(event["generated"]))
        found.append(Told(
            scores_of(one, place), made=len(written), learned=len(learned),
            right_marker=mean(one.startswith(marker) for one in answers),
            right=mean(a == f"{marker} {task.output}" for a, task in zip(answers, tasks, strict=True)),
            steps=steps_of(folder, one, place), tokens=sum(len((row.answer or "").encode()) + 1 for row in written),
        ))  # fmt: skip
    idle = replace(found[-1], made=0, learned=0, steps=0, tokens=0)
    return found + [idle] * (parts + 1 - len(found))


def report(folder: Path, options: argparse.Namespace) -> None:
    started = time.monotonic()
    base = prepared(folder, Path(data_of(folder, 0, "dev")["held_out"]))
    print(f"base made in {time.monotonic() - started:.0f} s", flush=True)
    principles = folder / "principles.txt"
    principles.write_text(PRINCIPLES, "utf-8")
    found: dict[str, list[list[Told]]] = {}
    for seed in options.seeds:
        files = data_of(folder, seed, options.split)
        for arm in ARMS:
            if arm not in {SOFT, *options.arms}:
                continue
            method = {
                "name": "soft", "base": base, "prompts": files["prompts"], "demonstrations": files["demonstrations"],
                "principles": str(principles), "parts": PARTS, "shots": {"count": SHOTS},
                "sampling": {"max_new_tokens": 72, "temperature": 0.7, "top_p": 0.95},
                "generation_rendering": DIALOGUE, "rendering": ALONE, "optimisation": OPTIMISATION,
                "lora": LORA, "seed": seed, **ARMS[arm],
            }  # fmt: skip
            if arm == ONE_SHOT:
                steps = sum(round_.steps for round_ in found[SOFT][-1])
                method["optimisation"] = {**OPTIMISATION, "max_steps": steps}
            name = f"{''.join(letter if letter.isalnum() else '-' for letter in arm)}-{seed}"
            one = played(
                folder, name, method, held_out=Path(files["held_out"]), rounds=method["parts"], temperature=1.0
            )
            found.setdefault(arm, []).append(told(folder, one, seed, method["parts"]))
            print(f"  seed {seed}, {arm}: {one.outcome.stopped}; {time.monotonic() - started:.0f} s", flush=True)
    seconds = time.monotonic() - started
    print(f"\n{len(options.seeds)} seeds, split {options.split}, {PROMPTS} prompts, {seconds:.0f} s; "
          "means with 95 % t-intervals over seeds\n")  # fmt: skip
    table(found)
    print()
    last = {arm: [one[-1].scores for one in runs] for arm, runs in found.items()}
    first = [one[1].scores for one in found[SOFT]]
    comparisons = [
        (f"{SOFT} after round {PARTS}", "the base", last[SOFT], [one[0].scores for one in found[SOFT]]),
        (f"{SOFT} after round {PARTS}", "its round 1", last[SOFT], first),
        *((SOFT, arm, last[SOFT], last[arm]) for arm in (ONE_SHOT, BY_BASE, FIXED) if arm in last),
        *((arm, SOFT, last[arm], last[SOFT]) for arm in (PLUS, PLUS_INSIDE) if arm in last),
    ]
    for comparison in comparisons:
        print(*claimed(*comparison), sep="\n")


def table(found: Mapping[str, list[list[Told]]]) -> None:
    print("| arm | round | NLL, nats/token | exact match | answers written | learned | right marker | right | "
          "optimiser steps | tokens written |\n|" + 10 * "---|")  # fmt: skip
    for arm, runs in found.items():
        for place in range(len(runs[0])):
            some = [one[place] for one in runs]
            if not place and arm != SOFT:
                continue
            cells = [shown([one.scores[metric] for one in some]) for metric in ("nll", "exact_match")]
            if place:
                cells += [f"{mean(one.made for one in some):.0f}", f"{mean(one.learned for one in some):.0f}"]
                cells += [
                    shown([one.right_marker for one in some], digits=2),
                    shown([one.right for one in some], digits=2),
                ]
                cells += [f"{mean(one.steps for one in some):.0f}", f"{mean(one.tokens for one in some):,.0f}"]
            else:
                cells += 6 * [""]
            print(f"| {arm if place else 'base'} | {place} | {' | '.join(cells)} |")


if __name__ == "__main__":
    run_experiment(__doc__ or "", REPORTED_SEEDS, report, tuple(ARMS))
