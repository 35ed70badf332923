"""Does DiverseEvol keep its promise on an unbalanced pool? `embedded:toy`, a few minutes on two cores.

The pool has many near-duplicates of two kinds of task (words that differ in a letter) and a few examples each of six
others, three of which are to be answered in a full sentence: a form that nobody can know without an example. Every
selector starts from the same random rows and grows to 8 % of the pool; `all rows` trains on the whole pool with as many
optimiser steps. Test words occur in no pool, and every kind of task counts the same.

    python benchmarks/claims/diverse_evol.py               # the reported seeds
    python benchmarks/claims/diverse_evol.py --seeds 100 101 --arms k-center random

A claim is printed with its verdict, whichever way it falls.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiment import DOES_NOT_HOLD, HOLDS, METRICS, claimed, played, rows_of, run_experiment, scores_of, shown, write

from selfalign.embedded.toy_tasks import TOY_KINDS, ToyTask, toy_answer, toy_tasks, word_pool
from selfalign.playing import Played
from selfalign.store import Store

COMMON = ("upper", "double")
WORDY = ("first", "vowels", "sort")
SENTENCE = "the answer is {}."
COMMON_ROWS = 460
STEMS = 40
RARE_ROWS = 14
TEST_ROWS_PER_KIND = 20
START, GROW, ROUNDS = 16, 16, 5
UPDATES = 60
REPORTED_SEEDS = (0, 1, 2, 3, 4)
# The toy reads bytes: a mean over all tokens lies where a word's letters put it, the state after the prompt where its
# task does. So the released code's pooling has a row of its own. Chosen on dev with seeds 100 and 101.
AFTER_PROMPT = {"text": "prompt", "pooling": "last", "normalise": "unit"}
SELECTORS: dict[str, dict[str, object]] = {
    "k-center": {"by": "k-center", "embedding": AFTER_PROMPT},
    "random": {"by": "random"},
    "k-center, mean of all tokens": {"by": "k-center"},
    "farthest, one shot a round": {"by": "farthest", "embedding": AFTER_PROMPT},
    "facility-location": {"by": "facility-location", "embedding": AFTER_PROMPT},
    "k-means": {"by": "k-means", "embedding": AFTER_PROMPT},
    "least-confidence": {"by": "least-confidence"},
    "margin": {"by": "margin"},
    "entropy": {"by": "entropy"},
}


def rows_in_form(tasks: Iterable[ToyTask]) -> list[dict[str, str]]:
    """Tasks as rows; some kinds are answered in a full sentence."""
    return [row for task in tasks for row in rows_of([task], SENTENCE if task.kind in WORDY else "{}")]


def near_duplicates(kind: str, seed: int) -> list[ToyTask]:
    """Tasks over the words that differ in one letter from a few stems."""
    stems = [task.id.partition("-")[2] for task in toy_tasks(kinds=[kind], count=STEMS, seed=seed, pool="train")]
    words = {
        stem[:place] + letter + stem[place + 1 :]
        for stem in stems
        for place in range(len(stem)) for letter in "abcdefghijklmnopqrstuvwxyz"
    }  # fmt: skip
    fitting = sorted(word for word in words if word_pool(word) == "train")
    some = random.Random(seed).sample(fitting, COMMON_ROWS)
    return [ToyTask(id=f"{kind}-{word}", kind=kind, instruction=f"{kind}: {word}", output=toy_answer(kind, word))
            for word in some]  # fmt: skip


def pool(seed: int) -> list[ToyTask]:
    """Many rows of two kinds, a few each of the others."""
    common = [task for place, kind in enumerate(COMMON) for task in near_duplicates(kind, 2 * seed + place)]
    rare = [kind for kind in TOY_KINDS if kind not in COMMON]
    return [*common, *toy_tasks(kinds=rare, count=RARE_ROWS * len(rare), seed=seed + 1000, pool="train")]


def method_of(folder: Path, seed: int, **method: Any) -> dict[str, Any]:
    """A run's settings; what is not said is as in the method."""
    return {
        "name": "diverse_evol", "base": "embedded:toy", "pool": str(folder / f"pool-{seed}.jsonl"),
        "rendering": {"prompt": "chat"}, "optimisation": {"learning_rate": 1e-3, "batch_size": 16},
        "updates": [UPDATES], "start_seed": seed, "seed": seed, **method,
    }  # fmt: skip


