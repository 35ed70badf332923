"""How many answers a second a model grades, by each way of reading a grade, with and without the shared rubric.

    python benchmarks/grading.py                       # 12 rows, embedded:smollm2, two interleaved repeats
    python benchmarks/grading.py --rows 32 --repeats 3 --max-new-tokens 128

Every form sees the same rows in the same repeat. `full prompts` is the distribution with the rubric read anew for every
row, one call a row; the reasons of a grader that ends early cost less than their limit, so the tokens it wrote are
printed beside.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from itertools import islice
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from selfalign import weights
from selfalign.data.sources import pinned, read_chats
from selfalign.engines.transformers import TransformersEngine
from selfalign.grading.parsing import reasoning_of
from selfalign.grading.rubrics import Rubric, grading_prompt, rubric_named
from selfalign.ports import LM
from selfalign.types import Chat, Rendering, Sampling

LEAD = "Score:"


def distribution(lm: LM, asked: Sequence[Chat], rubric: Rubric) -> list[tuple[float, ...]]:
    """The probabilities of the scale's scores after what stands of each reply."""
    options = [f" {score}" for score in rubric.scores]
    leads = [Chat(id=one.id, prompt=one.prompt, answer=one.answer or LEAD) for one in asked]
    return lm.choice(leads, options=options, rendering=Rendering())


def reasons(lm: LM, asked: Sequence[Chat], limit: int) -> tuple[list[Chat], int]:
    """What the grader writes, as the beginning of its reply, and how many tokens it wrote."""
    sampling = Sampling(max_new_tokens=limit, temperature=0.0)
    made = lm.generate(asked, sampling=sampling, rendering=Rendering(), seeds=[0] * len(asked))
    begun = [
        Chat(id=one.id, prompt=one.prompt, answer=f"{reasoning_of(reply.text)}\n\n{LEAD}")
        for one, reply in zip(asked, made, strict=True)
    ]
    return begun, sum(reply.tokens for reply in made)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what was made."""
    started = time.perf_counter()
    made = work()
    return time.perf_counter() - started, made


def measure(lm: LM, asked: Sequence[Chat], rubric: Rubric, *, repeats: int, limit: int) -> None:
    """Interleaved repeats of every form; prints medians, rates and ratios, and how far the exact forms differ."""
    distribution(lm, asked[:2], rubric)
    seconds: dict[str, list[float]] = {
        name: []
        for name in ("distribution, shared rubric", "distribution, full prompts", "reasoned", "reasoned-choice")
    }
    difference, written = 0.0, 0
    for _ in range(repeats):
        took, shared = timed(lambda: distribution(lm, asked, rubric))
        seconds["distribution, shared rubric"].append(took)
        took, full = timed(lambda: [row for one in asked for row in distribution(lm, [one], rubric)])
        seconds["distribution, full prompts"].append(took)
        pairs = [(a, b) for one, other in zip(shared, full, strict=True) for a, b in zip(one, other, strict=True)]
        difference = max(difference, *(abs(a - b) for a, b in pairs))
        took, (begun, written) = timed(lambda: reasons(lm, asked, limit))
        seconds["reasoned"].append(took)
        more, _ = timed(lambda begun=begun: distribution(lm, begun, rubric))
        seconds["reasoned-choice"].append(took + more)
    base = median(seconds["distribution, full prompts"])
    for name, values in seconds.items():
        middle = median(values)
        told = f"{len(asked) / middle:7.2f} pairs/s  {middle / len(asked):7.3f} s/pair"
        print(f"{name:30} {told}  x{base / middle:.2f} of full prompts  ({min(values):.2f}-{max(values):.2f} s)")
    ratio = median(seconds["reasoned"]) / median(seconds["distribution, shared rubric"])
    print(f"shared rubric is x{ratio:.1f} as fast as reasons ({written} tokens written, at most {limit} a row)")
    print(f"largest difference in log-probability with and without the shared rubric: {difference:.1e} nats")


def main() -> None:
    """Measure on the gold set."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rows", type=int, default=12)
    options.add_argument("--repeats", type=int, default=2)
    options.add_argument("--max-new-tokens", type=int, default=64)
    options.add_argument("--model", default="embedded:smollm2")
    options.add_argument("--rubric", default="backtranslation")
    chosen = options.parse_args()
    rubric = rubric_named(chosen.rubric)
    chats = islice(read_chats(pinned("embedded:grading-gold#all")), chosen.rows)
    asked = [Chat(id=chat.id, prompt=grading_prompt(chat, rubric)) for chat in chats]
    model = weights.pinned(chosen.model)
    with TransformersEngine(device="cpu").open(model, weights.folder(model)) as lm:
        measure(lm, asked, rubric, repeats=chosen.repeats, limit=chosen.max_new_tokens)


if __name__ == "__main__":
    main()
