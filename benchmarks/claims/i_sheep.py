"""Is iterating worth more than writing as much at once? I-SHEEP on `embedded:toy`.

The toy knows no lists and no rubrics, so a base is made from it first, over words that occur nowhere else: trained on
continued lists of tasks, on labelled gradings, and on answers of which a third (of easy kinds of task) or more than
half (of hard ones) are wrong: broken, or a task of their own instead of an answer. So it answers rightly now and then,
and can tell these faults, though not a mistaken letter. What follows tells what iterating is worth with such a base,
not where one is from. Lists are shown as a conversation, since one training knows one rendering.

Then, for every seed, from 24 seed tasks: three rounds of 200 invented tasks each, and the controls: all three rounds
written by the base at once (one-shot), trained for as many epochs, which are more steps, or for as many steps as the
last of the iterated rounds; nothing filtered out; the grader the last model (the paper's algorithm) rather than the
base (its code); the pairs of all rounds together. Grades, read from one forward pass, cost no generated token.

    python benchmarks/claims/i_sheep.py                      # the reported seeds: half an hour on two busy cores
    python benchmarks/claims/i_sheep.py --seeds 100 --split dev

A claim is printed with its verdict, whichever way it falls. Answers are sampled at temperature 1. What the base
learns and who grades were chosen on dev words with seeds 100 and 101, nothing on the reported ones.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

from experiment import (
    DOES_NOT_HOLD,
    HOLDS,
    METRICS,
    claimed,
    last_model,
    played,
    rows_of,
    run_experiment,
    scores_of,
    shown,
    steps_of,
    write,
)

from selfalign.embedded.toy_tasks import ToyTask, toy_answer, toy_tasks
from selfalign.grading.rubrics import INSTRUCTION_FENCE, Rubric, grading_prompt
from selfalign.playing import Played
from selfalign.store import Store
from selfalign.synthesis.task_list import MARK, Task, task_list
from selfalign.types import Chat, Message

EASY, HARD = ("upper", "double"), ("vowels", "reverse")
KINDS = (*EASY, *HARD)
SEED_TASKS, TASKS, ROUNDS = 24, 200, 3
TEST_ROWS = 200
SHOTS, CONTINUED = 2, 4
# How often the base was shown a wrong answer: half of them broken, half the answer to another task.
WRONG = {**dict.fromkeys(EASY, 0.3), **dict.fromkeys(HARD, 0.6)}
# What the base learns, one training after the other, every row seen once. Lists have a training of their own, since
# their many tokens would drown the one of a grade; gradings are learned without the long text about fences first.
PREPARED: tuple[Mapping[str, int], ...] = (
    {"lists": 500, "answers": 1500},
    {"short_grades": 9000, "answers": 1500},
    {"lists": 200, "grades": 900, "answers": 1000},
    {"lists": 100, "grades": 1600, "answers": 4000},
)
OPTIMISATION = {"learning_rate": 1e-3, "num_train_epochs": 3, "batch_size": 8}
MOST_REPEATED = 0.05
UNREADABLE = "#"
ONE_BASE, ONE_SHOT, AS_LONG = "one-base", "one-shot, as many epochs", "one-shot, as many steps"
SELF_GRADED, UNCURATED, TOTAL = "one-base, graded by the last model", "one-base, uncurated", "total-base"
ARMS: dict[str, dict[str, Any]] = {
    ONE_BASE: {},
    SELF_GRADED: {"grader": "current"},
    ONE_SHOT: {"setting": "one-shot"},
    AS_LONG: {"setting": "one-shot"},
    UNCURATED: {"assessment": {"level": "none"}},
    TOTAL: {"setting": "total-base"},
}
REPORTED_SEEDS = (40, 41, 42, 43, 44)
FORMAT = "Last line, from 1 to 2:\nScore: 2"
QUALITY = Rubric(
    name="quality", lowest=1, highest=2, task="Is it sound?", criteria=("broken", "sound"), answer_format=FORMAT
)
FOLLOWING = Rubric(
    name="following", lowest=1, highest=2, task="Was it asked?", criteria=("no", "yes"), answer_format=FORMAT
)


def broken(answer: str, draw: random.Random) -> str:
    """An answer with a letter or two made unreadable."""
    letters = list(answer)
    for place in draw.sample(range(len(letters)), min(2, len(letters))):
        letters[place] = UNREADABLE
    return "".join(letters)


def beside(task: ToyTask, draw: random.Random) -> str:
    """A task of its own in place of an answer."""
    return f"{draw.choice(KINDS)}: {task.output.lower()}"


def answer_of(task: ToyTask, wrong: float, draw: random.Random) -> tuple[str, str]:
    """What the base is shown as an answer, and what is wrong with it."""
    if draw.random() >= wrong:
        return task.output, ""
    fault = draw.choice(("broken", "beside"))
    return (broken(task.output, draw) if fault == "broken" else beside(task, draw)), fault


def preparation(
    seed: int, *, lists: int = 0, short_grades: int = 0, grades: int = 0, answers: int = 0
) -> list[dict[str, str]]:
    """What the base has met: lists that go on, gradings and answers, over words of the model's own pool."""
    draw = random.Random(seed)
    rows: list[dict[str, str]] = []
    length = SHOTS + CONTINUED
    count = length * lists + short_grades + grades + answers
    tasks = toy_tasks(kinds=KINDS, count=count, seed=seed, pool="model")
    draw.shuffle(tasks)
    for place in range(lists):
        some = [Task(tasks.pop().instruction) for _ in range(length)]
        asked = task_list(some[:SHOTS], request="")
        whole = task_list(some, request="").rpartition(f"\n{MARK}\n")[0]
        rows.append({"id": f"list-{place}", "prompt": asked, "completion": whole.removeprefix(asked)})
    for place in range(short_grades + grades):
        one = tasks.pop()
        said, fault = answer_of(one, 2 / 3, draw)
        chat = Chat(id=one.id, prompt=(Message(role="user", content=one.instruction),), answer=said)
        rubric, bad = ((QUALITY, "broken"), (FOLLOWING, "beside"))[place % 2]
        asked = grading_prompt(chat, rubric)[-1].content
        if place < short_grades:
            asked = f"{rubric.task}\n{asked[asked.rindex(INSTRUCTION_FENCE) :]}"
        rows.append({"id": f"grade-{place}", "prompt": asked, "completion": f"Score: {1 if fault == bad else 2}"})
    for place in range(answers):
        one = tasks.pop()
        rows.append(
            {"id": f"go-{place}", "prompt": one.instruction, "completion": answer_of(one, WRONG[one.kind], draw)[0]}
        )
    return rows


