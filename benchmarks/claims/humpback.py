"""Does curation keep its promise? Humpback on `embedded:toy` and a corpus of good and corrupted passages.

The passages are answers to two kinds of task in a form the toy has never seen, `[KAVIT]`, and two fifths of them are
corrupted. The toy cannot read a rubric, so a base is made from it first (ten minutes), over words that occur nowhere
else: trained on labelled gradings of sound passages and of passages corrupted in the same way, on backward questions
and on answers in other forms. What follows tells what curation by a grader that works is worth, not where one is from.

Then, for every seed: eight seed pairs, 120 passages, M_0 (seeds only), M_1 and M_2 (the better half by grade kept), and
the controls: the seeds for as many steps as M_1 took, as many passages as M_1 kept drawn without looking (uncurated, as
many pairs and steps), and all passages. The share and the steps were chosen on the dev words of seeds 100 to 103.

    python benchmarks/humpback_toy.py                    # the reported seeds
    python benchmarks/humpback_toy.py --seeds 100 --split dev

A claim is printed as holding or failing, whichever way it falls.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import yaml
from diverse_evol_toy import interval, shown

from selfalign.embedded.toy_tasks import WordPool, toy_tasks
from selfalign.grading.rubrics import Rubric, grading_prompt
from selfalign.methods.humpback import Humpback
from selfalign.playing import Played, play_recipe
from selfalign.stages.backtranslate import backward_prompt
from selfalign.store import Store
from selfalign.types import Chat, Message

KINDS = ("upper", "double")
SEED_PAIRS, PASSAGES, CORRUPTED = 8, 120, 0.4
TEST_ROWS = 100
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


def pairs(pool: WordPool, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Id, instruction and answer of tasks, answered in brackets."""
    return [(one.id, one.instruction, f"[{one.output}]") for one in toy_tasks(
        kinds=KINDS, count=count, seed=seed, pool=pool)]  # fmt: skip


def corrupted(answer: str, draw: random.Random) -> str:
    """A passage gone wrong: letters replaced by signs, the end lost."""
    letters = list(answer)
    for place in draw.sample(range(1, len(letters) - 1), min(2, len(letters) - 2)):
        letters[place] = draw.choice("#%&$@")
    return "".join(letters[: -draw.randint(0, 1) or None])


def write(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def preparation(seed: int) -> list[dict[str, Any]]:
    """What the base has met: gradings and backward questions over words of the model's own pool."""
    draw = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for row_id, instruction, answer in pairs("model", PREPARED["grade"], seed):
        sound = draw.random() < 0.5
        shown_answer = answer if sound else corrupted(answer, draw)
        chat = Chat(id=row_id, prompt=(Message(role="user", content=instruction),), answer=shown_answer)
        asked = grading_prompt(chat, RUBRIC)[-1].content
        rows.append({"id": f"grade-{row_id}", "prompt": asked, "completion": f"Score: {2 if sound else 1}"})
    for row_id, instruction, answer in pairs("model", PREPARED["backward"], seed + 1):
        said = answer if draw.random() < 0.6 else corrupted(answer, draw)
        asked = backward_prompt(said, Humpback.seed_tag)[-1].content
        rows.append({"id": f"back-{row_id}", "prompt": asked, "completion": instruction})
    for place, one in enumerate(toy_tasks(kinds=KINDS, count=PREPARED["forward"], seed=seed + 2, pool="model")):
        tag = (Humpback.seed_tag, Humpback.corpus_tag, BOTH_TAGS)[place % 3]
        form = ("{}", "the answer is {}.")[draw.randrange(2)]
        rows.append({"id": f"go-{one.id}", "prompt": f"{one.instruction}\n\n{tag}",
                     "completion": form.format(one.output)})  # fmt: skip
    return rows


def recipe(folder: Path, name: str, method: dict[str, Any], split: str, **evaluation: Any) -> Path:
    settings = {
        "name": name,
        "method": method,
        "rounds": 1,
        "evaluate": {
            "dev": {"held_out": str(folder / f"{split}.jsonl"), "checks": ["exact_match"]},
            "sampling": {"max_new_tokens": 20, "temperature": 0.0},
            **evaluation,
        },
        "place": {"store": str(folder / "store"), "micro_batch_tokens": 8192},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings), "utf-8")
    return path


def prepared(folder: Path) -> str:
    """The base, as a model folder."""
    demonstrations = write(folder / "preparation.jsonl", preparation(0))
    method = {
        "name": "sft", "base": "embedded:toy", "demonstrations": demonstrations, "epochs": [7],
        "learning_rate": [2e-3], "optimisation": {"optimiser": "adamw", "batch_size": 32, "schedule": "cosine"},
    }  # fmt: skip
    one = play_recipe(recipe(folder, "base", method, "dev"), [], folder / "runs" / "base")
    store = Store(folder / "store")
    return f"path:{store.model_folder(one.outcome.models[-1].ref.removeprefix('made:'))}"


