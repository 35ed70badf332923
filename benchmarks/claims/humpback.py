"""Does curation keep its promise? Humpback on `embedded:toy` and a corpus of good and corrupted passages.

The passages are answers to two kinds of task in a form the toy has never seen, `[KAVIT]`, and two fifths of them are
corrupted. The toy cannot read a rubric, so a base is made from it first (ten minutes), over words that occur nowhere
else: trained on labelled gradings of sound passages and of passages corrupted in the same way, on backward questions
and on answers in other forms. What follows tells what curation by a grader that works is worth, not where one is from.

Then, for every seed: eight seed pairs, 120 passages, M_0 (seeds only), M_1 and M_2 (the better half by grade kept), and
the controls: the seeds for as many steps as M_1 took, as many passages as M_1 kept drawn without looking (uncurated, as
many pairs and steps), and all passages. The share and the steps were chosen on the dev words of seeds 100 to 103.

    python benchmarks/claims/humpback.py                      # the reported seeds
    python benchmarks/claims/humpback.py --seeds 100 --split dev

A claim is printed with its verdict, whichever way it falls.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from experiment import claimed, last_model, played, rows_of, run_experiment, scores_of, shown, steps_of, write

from selfalign.embedded.toy_tasks import WordPool, toy_tasks
from selfalign.grading.rubrics import Rubric, grading_prompt
from selfalign.methods.humpback import Humpback
from selfalign.playing import Played
from selfalign.stages.backtranslate import backward_prompt
from selfalign.store import Store
from selfalign.types import Chat, Message

KINDS = ("upper", "double")
SEED_PAIRS, PASSAGES, CORRUPTED = 8, 120, 0.4
TEST_ROWS, TEST_TOKENS = 100, 20
PREPARED = {"grade": 1500, "backward": 900, "forward": 600}
REPORTED_SEEDS = tuple(range(20, 30))
RUBRIC = Rubric(
    name="toy", lowest=1, highest=2, task="Grade it.", criteria=("broken", "sound"),
    answer_format="Last line, from 1 to 2:\nScore: 2",
)  # fmt: skip
CURATED, EVERYTHING = "curated (M_1)", "uncurated (M_1)"
SEEDS_ONLY, AS_LONG = "seeds only (M_0)", "seeds only, as many steps"
AS_MANY = "uncurated, as many pairs and steps"
KEPT_SHARE = 0.5
STEPS = [[SEED_PAIRS, 40, 4], [SEED_PAIRS + PASSAGES, 600, 4]]
BOTH_TAGS = f"{Humpback.seed_tag} {Humpback.corpus_tag}"


def pairs(pool: WordPool, count: int, seed: int) -> list[dict[str, str]]:
    """Tasks as rows, answered in brackets."""
    return rows_of(toy_tasks(kinds=KINDS, count=count, seed=seed, pool=pool), "[{}]")


def corrupted(answer: str, draw: random.Random) -> str:
    """A passage gone wrong: letters replaced by signs, the end lost."""
    letters = list(answer)
    for place in draw.sample(range(1, len(letters) - 1), min(2, len(letters) - 2)):
        letters[place] = draw.choice("#%&$@")
    return "".join(letters[: -draw.randint(0, 1) or None])


def preparation(seed: int) -> list[dict[str, Any]]:
    """What the base has met: gradings and backward questions over words of the model's own pool."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for row in pairs("model", PREPARED["grade"], seed):
        sound = draw.random() < 0.5
        shown_answer = row["completion"] if sound else corrupted(row["completion"], draw)
        chat = Chat(id=row["id"], prompt=(Message(role="user", content=row["prompt"]),), answer=shown_answer)
        asked = grading_prompt(chat, RUBRIC)[-1].content
        rows.append({"id": f"grade-{row['id']}", "prompt": asked, "completion": f"Score: {2 if sound else 1}"})
    for row in pairs("model", PREPARED["backward"], seed + 1):
        said = row["completion"] if draw.random() < 0.6 else corrupted(row["completion"], draw)
        asked = backward_prompt(said, Humpback.seed_tag)[-1].content
        rows.append({"id": f"back-{row['id']}", "prompt": asked, "completion": row["prompt"]})
    for place, one in enumerate(toy_tasks(kinds=KINDS, count=PREPARED["forward"], seed=seed + 2, pool="model")):
        tag = (Humpback.seed_tag, Humpback.corpus_tag, BOTH_TAGS)[place % 3]
        form = ("{}", "the answer is {}.")[draw.randrange(2)]
        rows.append({"id": f"go-{one.id}", "prompt": f"{one.instruction}\n\n{tag}",
                     "completion": form.format(one.output)})  # fmt: skip
    return rows


