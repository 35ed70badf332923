"""Does SPIN beat more supervised fine-tuning on the same rows? `embedded:toy`, some minutes on two cores.

For every seed a base is made first, as the paper has it: the toy, fine-tuned on the very demonstrations that follow, 96
tasks of two kinds it knows badly, answered in brackets, for ten epochs, after which it gains little. Then three rounds
of SPIN on them, and the controls: supervised fine-tuning that passes as many sequences through the model, round by
round, and SPIN of one round that is trained as long as the three.

    python benchmarks/claims/spin.py                      # the reported seeds
    python benchmarks/claims/spin.py --seeds 100 101 --split dev

The base's epochs, and SPIN's learning rate and beta (of 1e-5 to 5e-4 and 0.1 or 1) were chosen on dev words with seed
100. Answers are greedy.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from experiment import claimed, last_model, played, rows_of, run_experiment, scores_of, shown, write

from selfalign.embedded.toy_tasks import toy_tasks
from selfalign.playing import Played
from selfalign.store import Store

KINDS = ("vowels", "reverse")
FORM = "[{}]"
DEMONSTRATIONS, TEST_ROWS, ROUNDS = 96, 200, 3
BASE_EPOCHS, BASE_LEARNING_RATE = 10, 1e-3
OPTIMISATION = {"optimiser": "adamw", "batch_size": 8, "warmup_ratio": 0.0}
RENDERING = {"prompt": "chat", "max_length": 512}
SPIN, MORE_SFT, ONE_LONG = "SPIN", "more fine-tuning", "one long round"
SPIN_RATE, SFT_RATE, BETA = 5e-5, 2e-4, 0.1
# Sequences: a pair is two. Rounds after the first train on two sets of pairs, so on four epochs' worth.
EPOCHS = [2, 4, 4]
ARMS: dict[str, dict[str, Any]] = {
    SPIN: {"name": "spin"},
    MORE_SFT: {"name": "sft", "epochs": EPOCHS, "learning_rate": [SFT_RATE]},
    ONE_LONG: {"name": "spin", "optimisation": {**OPTIMISATION, "num_train_epochs": sum(EPOCHS) // 2}},
}
REPORTED_SEEDS = tuple(range(80, 88))


def method_of(arm: str, base: str, demonstrations: str, seed: int) -> dict[str, Any]:
    """An arm's settings."""
    both = {"base": base, "demonstrations": demonstrations, "rendering": RENDERING, "seed": seed}
    if ARMS[arm]["name"] == "sft":
        return {**both, "optimisation": OPTIMISATION, **ARMS[arm]}
    return {
        **both, "beta": [BETA], "learning_rate": [SPIN_RATE], "generation_rendering": RENDERING,
        "sampling": {"max_new_tokens": 24, "temperature": 1.0},
        "optimisation": {**OPTIMISATION, "num_train_epochs": 1}, **ARMS[arm],
    }  # fmt: skip


def report(folder: Path, options: argparse.Namespace) -> None:
    started = time.monotonic()
    held_out = folder / f"{options.split}.jsonl"
    write(held_out, rows_of(toy_tasks(kinds=KINDS, count=TEST_ROWS, seed=7, pool=options.split), FORM))
    found: dict[str, list[list[Mapping[str, float]]]] = {}
    known: list[list[float]] = []
    for seed in options.seeds:
        tasks = toy_tasks(kinds=KINDS, count=DEMONSTRATIONS, seed=seed, pool="train")
        demonstrations = write(folder / f"demonstrations-{seed}.jsonl", rows_of(tasks, FORM))
        method = {
            "name": "sft", "base": "embedded:toy", "demonstrations": demonstrations, "epochs": [BASE_EPOCHS],
            "learning_rate": [BASE_LEARNING_RATE], "optimisation": OPTIMISATION, "rendering": RENDERING, "seed": seed,
        }  # fmt: skip
        base = last_model(folder, played(folder, f"base-{seed}", method, held_out=held_out, rounds=1))
        for arm in dict.fromkeys((SPIN, *options.arms)):
            one = played(
                folder, f"{arm.replace(' ', '-')}-{seed}", method_of(arm, base, demonstrations, seed),
                held_out=held_out, rounds=1 if arm == ONE_LONG else ROUNDS,
            )  # fmt: skip
            found.setdefault(arm, []).append([scores_of(one, place) for place in range(len(one.outcome.scores))])
            if arm == SPIN:
                known.append(own_share(folder, one))
        print(f"  seed {seed}; {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{len(options.seeds)} seeds, split {options.split}, {time.monotonic() - started:.0f} s; "
          "means with 95 % t-intervals over seeds\n")  # fmt: skip
    print("| arm | round | NLL, nats/token | exact match |\n|---|---|---|---|")
    for arm, runs in found.items():
        for place in range(len(runs[0])):
            if place or arm == SPIN:
                cells = [shown([one[place][metric] for one in runs]) for metric in ("nll", "exact_match")]
                print(f"| {arm if place else 'base'} | {place} | {' | '.join(cells)} |")
    print()
    shares = ", ".join(f"{mean(some):.0%}" for some in zip(*known, strict=True))
    print(f"own answers that equal the human ones, round by round: {shares}\n")
    last = {arm: [one[-1] for one in runs] for arm, runs in found.items()}
    after = f"{SPIN} after round {ROUNDS}"
    print(*claimed(after, "the base", last[SPIN], [one[0] for one in found[SPIN]]), sep="\n")
    print(*claimed(after, "its round 1", last[SPIN], [one[1] for one in found[SPIN]]), sep="\n")
    for arm in (MORE_SFT, ONE_LONG):
        if arm in last:
            print(*claimed(after, arm, last[SPIN], last[arm]), sep="\n")


def own_share(folder: Path, one: Played) -> list[float]:
    """Round by round, the share of the model's own answers that equal the human ones: pairs with nothing to learn."""
    store = Store(folder / "store")
    pairs = [list(store.rows(event["trained_on"][-1])) for event in one.folder.rounds()[1:]]
    return [mean(pair.chosen == pair.rejected for pair in some) for some in pairs]


if __name__ == "__main__":
    run_experiment(__doc__ or "", REPORTED_SEEDS, report, tuple(ARMS))