def prepared(folder: Path) -> str:
    """The base, as a model folder."""
    base = "embedded:toy"
    for place, counts in enumerate(PREPARED):
        demonstrations = write(folder / f"preparation-{place}.jsonl", preparation(place, **counts))
        method = {
            "name": "sft", "base": base, "demonstrations": demonstrations, "epochs": [1], "learning_rate": [2e-3],
            "optimisation": {"optimiser": "adamw", "batch_size": 16, "schedule": "cosine"},
        }  # fmt: skip
        one = played(folder, f"base-{place}", method, held_out=folder / "dev.jsonl", rounds=1, temperature=1.0)
        base = last_model(folder, one)
    return base


class Written:
    """How many tokens each call wrote, kept beside the store that remembers the calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokens: dict[str, int] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def hear(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "progress" and event["stage"] in ("invent", "generate"):
            self.tokens[event["key"]] = self.tokens.get(event["key"], 0) + event["tokens"]
        if event["event"] == "made":
            self.path.write_text(json.dumps(self.tokens), "utf-8")


def method_of(folder: Path, base: str, seed: int, **method: Any) -> dict[str, Any]:
    """A run's settings; what is not said is as in the method."""
    return {
        "name": "i_sheep", "base": base, "seeds": str(folder / f"seeds-{seed}.jsonl"),
        "synthesis": {
            "target": TASKS, "shots": SHOTS, "request": "", "filters": {"min_words": 2},
            "sampling": {"max_new_tokens": 330, "temperature": 1.0, "top_p": 0.95},
        },
        "sampling": {"max_new_tokens": 24, "temperature": 1.0, "top_p": 0.95},
        "assessment": {
            "rubrics": [asdict(QUALITY), asdict(FOLLOWING)], "reading": "distribution", "threshold": 1.5,
        },
        "task_rendering": {"prompt": "chat", "max_length": 512},
        "base_rendering": {"prompt": "chat", "max_length": 512},
        "rendering": {"prompt": "chat", "max_length": 512},
        "optimisation": OPTIMISATION,
        "lora": None, "grader": "base", "seed": seed, **method,
    }  # fmt: skip


