"""How many answers a second a model grades: beside transformers, and by each way of reading a grade.

    python benchmarks/bench.py --only grading                     # beside transformers, as `make bench` does
    python benchmarks/grading.py                                  # our own ways: 12 rows, two interleaved repeats
    python benchmarks/grading.py --rows 32 --repeats 3 --max-new-tokens 128

Every form sees the same rows in the same repeat. Among our own ways, `full prompts` is the distribution with the rubric
read anew for every row, one call a row; the reasons of a grader that ends early cost less than their limit, so the
tokens it wrote are printed beside.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from figures import Demand, Row, Settings, Turn, by_rate, figure, in_turns, median_rate, processor_ratio, timed
from generation import written_by_peer
from machine import rates, shapes_of
from workloads import items_to_grade, model_folder, peer_model, shared_length, tokenizer_in

from selfalign import weights
from selfalign.engines.transformers import TransformersEngine
from selfalign.grading.parsing import reasoning_of
from selfalign.grading.rubrics import Rubric, rubric_named
from selfalign.ports import LM
from selfalign.render import prompt_ids
from selfalign.types import Chat, Rendering, Sampling

LEAD = "Score:"
PEER_BATCH = 8
RATIONALE_TOKENS = 128
SCORE_WRITTEN = re.compile(r"Score:\s*(\d+)")


def options_of(rubric: Rubric) -> list[str]:
    """What may follow the lead, one option a score."""
    return [f" {score}" for score in rubric.scores]


def distribution(lm: LM, asked: Sequence[Chat], rubric: Rubric) -> list[tuple[float, ...]]:
    """The log-probabilities of the scale's scores after what stands of each reply."""
    leads = [Chat(id=one.id, prompt=one.prompt, answer=one.answer or LEAD) for one in asked]
    return lm.choice(leads, options=options_of(rubric), rendering=Rendering())


# ------------------------------------------------------------------------------------- beside transformers


@torch.inference_mode()
def peer_distribution(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], scores: Sequence[int]
) -> list[list[float]]:
    """The log-probabilities of the score tokens after each whole prompt: batches of 8, logits of the last position."""
    made: list[list[float]] = []
    for start in range(0, len(prompts), PEER_BATCH):
        batch = {"input_ids": prompts[start : start + PEER_BATCH]}
        padded = tokenizer.pad(batch, padding_side="left", return_tensors="pt")
        position = (padded["attention_mask"].cumsum(1) - 1).clamp(min=0)
        logits = model(**padded, position_ids=position, logits_to_keep=1).logits[:, -1]
        made.extend(torch.log_softmax(logits.float(), dim=-1)[:, list(scores)].tolist())
    return made


def lead_and_scores(tokenizer: Any, rubric: Rubric) -> tuple[list[int], list[int]]:
    """The tokens that stand before a score, and the one token of each score."""
    written = [tokenizer.encode(LEAD + option, add_special_tokens=False) for option in options_of(rubric)]
    shared = shared_length(written)
    if any(len(one) != shared + 1 for one in written):
        raise SystemExit(f"the scores of {rubric.name} are not one token each: the peer's single pass cannot read them")
    return written[0][:shared], [one[shared] for one in written]


def rows(settings: Settings) -> Iterator[Row]:
    """One pass with a shared rubric beside full prompts, and beside a rationale that is then parsed."""
    folder = model_folder(settings)
    tokenizer, peer = tokenizer_in(folder), peer_model(folder)
    rubric = rubric_named("backtranslation")
    asked = items_to_grade(settings.size(16, 2), rubric)
    begun = [prompt_ids(tokenizer, one, Rendering()) for one in asked]
    lead, scores = lead_and_scores(tokenizer, rubric)
    full = [[*ids, *lead] for ids in begun]
    sampling = Sampling(max_new_tokens=settings.size(RATIONALE_TOKENS, 4), temperature=0.0)
    seen: dict[str, Any] = {}

    def shared() -> float:
        seen["ours"] = distribution(lm, asked, rubric)
        return len(asked)

    def whole() -> float:
        seen["theirs"] = peer_distribution(peer, tokenizer, full, scores)
        return len(asked)

    def rationale() -> float:
        seen["written"] = written_by_peer(peer, tokenizer, begun, sampling, batch=PEER_BATCH)
        seen["read"] = [SCORE_WRITTEN.findall(tokenizer.decode(ids)) for ids in seen["written"]]
        return len(asked)

    with TransformersEngine(device="cpu").open(weights.pinned(settings.model), folder) as lm:
        distribution(lm, asked[:2], rubric)
        peer_distribution(peer, tokenizer, full[:2], scores)
        found = in_turns(
            {
                "one pass": lambda _: timed(shared),
                "full prompts": lambda _: timed(whole),
                "rationale": lambda _: timed(rationale),
            },
            settings.repeats,
        )
    prefix = shared_length(full)
    distinct = sum(map(len, full)) - prefix * (len(full) - 1)
    limit = len(full) * rates(folder).reading / shapes_of(folder).flops(tokens=distinct, logits=len(full))
    difference = (normalised(seen["ours"]) - normalised(seen["theirs"])).abs().max().item()
    sizes = f"{len(full)} items of {figure(sum(map(len, full)) / len(full))} tokens, the first {prefix} of them shared"
    told = sum(map(bool, seen["read"]))
    yield row_of(
        found,
        "full prompts",
        Demand(must=2.5, aim=4),
        limit,
        f"{sizes}; probabilities over the scores differ by at most {difference:.0e}",
    )
    yield row_of(
        found,
        "rationale",
        Demand(must=10, aim=18),
        limit,
        f"the same items; the peer wrote "
        f"{figure(sum(map(len, seen['written'])) / len(full))} tokens a row, greedily, and {told} of {len(full)} "
        "replies held a score; it does not reuse the rubric either",
    )


