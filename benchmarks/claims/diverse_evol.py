"""Does DiverseEvol keep its promise on an unbalanced pool? `embedded:toy`, a few minutes on two cores.

The pool has many near-duplicates of two kinds of task (words that differ in a letter) and a few examples each of six
others, three of which are to be answered in a full sentence: a form that nobody can know without an example. Every
selector starts from the same random rows and grows to 8 % of the pool; `all rows` trains on the whole pool with as many
optimiser steps. Test words occur in no pool, and every kind of task counts the same.

    python benchmarks/diverse_evol_toy.py               # the reported seeds
    python benchmarks/diverse_evol_toy.py --seeds 100 101 --selectors k-center random

A claim is printed as holding or failing, whichever way it falls.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import mean, stdev

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import yaml

from selfalign.embedded.toy_tasks import TOY_KINDS, ToyTask, toy_answer, toy_tasks, word_pool
from selfalign.playing import Played, play_recipe
from selfalign.store import Store

COMMON = ("upper", "double")
WORDY = ("first", "vowels", "sort")
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
# Two-sided 95 % quantiles of Student's t for as many degrees of freedom: seeds are few.
T_QUANTILE = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def rows_of(tasks: list[ToyTask]) -> list[dict[str, str]]:
    """Tasks as rows; some kinds are answered in a full sentence."""
    return [
        {
            "id": task.id,
            "instruction": task.instruction,
            "output": f"the answer is {task.output}." if task.kind in WORDY else task.output,
        }
        for task in tasks
    ]


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


def write(path: Path, tasks: list[ToyTask]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(tasks)), "utf-8")
    return str(path)


def recipe(folder: Path, name: str, seed: int, split: str, **method: object) -> Path:
    """A recipe as a file; what is not said is as in the method."""
    settings = {
        "name": name,
        "method": {
            "name": "diverse_evol", "base": "embedded:toy", "pool": str(folder / f"pool-{seed}.jsonl"),
            "rendering": {"prompt": "chat"}, "optimisation": {"learning_rate": 1e-3, "batch_size": 16},
            "updates": [UPDATES], "start_seed": seed, "seed": seed, **method,
        },
        "rounds": ROUNDS,
        "evaluate": {
            "dev": {"held_out": str(folder / f"{split}.jsonl"), "checks": ["exact_match"]},  # nothing is decided by it
            "sampling": {"max_new_tokens": 24, "temperature": 0.0},
        },
        "place": {"store": str(folder / "store")},
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def played(folder: Path, name: str, seed: int, split: str, *, rounds: int = ROUNDS, **method: object) -> Played:
    path = recipe(folder, name, seed, split, **method)
    return play_recipe(path, [f"rounds={rounds}"], folder / "runs" / name)


def last_scores(one: Played) -> dict[str, tuple[float, float, float]]:
    """Mean and 95 % interval over items of the last round, by metric."""
    scores = one.outcome.scores[-1]["dev"]
    return {name: (scores[name].mean.mean, scores[name].mean.low, scores[name].mean.high) for name in scores}


def chosen_facts(one: Played) -> dict[str, float]:
    """What the last chosen set is like: kinds of tasks, words of an answer, languages."""
    store = Store(one.folder.path.parent.parent / "store")
    event = one.folder.rounds()[-1]
    kinds = Counter(row.id.split("-")[0] for key in event["chosen"] for row in store.rows(key))
    facts = {f"{row.id}": row.chosen for row in store.rows(event["selection"])} if event["selection"] else {}
    rare = sum(count for kind, count in kinds.items() if kind not in COMMON)
    return {"kinds": float(len(kinds)), "rare": rare / max(1, sum(kinds.values())), **facts}


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and 95 % t-interval over seeds."""
    if len(values) < 2:
        return values[0], float("nan"), float("nan")
    half = T_QUANTILE[len(values) - 1] * stdev(values) / len(values) ** 0.5
    return mean(values), mean(values) - half, mean(values) + half