def played(
    folder: Path,
    name: str,
    base: str,
    seed: int,
    split: str,
    *,
    rounds: int,
    kept_share: float = 1.0,
    passages: int = PASSAGES,
    steps: int | None = None,
) -> Played:
    table = STEPS if steps is None else [[SEED_PAIRS, steps, 4]]
    method = {
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
    path = recipe(folder, name, method, split, rendering={"suffix": BOTH_TAGS})
    return play_recipe(path, [f"rounds={rounds}"], folder / "runs" / name)


def data_of(folder: Path, seed: int) -> None:
    """Seeds and corpus of one seed: no word of one occurs in the other."""
    every = pairs("train", SEED_PAIRS + PASSAGES, seed)
    write(folder / f"seeds-{seed}.jsonl", (
        {"id": row_id, "prompt": asked, "completion": answer} for row_id, asked, answer in every[:SEED_PAIRS]
    ))  # fmt: skip
    draw = random.Random(seed)
    write(folder / f"corpus-{seed}.jsonl", (
        {"id": f"{'bad' if bad else 'good'}-{row_id}", "text": corrupted(answer, draw) if bad else answer}
        for row_id, _, answer in every[SEED_PAIRS:] for bad in [draw.random() < CORRUPTED]
    ))  # fmt: skip


def score(one: Played, place: int) -> dict[str, float]:
    scores = one.outcome.scores[place]["dev"]
    return {name: scores[name].mean.mean for name in ("nll", "exact_match")}


def quality(one: Played, place: int) -> tuple[int, float, float]:
    """Rows kept in a round, the share of sound ones among them, and among all candidates."""
    store = Store(one.folder.path.parent.parent / "store")
    event = one.folder.rounds()[place]
    kept = [row.id for row in store.rows(event["trained_on"][1])]
    graded = [row.id for row in store.rows(event["grades"])]
    sound, all_sound = (sum("good" in name for name in some) / max(1, len(some)) for some in (kept, graded))
    return len(kept), sound, all_sound


def steps_of(one: Played, place: int) -> int:
    """How many optimiser steps a round's model was trained."""
    store = Store(one.folder.path.parent.parent / "store")
    return len(store.record(one.outcome.models[place].ref.removeprefix("made:"))["notes"]["steps"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTED_SEEDS))
    parser.add_argument("--split", default="test", choices=("dev", "test"), help="settings are chosen on dev")
    parser.add_argument("--folder", type=Path, help="keep the runs here (default: a folder that is removed)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        report(options.folder or Path(temporary), options)


def report(folder: Path, options: argparse.Namespace) -> None:
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("dev", "test"):
        rows = pairs(split, TEST_ROWS, 7)
        write(folder / f"{split}.jsonl", ({"id": a, "prompt": b, "completion": c} for a, b, c in rows))
    base = prepared(folder)
    print(f"base made in {time.monotonic() - started:.0f} s", flush=True)
    found: dict[str, list[dict[str, float]]] = {}
    for seed in options.seeds:
        data_of(folder, seed)
        curated = played(folder, f"curated-{seed}", base, seed, options.split, rounds=3, kept_share=KEPT_SHARE)
        kept, sound, before = quality(curated, 2)
        as_long = played(folder, f"as-long-{seed}", base, seed, options.split, rounds=1, steps=steps_of(curated, 2))
        some = played(folder, f"some-{seed}", base, seed, options.split, rounds=2, passages=kept)
        everything = played(folder, f"everything-{seed}", base, seed, options.split, rounds=2)
        for arm, one, place in (
            ("base", curated, 0), (SEEDS_ONLY, curated, 1), (AS_LONG, as_long, 1), (CURATED, curated, 2),
            ("curated again (M_2)", curated, 3), (AS_MANY, some, 2), (EVERYTHING, everything, 2),
        ):  # fmt: skip
            found.setdefault(arm, []).append(score(one, place))
        print(f"  seed {seed}: M_0 keeps {kept}, {sound:.0%} of them sound ({before:.0%} of all)", flush=True)
    print(f"\n{len(options.seeds)} seeds, split {options.split}, {time.monotonic() - started:.0f} s; "
          "means with 95 % t-intervals over seeds\n")  # fmt: skip
    print("| trained on | seeds | NLL, nats/token | exact match |\n|---|---|---|---|")
    for arm, scores in found.items():
        cells = [shown([one[name] for one in scores]) for name in ("nll", "exact_match")]
        print(f"| {arm} | {len(scores)} | {' | '.join(cells)} |")
    print()
    for other in (SEEDS_ONLY, AS_LONG, AS_MANY, EVERYTHING):
        for metric, sign in (("nll", 1), ("exact_match", -1)):
            gains = [
                sign * (one[metric] - ours[metric]) for ours, one in zip(found[CURATED], found[other], strict=True)
            ]
            verdict = "holds" if interval(gains)[1] > 0 else "FAILS"
            print(f"claim: {CURATED} beats {other} ({metric}): {verdict}; gain {shown(gains)}, "
                  f"better in {sum(gain > 0 for gain in gains)} of {len(gains)}")  # fmt: skip


if __name__ == "__main__":
    main()