def report(folder: Path, options: argparse.Namespace) -> None:
    started = time.monotonic()
    for split in ("dev", "test"):
        write(folder / f"{split}.jsonl", rows_of(toy_tasks(kinds=KINDS, count=TEST_ROWS, seed=7, pool=split)))
    base = prepared(folder)
    print(f"base made in {time.monotonic() - started:.0f} s", flush=True)
    found: dict[str, list[list[Told]]] = {}
    for seed in options.seeds:
        seeds = toy_tasks(kinds=KINDS, count=SEED_TASKS, seed=seed, pool="train")
        write(folder / f"seeds-{seed}.jsonl", rows_of(seeds))
        written = Written(folder / f"tokens-{seed}.json")
        for arm in ARMS:
            if arm not in {ONE_BASE, *options.arms}:
                continue
            method = dict(ARMS[arm])
            if arm == AS_LONG:
                method["optimisation"] = {**OPTIMISATION, "max_steps": found[ONE_BASE][-1][-1].steps}
            name = f"{arm.replace(',', '').replace(' ', '-')}-{seed}"
            one = played(
                folder, name, method_of(folder, base, seed, **method), held_out=folder / f"{options.split}.jsonl",
                rounds=ROUNDS, temperature=1.0, observers=(written,),
            )  # fmt: skip
            found.setdefault(arm, []).append(told(folder, one, written, options.split))
            print(f"  seed {seed}, {arm}: {one.outcome.stopped}; {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{len(options.seeds)} seeds, split {options.split}, {TASKS} tasks a round, "
          f"{time.monotonic() - started:.0f} s; means with 95 % t-intervals over seeds\n")  # fmt: skip
    tables(found)
    claims(found)


@dataclass(frozen=True)
class Told:
    """What is told of the model after a round, and of the rows that the round gathered."""

    scores: Mapping[str, float]
    written: int = 0
    lists: int = 0
    learned: int = 0
    right: float = float("nan")
    made: tuple[float, float, float] = (float("nan"),) * 3
    steps: int = 0
    health: Mapping[str, float] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    met: int = 0


def told(folder: Path, one: Played, written: Written, split: str) -> list[Told]:
    """The base, then every round."""
    store, events = Store(folder / "store"), one.folder.events()
    lists = [each["key"] for each in events if each["event"] in ("made", "reused") and each["stage"] == "invent"]
    looks = [each for each in events if each["event"] == "guard"]
    tested = {row["prompt"] for row in map(json.loads, (folder / f"{split}.jsonl").read_text("utf-8").splitlines())}
    found: list[Told] = []
    total = 0
    for place, event in enumerate(one.folder.rounds()):
        if not place:
            found.append(Told(scores_of(one, place)))
            continue
        total += written.tokens[lists[place - 1]] + written.tokens[event["generated"]]
        learned = [row for key in event["trained_on"] for row in store.rows(key)]
        seen = looks[place - 1]
        found.append(Told(
            scores_of(one, place), written=total, learned=len(learned), right=shares(learned)[0],
            lists=store.record(lists[place - 1])["notes"]["lists_continued"],
            made=shares(store.rows(event["generated"])),
            steps=steps_of(folder, one, place),
            health={each["id"]: each["value"] for each in seen["measures"] if each["value"] is not None},
            alarms=tuple(each["metric"] for each in seen["alarms"]),
            met=sum(row.prompt[-1].content in tested for row in learned),
        ))  # fmt: skip
    # A run that the guard stopped stays where it is.
    return found + [found[-1]] * (ROUNDS + 1 - len(found))


def shares(rows: Iterable[Chat]) -> tuple[float, float, float]:
    """The shares of rows rightly answered, answered with a fault that the base learned to tell, and no toy tasks."""
    right, faulty, strange = [], [], []
    for row in rows:
        kind, _, word = row.prompt[-1].content.partition(": ")
        answer = row.answer or ""
        strange.append(kind not in KINDS or not word)
        right.append(not strange[-1] and answer == toy_answer(kind, word))
        faulty.append(UNREADABLE in answer or ": " in answer)
    return mean(right), mean(faulty), mean(strange)


