"""Tokens per second of selfalign's decode loop beside `model.generate`: `python benchmarks/bench.py --only generation`.

The peer is what released self-play code does: `generate` in batches of 16 in arrival order, padded on the left. It has
a process of its own, because ours keeps freed memory for every tensor of its process. The two sides draw different
texts from the same distribution, so tokens per second is the fair unit, and the mean lengths are told beside it. Under
torch's default policy (`--thread-policy default`) it is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from figures import (
    Demand,
    Row,
    Settings,
    Turn,
    by_rate,
    figure,
    in_fresh_process,
    in_turns,
    median_rate,
    processor_ratio,
    timed,
)
from machine import Rates, Shapes, rates, shapes_of
from workloads import model_folder, peer_model, prompts, shared_length, tokenizer_in

from selfalign import weights
from selfalign.engines.fused_layers import decoding
from selfalign.engines.products import Precision
from selfalign.engines.transformers import TransformersEngine
from selfalign.render import prompt_ids
from selfalign.types import Chat, Rendering, Sampling

PEER_BATCH = 16
BFLOAT16: tuple[Precision, ...] = ("bfloat16",) if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ()
ROUNDED: tuple[Precision, ...] = (*BFLOAT16, "int8")


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


def work(settings: Settings) -> tuple[list[Chat], Sampling]:
    """What both sides are asked for."""
    return prompts(settings.size(64, 4)), Sampling(max_new_tokens=settings.size(64, 4), temperature=1.0)


def alone(role: str, settings: Settings) -> Turn:
    """The peer once; the role is the number of the turn. Loading the model and a first few tokens are not timed."""
    folder = model_folder(settings)
    tokenizer, peer = tokenizer_in(folder), peer_model(folder)
    chats, sampling = work(settings)
    ids = [prompt_ids(tokenizer, chat, Rendering()) for chat in chats]
    written_by_peer(peer, tokenizer, ids[:PEER_BATCH], replace(sampling, max_new_tokens=4), batch=PEER_BATCH)
    torch.manual_seed(int(role))
    return timed(lambda: sum(map(len, written_by_peer(peer, tokenizer, ids, sampling, batch=PEER_BATCH))))


def rows(settings: Settings) -> Iterator[Row]:
    """Both sides in turns, the peer in a process of its own."""
    folder = model_folder(settings)
    tokenizer, peer = tokenizer_in(folder), peer_model(folder)
    chats, sampling = work(settings)
    ids = [prompt_ids(tokenizer, chat, Rendering()) for chat in chats]

    def theirs(turn: int) -> Turn:
        return in_fresh_process(f"generation:{turn}", settings)

    def ours_in(precision: Precision) -> Callable[[int], Turn]:
        how = replace(sampling, precision=precision)
        return lambda turn: timed(lambda: own_tokens(opened, chats, how, turn=turn))

    opened: Any  # an LM; the rounded model inside is looked at too
    with TransformersEngine(device="cpu").open(weights.pinned(settings.model), folder) as opened:
        for precision in ("exact", *ROUNDED):
            own_tokens(opened, chats[:4], Sampling(max_new_tokens=4, precision=precision), turn=0)
        texts = written_by_peer(peer, tokenizer, ids[: settings.size(24, 2)], sampling, batch=PEER_BATCH)
        del peer
        errors = {name: error_of(opened.loaded.model, ids, texts, precision=name) for name in ROUNDED}
        sides = {"selfalign": ours_in("exact"), "generate": theirs} | {name: ours_in(name) for name in ROUNDED}
        found = in_turns(sides, settings.repeats)
    ours, other = found["selfalign"], found["generate"]
    lengths = [figure(sum(turn.amount for turn in side) / len(side) / len(chats)) for side in (ours, other)]
    limit = best_rate(shapes_of(folder), rates(folder), ids, ours[0].amount, steps=sampling.max_new_tokens)
    spinning = settings.threads == "default"
    topic = "generation-spinning" if spinning else "generation"
    yield by_rate(
        ours,
        other,
        demand=Demand(must=4.2, aim=6),
        unit="tokens/s",
        id=topic,
        stage="generate, exact weights" + (", spinning threads" if spinning else ""),
        peer=f"`generate`, batch {PEER_BATCH}, arrival order, left padded",
        limit=f"{figure(limit / median_rate(other))}× ({figure(limit)} tokens/s)",
        note=f"{len(chats)} prompts, at most {sampling.max_new_tokens} new tokens, temperature 1; mean answer "
        f"{lengths[0]} tokens (peer {lengths[1]}); {processor_ratio(ours, other)}; a seed per row on our side.",
    )
    for name, (error, tokens) in errors.items():
        yield by_rate(
            found[name],
            other,
            demand=Demand(must=6, aim=9),
            unit="tokens/s",
            id=f"{topic}/{name}",
            stage=f"generate, {name} by choice" + (", spinning threads" if spinning else ""),
            peer="the same",
            note=f"mean absolute error of a token's log-probability {error:.3f} nats over {tokens} tokens (asked "
            f"≤ 0.25, aim 0.10); {figure(median_rate(found[name]) / median_rate(ours))}× exact; "
            f"{processor_ratio(found[name], other)}.",
        )


@torch.inference_mode()
def error_of(
    model: Any, prompts: Sequence[list[int]], texts: Sequence[list[int]], *, precision: Precision
) -> tuple[float, int]:
    """How far the log-probabilities (nats) of written tokens are from the exact ones, on average, and of how many."""

    def read(prompt: list[int], text: list[int]) -> torch.Tensor:
        ids_1T = torch.tensor([prompt + text])
        logs_TV = model(input_ids=ids_1T, use_cache=False).logits[0, len(prompt) - 1 : -1].log_softmax(dim=-1)
        read_T: torch.Tensor = logs_TV.gather(1, torch.tensor(text)[:, None])[:, 0]
        return read_T

    pairs = list(zip(prompts, texts, strict=False))
    exact = torch.cat([read(*pair) for pair in pairs])
    with decoding(model, precision):
        rounded = torch.cat([read(*pair) for pair in pairs])
    return float((rounded - exact).abs().mean()), len(exact)


def best_rate(shapes: Shapes, measured: Rates, ids: Sequence[list[int]], tokens: float, *, steps: int) -> float:
    """Tokens per second if nothing but products took time: what prompts share read once, weights once a step."""
    shared = shared_length(ids)
    reading = shapes.flops(tokens=sum(map(len, ids)) - shared * (len(ids) - 1), logits=len(ids)) / measured.reading
    writing = shapes.flops(tokens=tokens, logits=tokens) / measured.decoding
    return tokens / (reading + max(writing, steps * shapes.weight_bytes / measured.bandwidth))