def normalised(log_p_NK: Sequence[Sequence[float]]) -> torch.Tensor:
    """The distribution over the scores of each row: what a blank before them took is left out."""
    return torch.softmax(torch.tensor(log_p_NK, dtype=torch.float64), dim=-1)


def row_of(found: dict[str, list[Turn]], peer: str, demand: Demand, limit: float, note: str) -> Row:
    """One pass beside a peer."""
    names = {
        "full prompts": f"the full prompt each time, transformers, batch {PEER_BATCH}, last-position logits",
        "rationale": f"`generate` up to {RATIONALE_TOKENS} tokens, batch {PEER_BATCH}, then parse",
    }
    ours, theirs = found["one pass"], found[peer]
    return by_rate(
        ours,
        theirs,
        demand=demand,
        unit="items/s",
        id=f"grading/{peer.replace(' ', '-')}",
        stage="grade: distribution over the scores from one pass",
        peer=names[peer],
        limit=f"{figure(limit / median_rate(theirs))}× ({figure(limit)} items/s)",
        note=f"{note}; {processor_ratio(ours, theirs)}.",
    )


# ------------------------------------------------------------------------------------------- our own ways


def reasons(lm: LM, asked: Sequence[Chat], limit: int) -> tuple[list[Chat], int]:
    """What the grader writes, as the beginning of its reply, and how many tokens it wrote."""
    sampling = Sampling(max_new_tokens=limit, temperature=0.0)
    made = lm.generate(asked, sampling=sampling, rendering=Rendering(), seeds=[0] * len(asked))
    begun = [
        Chat(id=one.id, prompt=one.prompt, answer=f"{reasoning_of(reply.text)}\n\n{LEAD}")
        for one, reply in zip(asked, made, strict=True)
    ]
    return begun, sum(reply.tokens for reply in made)


def measure(lm: LM, asked: Sequence[Chat], rubric: Rubric, *, repeats: int, limit: int) -> None:
    """Interleaved repeats of every form; prints medians, rates and ratios, and how far the exact forms differ."""
    seen: dict[str, Any] = {}

    def side(name: str, work: Callable[[], Any]) -> Callable[[int], Turn]:
        def once(_turn: int) -> Turn:
            def worked() -> float:
                seen[name] = work()
                return len(asked)

            return timed(worked)

        return once

    distribution(lm, asked[:2], rubric)
    shared, full, reasoned = "distribution, shared rubric", "distribution, full prompts", "reasoned"
    turns = in_turns(
        {
            shared: side(shared, lambda: distribution(lm, asked, rubric)),
            full: side(full, lambda: [row for one in asked for row in distribution(lm, [one], rubric)]),
            reasoned: side(reasoned, lambda: reasons(lm, asked, limit)),
            "choice": side("choice", lambda: distribution(lm, seen[reasoned][0], rubric)),
        },
        repeats,
    )
    seconds = {name: [turn.seconds for turn in made] for name, made in turns.items()}
    choices = seconds.pop("choice")
    seconds["reasoned-choice"] = [a + b for a, b in zip(seconds[reasoned], choices, strict=True)]
    base = median(seconds[full])
    for name, values in seconds.items():
        middle = median(values)
        told = f"{len(asked) / middle:7.2f} pairs/s  {middle / len(asked):7.3f} s/pair"
        print(f"{name:30} {told}  x{base / middle:.2f} of full prompts  ({min(values):.2f}-{max(values):.2f} s)")
    ratio = median(seconds[reasoned]) / median(seconds[shared])
    print(f"shared rubric is x{ratio:.1f} as fast as reasons ({seen[reasoned][1]} tokens, at most {limit} a row)")
    both = zip(seen[shared], seen[full], strict=True)
    difference = max(abs(a - b) for own, other in both for a, b in zip(own, other, strict=True))
    print(f"largest difference in log-probability with and without the shared rubric: {difference:.1e} nats")


def main() -> None:
    """Measure our own ways on the gold set."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--rows", type=int, default=12)
    options.add_argument("--repeats", type=int, default=2)
    options.add_argument("--max-new-tokens", type=int, default=64)
    options.add_argument("--model", default="embedded:smollm2")
    options.add_argument("--rubric", default="backtranslation")
    chosen = options.parse_args()
    rubric = rubric_named(chosen.rubric)
    asked = items_to_grade(chosen.rows, rubric)
    model = weights.pinned(chosen.model)
    with TransformersEngine(device="cpu").open(model, weights.folder(model)) as lm:
        measure(lm, asked, rubric, repeats=chosen.repeats, limit=chosen.max_new_tokens)


if __name__ == "__main__":
    main()