def prepared(folder: Path) -> str:
    """The base, as a model folder."""
    demonstrations = write(folder / "preparation.jsonl", preparation(0))
    method = {
        "name": "sft", "base": "embedded:toy", "demonstrations": demonstrations, "epochs": [7],
        "learning_rate": [2e-3], "optimisation": {"optimiser": "adamw", "batch_size": 32, "schedule": "cosine"},
    }  # fmt: skip
    one = played(folder, "base", method, held_out=folder / "dev.jsonl", rounds=1, max_new_tokens=TEST_TOKENS)
    return last_model(folder, one)


def method_of(
    folder: Path, base: str, seed: int, *, kept_share: float = 1.0, passages: int = PASSAGES, steps: int | None = None
) -> dict[str, Any]:
    """A run's settings; `steps` takes the place of the table that has them grow with the examples."""
    table = STEPS if steps is None else [[SEED_PAIRS, steps, 4]]
    return {
        "name": "humpback", "base": base, "seeds": str(folder / f"seeds-{seed}.jsonl"),
        "corpus": str(folder / f"corpus-{seed}.jsonl"), "segments": passages,
        "segmentation": {"min_characters": 3, "max_characters": 60},
        "filters": {"min_characters": 5},
        "sampling": {"max_new_tokens": 24, "temperature": 0.7, "top_p": 0.9},
        "grading": {"rubric": asdict(RUBRIC), "reading": "distribution"},
        "threshold": 1.0, "kept_share": kept_share, "rendering": {"max_length": 512, "prompt": "chat"},
        "optimisation": {"learning_rate": 1e-3, "steps_by_examples": table},
        "seed": seed,
    }  # fmt: skip


def data_of(folder: Path, seed: int) -> None:
    """Seeds and corpus of one seed: no word of one occurs in the other."""
    every = pairs("train", SEED_PAIRS + PASSAGES, seed)
    write(folder / f"seeds-{seed}.jsonl", every[:SEED_PAIRS])
    draw = random.Random(seed)
    write(folder / f"corpus-{seed}.jsonl", (
        {"id": f"{'bad' if bad else 'good'}-{row['id']}",
         "text": corrupted(row["completion"], draw) if bad else row["completion"]}
        for row in every[SEED_PAIRS:] for bad in [draw.random() < CORRUPTED]
    ))  # fmt: skip


def quality(folder: Path, one: Played, place: int) -> tuple[int, float, float]:
    """Rows kept in a round, the share of sound ones among them, and among all candidates."""
    store = Store(folder / "store")
    event = one.folder.rounds()[place]
    kept = [row.id for row in store.rows(event["trained_on"][1])]
    graded = [row.id for row in store.rows(event["grades"])]
    sound, all_sound = (sum("good" in name for name in some) / max(1, len(some)) for some in (kept, graded))
    return len(kept), sound, all_sound


def report(folder: Path, options: argparse.Namespace) -> None:
    started = time.monotonic()
    for split in ("dev", "test"):
        write(folder / f"{split}.jsonl", pairs(split, TEST_ROWS, 7))
    base = prepared(folder)
    print(f"base made in {time.monotonic() - started:.0f} s", flush=True)

    def run(name: str, seed: int, *, rounds: int, **settings: Any) -> Played:
        return played(
            folder, f"{name}-{seed}", method_of(folder, base, seed, **settings), rounds=rounds,
            held_out=folder / f"{options.split}.jsonl", max_new_tokens=TEST_TOKENS, rendering={"suffix": BOTH_TAGS},
        )  # fmt: skip

    found: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        data_of(folder, seed)
        curated = run("curated", seed, rounds=3, kept_share=KEPT_SHARE)
        kept, sound, before = quality(folder, curated, 2)
        as_long = run("as-long", seed, rounds=1, steps=steps_of(folder, curated, 2))
        some = run("some", seed, rounds=2, passages=kept)
        everything = run("everything", seed, rounds=2)
        for arm, one, place in (
            ("base", curated, 0), (SEEDS_ONLY, curated, 1), (AS_LONG, as_long, 1), (CURATED, curated, 2),
            ("curated again (M_2)", curated, 3), (AS_MANY, some, 2), (EVERYTHING, everything, 2),
        ):  # fmt: skip
            found.setdefault(arm, []).append(scores_of(one, place))
        print(f"  seed {seed}: M_0 keeps {kept}, {sound:.0%} of them sound ({before:.0%} of all)", flush=True)
    print(f"\n{len(options.seeds)} seeds, split {options.split}, {time.monotonic() - started:.0f} s; "
          "means with 95 % t-intervals over seeds\n")  # fmt: skip
    print("| trained on | seeds | NLL, nats/token | exact match |\n|---|---|---|---|")
    for arm, scores in found.items():
        cells = [shown([one[name] for one in scores]) for name in ("nll", "exact_match")]
        print(f"| {arm} | {len(scores)} | {' | '.join(cells)} |")
    print()
    for other in (SEEDS_ONLY, AS_LONG, AS_MANY, EVERYTHING):
        print(*claimed(CURATED, other, found[CURATED], found[other]), sep="\n")


if __name__ == "__main__":
    run_experiment(__doc__ or "", REPORTED_SEEDS, report)