def tables(found: Mapping[str, list[list[Told]]]) -> None:
    print("| arm | round | NLL, nats/token | exact match | rows learned | right of them | of all made: right | "
          "broken or beside | no toy task | optimiser steps | tokens written so far |\n|" + 11 * "---|")  # fmt: skip
    for arm, runs in found.items():
        for place in range(ROUNDS + 1):
            if not place and arm != ONE_BASE:
                continue
            some = [one[place] for one in runs]
            cells = [shown([one.scores[metric] for one in some]) for metric in ("nll", "exact_match")]
            if place:
                cells.append(f"{mean(one.learned for one in some):.0f}")
                cells.append(shown([one.right for one in some], digits=2))
                cells += [f"{mean(one.made[which] for one in some):.2f}" for which in range(3)]
                cells += [f"{mean(one.steps for one in some):.0f}", f"{mean(one.written for one in some):,.0f}"]
            else:
                cells += 7 * [""]
            print(f"| {arm if place else 'base'} | {place} | {' | '.join(cells)} |")
    print("\n| arm | measure of what is kept | " + " | ".join(f"round {place + 1}" for place in range(ROUNDS)) + " |")
    print("|---|---|" + ROUNDS * "---|")
    for arm, runs in found.items():
        for name in ("kept_share", "near_duplicate_share", "distinct_2"):
            rounds = [[one[place].health.get(name) for one in runs] for place in range(1, ROUNDS + 1)]
            values = [[value for value in some if value is not None] for some in rounds]
            if all(values):
                print(f"| {arm} | {name} | {' | '.join(shown(some, digits=2) for some in values)} |")
    print()
    for arm, runs in found.items():
        heard = Counter(f"{name} in round {place}" for one in runs for place in range(1, ROUNDS + 1)
                        for name in one[place].alarms)  # fmt: skip
        met = sum(round_.met for one in runs for round_ in one)
        print(f"{arm}: alarms {', '.join(f'{name} ({count}x)' for name, count in heard.items()) or 'none'}; "
              f"test tasks among the learned rows: {met}")  # fmt: skip


def claims(found: Mapping[str, list[list[Told]]]) -> None:
    print()
    for ours, theirs in (
        ((ONE_BASE, 1), (ONE_BASE, 0)),
        ((ONE_BASE, ROUNDS), (ONE_BASE, 1)),
        ((ONE_BASE, ROUNDS), (ONE_SHOT, ROUNDS)),
        ((ONE_BASE, ROUNDS), (AS_LONG, ROUNDS)),
        ((ONE_BASE, ROUNDS), (SELF_GRADED, ROUNDS)),
        ((ONE_BASE, ROUNDS), (UNCURATED, ROUNDS)),
        ((ONE_BASE, ROUNDS), (TOTAL, ROUNDS)),
    ):
        if ours[0] not in found or theirs[0] not in found:
            continue
        equal = theirs[0] in (ONE_SHOT, AS_LONG)
        ours_found = [one[ours[1]] for one in found[ours[0]]]
        theirs_found = [
            at_tokens(other, one.written) if equal else other[theirs[1]].scores
            for one, other in zip(ours_found, found[theirs[0]], strict=True)
        ]
        other_name = f"{theirs[0]}, at equal tokens" if equal else named(*theirs)
        print(*claimed(named(*ours), other_name, [one.scores for one in ours_found], theirs_found), sep="\n")
    most = max(one[place].health["near_duplicate_share"] for one in found[ONE_BASE] for place in range(1, ROUNDS + 1))
    verdict = HOLDS if most < MOST_REPEATED else DOES_NOT_HOLD
    print(f"claim: of {ONE_BASE}'s kept prompts under {MOST_REPEATED:.0%} nearly repeat another in every round: "
          f"{verdict}; at most {most:.1%}")  # fmt: skip
    ratios = [one[-1].written / other[-1].written for one, other in zip(found[ONE_BASE], found[ONE_SHOT], strict=True)]
    print(f"tokens written by {ONE_BASE} for one written by {ONE_SHOT}: {shown(ratios)}")


def at_tokens(one: list[Told], tokens: int) -> Mapping[str, float]:
    """The scores after so many tokens, on the line between two rounds; the last round's beyond it."""
    for before, after in pairwise(one):
        if tokens <= after.written:
            share = (tokens - before.written) / (after.written - before.written)
            return {name: (1 - share) * before.scores[name] + share * after.scores[name] for name in METRICS}
    return one[-1].scores


def named(arm: str, place: int) -> str:
    return f"{arm} after round {place}" if place else "the base"


if __name__ == "__main__":
    run_experiment(__doc__ or "", REPORTED_SEEDS, report, tuple(ARMS))
