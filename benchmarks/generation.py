"""Tokens per second of selfalign's decode loop beside `model.generate`: `python benchmarks/bench.py --only generation`.

The peer is what released self-play code does: `generate` in batches of 16 in arrival order, padded on the left. The
two sides draw different texts from the same distribution, so tokens per second is the fair unit, and the mean lengths
are told beside it. Under torch's default policy (`--thread-policy default`) it is a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from figures import Demand, Row, Settings, Turn, by_rate, figure, in_turns, median_rate, processor_ratio, timed
from machine import Rates, Shapes, rates, shapes_of
from workloads import model_folder, peer_model, prompts, shared_length, tokenizer_in

from selfalign import weights
from selfalign.engines.transformers import TransformersEngine
from selfalign.render import prompt_ids
from selfalign.types import Chat, Rendering, Sampling

PEER_BATCH = 16


def own_tokens(opened: Any, chats: Sequence[Chat], sampling: Sampling, *, turn: int) -> int:
    """Generate with selfalign; gives the number of tokens written."""
    seeds = [turn * 1000 + number for number in range(len(chats))]
    written = opened.generate(chats, sampling=sampling, rendering=Rendering(), seeds=seeds)
    return sum(continuation.tokens for continuation in written)


@torch.inference_mode()
def written_by_peer(
    model: Any, tokenizer: Any, rows: Sequence[list[int]], sampling: Sampling, *, batch: int
) -> list[list[int]]:
    """What the library's loop writes after each prompt, end token included, padding not."""
    written = []
    settings: dict[str, Any] = {"do_sample": False}
    if sampling.temperature:
        settings = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
    for start in range(0, len(rows), batch):
        padded = tokenizer.pad({"input_ids": rows[start : start + batch]}, padding_side="left", return_tensors="pt")
        output = model.generate(
            **padded, **settings, max_new_tokens=sampling.max_new_tokens, pad_token_id=tokenizer.pad_token_id
        )[:, padded["input_ids"].shape[1] :]
        for row in output.tolist():
            ends = row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
            written.append(row[:ends])
    return written


def rows(settings: Settings) -> Iterator[Row]:
    """Both sides in turns, in this process."""
    folder = model_folder(settings)
    tokenizer, peer = tokenizer_in(folder), peer_model(folder)
    chats = prompts(settings.size(64, 4))
    ids = [prompt_ids(tokenizer, chat, Rendering()) for chat in chats]
    sampling = Sampling(max_new_tokens=settings.size(64, 4), temperature=1.0)

    def theirs(turn: int) -> Turn:
        torch.manual_seed(turn)
        return timed(lambda: sum(map(len, written_by_peer(peer, tokenizer, ids, sampling, batch=PEER_BATCH))))

    with TransformersEngine(device="cpu").open(weights.pinned(settings.model), folder) as opened:
        own_tokens(opened, chats[:4], Sampling(max_new_tokens=4), turn=0)
        written_by_peer(peer, tokenizer, ids[:4], Sampling(max_new_tokens=4), batch=PEER_BATCH)
        found = in_turns(
            {
                "selfalign": lambda turn: timed(lambda: own_tokens(opened, chats, sampling, turn=turn)),
                "generate": theirs,
            },
            settings.repeats,
        )
    ours, other = found["selfalign"], found["generate"]
    lengths = [figure(sum(turn.amount for turn in side) / len(side) / len(chats)) for side in (ours, other)]
    limit = best_rate(shapes_of(folder), rates(folder), ids, ours[0].amount, steps=sampling.max_new_tokens)
    spinning = settings.threads == "default"
    yield by_rate(
        ours,
        other,
        demand=Demand(must=4.2, aim=6),
        unit="tokens/s",
        id="generation-spinning" if spinning else "generation",
        stage="generate, exact weights" + (", spinning threads" if spinning else ""),
        peer=f"`generate`, batch {PEER_BATCH}, arrival order, left padded",
        limit=f"{figure(limit / median_rate(other))}× ({figure(limit)} tokens/s)",
        note=f"{len(chats)} prompts, at most {sampling.max_new_tokens} new tokens, temperature 1; mean answer "
        f"{lengths[0]} tokens (peer {lengths[1]}); {processor_ratio(ours, other)}; a seed per row on our side.",
    )


def best_rate(shapes: Shapes, measured: Rates, ids: Sequence[list[int]], tokens: float, *, steps: int) -> float:
    """Tokens per second if nothing but products took time: what prompts share read once, weights once a step."""
    shared = shared_length(ids)
    reading = shapes.flops(tokens=sum(map(len, ids)) - shared * (len(ids) - 1), logits=len(ids)) / measured.reading
    writing = shapes.flops(tokens=tokens, logits=tokens) / measured.decoding
    return tokens / (reading + max(writing, steps * shapes.weight_bytes / measured.bandwidth))
