"""Tokens per second of selfalign's decode loop beside `model.generate`, in one run.

    python benchmarks/generation.py            # SmolLM2-135M, 64 prompts, at most 64 new tokens, temperature 1

The peer is what released self-play code does: `generate` in batches of 16 in arrival order, padded on the left. The two
sides take turns, so that both meet the same neighbours; a ratio is taken per turn. They draw different texts from the
same distribution, so tokens per second is the fair unit, and the mean lengths are printed beside it.

On a busy machine read the ratio of tokens per processor second, and set OMP_WAIT_POLICY=PASSIVE: spinning threads of
two processes starve each other.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from selfalign import weights
from selfalign.engines.transformers import TransformersEngine
from selfalign.render import prompt_ids
from selfalign.types import Chat, Message, Rendering, Sampling

SUBJECTS = ("rain", "bread", "the moon", "a bicycle", "sleep", "coral reefs", "chess", "the printing press")
TASKS = (
    "Explain {} to a child in two sentences.",
    "Write a short poem about {}.",
    "List three surprising facts about {}.",
    "What would people miss most in a world without {}? Give a reason and an example from everyday life.",
    "Name a common mistake people make about {}.",
    "Write one question about {} that a curious student could ask, and answer it as a patient teacher would do.",
    "Describe {} in five words.",
    "Tell me how {} changed over the centuries, in plain words and without any dates or names of people.",
)
PEER_BATCH = 16


def chats(count: int) -> list[Chat]:
    """The first `count` prompts; neighbours differ in length, as they do in data sets."""
    texts = [task.format(subject) for subject in SUBJECTS for task in TASKS][:count]
    return [Chat(id=f"{number}", prompt=(Message(role="user", content=text),)) for number, text in enumerate(texts)]


def own_tokens(opened: Any, prompts: list[Chat], sampling: Sampling, *, turn: int) -> int:
    """Generate with selfalign; gives the number of tokens written."""
    seeds = [turn * 1000 + number for number in range(len(prompts))]
    written = opened.generate(prompts, sampling=sampling, rendering=Rendering(), seeds=seeds)
    return sum(continuation.tokens for continuation in written)


@torch.inference_mode()
def peer_tokens(model: Any, tokenizer: Any, prompts: list[Chat], sampling: Sampling, *, turn: int) -> int:
    """Generate with the library's loop; gives the number of tokens written, end tokens included, padding not."""
    torch.manual_seed(turn)
    total = 0
    for start in range(0, len(prompts), PEER_BATCH):
        rows = [prompt_ids(tokenizer, chat, Rendering()) for chat in prompts[start : start + PEER_BATCH]]
        batch = tokenizer.pad({"input_ids": rows}, padding_side="left", return_tensors="pt")
        output = model.generate(
            **batch,
            do_sample=True,
            temperature=sampling.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=sampling.max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )[:, batch["input_ids"].shape[1] :]
        for row in output.tolist():
            total += row.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in row else len(row)
    return total


def summary(values: list[float]) -> str:
    """Smallest, median and largest of some figures."""
    return f"{min(values):.1f} / {statistics.median(values):.1f} / {max(values):.1f}"


def main() -> None:
    """Run both sides in turns and print their rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--model", default="embedded:smollm2")
    options = parser.parse_args()
    model = weights.pinned(options.model)
    folder = weights.folder(model, say=print)
    prompts = chats(options.prompts)
    sampling = Sampling(max_new_tokens=options.max_new_tokens, temperature=1.0)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    peer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    rates: dict[str, list[float]] = {"selfalign": [], "generate": []}
    efforts: dict[str, list[float]] = {"selfalign": [], "generate": []}
    lengths: dict[str, list[float]] = {"selfalign": [], "generate": []}
    with TransformersEngine(device="cpu").open(model, folder) as opened:
        own_tokens(opened, prompts[:4], Sampling(max_new_tokens=4), turn=0)
        peer_tokens(peer, tokenizer, prompts[:4], Sampling(max_new_tokens=4), turn=0)
        for turn in range(1, options.turns + 1):
            for side in ("selfalign", "generate"):
                began, worked = time.perf_counter(), time.process_time()
                if side == "selfalign":
                    tokens = own_tokens(opened, prompts, sampling, turn=turn)
                else:
                    tokens = peer_tokens(peer, tokenizer, prompts, sampling, turn=turn)
                seconds = time.perf_counter() - began
                rates[side].append(tokens / seconds)
                efforts[side].append(tokens / (time.process_time() - worked))
                lengths[side].append(tokens / len(prompts))
                print(
                    f"turn {turn}  {side:10}  {tokens} tokens  {seconds:.1f} s  {tokens / seconds:.1f} tokens/s",
                    flush=True,
                )
    print(f"{options.model}, {len(prompts)} prompts, temperature 1, {torch.get_num_threads()} threads")
    for side, values in rates.items():
        print(f"{side:10}  tokens/s min/median/max {summary(values)}   mean answer {summary(lengths[side])} tokens")
    for unit, figures in (("second", rates), ("processor second", efforts)):
        ratios = [own / other for own, other in zip(figures["selfalign"], figures["generate"], strict=True)]
        print(f"ratio of tokens per {unit}, per turn, min/median/max {summary(ratios)}")


if __name__ == "__main__":
    main()