def shown(values: list[float], *, digits: int = 3) -> str:
    middle, low, high = interval(values)
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTED_SEEDS))
    parser.add_argument("--selectors", nargs="+", default=list(SELECTORS), choices=SELECTORS)
    parser.add_argument("--split", default="test", choices=("dev", "test"), help="settings are chosen on dev")
    parser.add_argument("--folder", type=Path, help="keep the runs here (default: a folder that is removed)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report(options.folder or Path(temporary), options)


def report(folder: Path, options: argparse.Namespace) -> None:
    """Play everything and print the tables."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("dev", "test"):
        tasks = toy_tasks(kinds=TOY_KINDS, count=TEST_ROWS_PER_KIND * len(TOY_KINDS), seed=7, pool=split)
        write(folder / f"{split}.jsonl", tasks)
    found: dict[str, list[dict[str, tuple[float, float, float]]]] = {}
    facts: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        size = len(json_lines(write(folder / f"pool-{seed}.jsonl", pool(seed))))
        everything = played(folder, f"all-{seed}", seed, options.split, rounds=1, start=size, grow=1)
        found.setdefault("all rows", []).append(last_scores(everything))
        facts.setdefault("all rows", []).append(chosen_facts(everything))
        for by in options.selectors:
            one = played(folder, f"{by}-{seed}", seed, options.split, start=START, grow=GROW, selection=SELECTORS[by])
            found.setdefault(by, []).append(last_scores(one))
            facts.setdefault(by, []).append(chosen_facts(one))
            print(f"  seed {seed} {by}: nll {found[by][-1]['nll'][0]:.3f}", flush=True)
    share = (START + GROW * (ROUNDS - 1)) / size
    print(f"\n{size} rows, {share:.1%} of them chosen; {UPDATES} updates a round; {len(options.seeds)} seeds; ")
    print(f"split {options.split}; means with 95 % t-intervals over seeds; {time.monotonic() - started:.0f} s\n")
    print(
        "| selector | NLL, nats/token | exact match | kinds of 8 | rare rows | answer words | undetermined language |"
    )
    print("|---|---|---|---|---|---|---|")
    for by in found:
        cells = [shown([one["nll"][0] for one in found[by]]), shown([one["exact_match"][0] for one in found[by]])]
        kinds, rare = (shown([one[name] for one in facts[by]], digits=2) for name in ("kinds", "rare"))
        words = shown([one["answer_words"] for one in facts[by]], digits=2)
        language = shown([one.get("language:undetermined", 0.0) for one in facts[by]], digits=2)
        print(f"| {by} | {' | '.join(cells)} | {kinds} | {rare} | {words} | {language} |")
    claims(found, options.seeds)


def json_lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines()


def claims(found: dict[str, list[dict[str, tuple[float, float, float]]]], seeds: list[int]) -> None:
    """The two claims, seed by seed and together."""
    ours, everything, at_random = found.get("k-center"), found["all rows"], found.get("random")
    if ours is None:
        return
    print()
    for metric, sign in (("nll", 1), ("exact_match", -1)):
        reached = [
            sign * one[metric][0] <= sign * all_rows[metric][2 if sign > 0 else 1]
            for one, all_rows in zip(ours, everything, strict=True)
        ]
        verdict = "holds" if all(reached) else "FAILS"
        print(
            f"claim: k-center reaches the score of all rows within its interval over items ({metric}): {verdict} "
            f"in {sum(reached)} of {len(seeds)} seeds"
        )
        if at_random is None:
            continue
        gains = [sign * (other[metric][0] - one[metric][0]) for one, other in zip(ours, at_random, strict=True)]
        _, low, _ = interval(gains)
        print(
            f"claim: k-center beats random from the same start ({metric}): {'holds' if low > 0 else 'FAILS'}; "
            f"gain {shown(gains)} over seeds, better in {sum(gain > 0 for gain in gains)} of {len(seeds)}"
        )


if __name__ == "__main__":
    main()