def worst_of(one: Played) -> dict[str, float]:
    """The worse end of each metric's interval over items after the last round."""
    scores = one.outcome.scores[-1]["dev"]
    return {name: scores[name].mean.low if sign > 0 else scores[name].mean.high for name, (sign, _) in METRICS.items()}


def chosen_facts(folder: Path, one: Played) -> dict[str, float]:
    """What the last chosen set is like: kinds of tasks, words of an answer, languages."""
    store = Store(folder / "store")
    event = one.folder.rounds()[-1]
    kinds = Counter(row.id.split("-")[0] for key in event["chosen"] for row in store.rows(key))
    facts = {f"{row.id}": row.chosen for row in store.rows(event["selection"])} if event["selection"] else {}
    rare = sum(count for kind, count in kinds.items() if kind not in COMMON)
    return {"kinds": float(len(kinds)), "rare": rare / max(1, sum(kinds.values())), **facts}


def report(folder: Path, options: argparse.Namespace) -> None:
    """Play everything and print the tables."""
    started = time.monotonic()
    for split in ("dev", "test"):
        tasks = toy_tasks(kinds=TOY_KINDS, count=TEST_ROWS_PER_KIND * len(TOY_KINDS), seed=7, pool=split)
        write(folder / f"{split}.jsonl", rows_in_form(tasks))
    found: dict[str, list[dict[str, float]]] = {}
    facts: dict[str, list[dict[str, float]]] = {}
    worst: list[dict[str, float]] = []

    def run(arm: str, name: str, seed: int, *, rounds: int = ROUNDS, **method: Any) -> Played:
        one = played(
            folder, f"{name}-{seed}", method_of(folder, seed, **method), rounds=rounds,
            held_out=folder / f"{options.split}.jsonl", micro_batch_tokens=None,
        )  # fmt: skip
        found.setdefault(arm, []).append(scores_of(one))
        facts.setdefault(arm, []).append(chosen_facts(folder, one))
        return one

    for seed in options.seeds:
        rows = rows_in_form(pool(seed))
        write(folder / f"pool-{seed}.jsonl", rows)
        worst.append(worst_of(run("all rows", "all", seed, rounds=1, start=len(rows), grow=1)))
        for by in options.arms:
            run(by, by, seed, start=START, grow=GROW, selection=SELECTORS[by])
            print(f"  seed {seed} {by}: nll {found[by][-1]['nll']:.3f}", flush=True)
    share = (START + GROW * (ROUNDS - 1)) / len(rows)
    print(f"\n{len(rows)} rows, {share:.1%} of them chosen; {UPDATES} updates a round; {len(options.seeds)} seeds; ")
    print(f"split {options.split}; means with 95 % t-intervals over seeds; {time.monotonic() - started:.0f} s\n")
    print(
        "| selector | NLL, nats/token | exact match | kinds of 8 | rare rows | answer words | undetermined language |"
    )
    print("|---|---|---|---|---|---|---|")
    for by in found:
        cells = [shown([one[metric] for one in found[by]]) for metric in ("nll", "exact_match")]
        kinds, rare = (shown([one[name] for one in facts[by]], digits=2) for name in ("kinds", "rare"))
        words = shown([one["answer_words"] for one in facts[by]], digits=2)
        language = shown([one.get("language:undetermined", 0.0) for one in facts[by]], digits=2)
        print(f"| {by} | {' | '.join(cells)} | {kinds} | {rare} | {words} | {language} |")
    claims(found, worst)


def claims(found: Mapping[str, Sequence[Mapping[str, float]]], worst: Sequence[Mapping[str, float]]) -> None:
    """The two claims, seed by seed and together."""
    if "k-center" not in found:
        return
    print()
    ours = found["k-center"]
    for metric, (sign, _) in METRICS.items():
        reached = [sign * one[metric] >= sign * least[metric] for one, least in zip(ours, worst, strict=True)]
        print(
            f"claim: k-center reaches the score of all rows within its interval over items ({metric}): "
            f"{HOLDS if all(reached) else DOES_NOT_HOLD}; in {sum(reached)} of {len(reached)} seeds"
        )
    if "random" in found:
        print(*claimed("k-center", "random from the same start", ours, found["random"]), sep="\n")


if __name__ == "__main__":
    run_experiment(__doc__ or "", REPORTED_SEEDS, report, tuple(SELECTORS))
