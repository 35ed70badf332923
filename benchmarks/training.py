"""Training speed side by side: TRL's trainers with their defaults against the torch loop, same rows, one run.

    python benchmarks/training.py --model FOLDER [--rows 16] [--repeats 1] [--only sft-lora,dpo-lora,...]

Prints seconds, tokens per second, peak resident memory and the ratio to TRL for SFT (LoRA, full) and DPO (LoRA, full).
Each measurement runs in a process of its own, TRL and ours alternating, so memory and caches are not shared; the time
is that of training alone (imports and model loading excluded for both). TRL's DPO time contains its reference pass;
the torch loop's contains one too (the cached log-probabilities a run needs once).
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CASES = ("sft-lora", "sft-full", "dpo-lora", "dpo-full")
WORDS = ("the", "model", "writes", "a", "short", "clear", "answer", "about", "rivers", "history", "numbers", "music")


def sequences(tokenizer: Any, rows: int) -> list[tuple[list[int], list[int], list[int]]]:
    """Prompt, chosen and rejected token ids of each row; lengths vary as in instruction data."""
    draw = random.Random(0)
    made = []
    for _ in range(rows):
        prompt = tokenizer.encode(" ".join(draw.choices(WORDS, k=draw.randint(15, 60))))
        chosen = [*tokenizer.encode(" ".join(draw.choices(WORDS, k=draw.randint(30, 130)))), tokenizer.eos_token_id]
        rejected = [*tokenizer.encode(" ".join(draw.choices(WORDS, k=draw.randint(30, 130)))), tokenizer.eos_token_id]
        made.append((prompt, chosen, rejected))
    return made


class Clock:
    """Wall and processor seconds since it was made; the latter means more on a busy machine."""

    def __init__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def figures(self, tokens: int) -> dict[str, float]:
        """The two times and the tokens they were spent on."""
        wall, processor = time.perf_counter() - self.wall, time.process_time() - self.processor
        return {"seconds": wall, "cpu_seconds": processor, "tokens": tokens}


def run_ours(case: str, folder: Path, rows: int) -> dict[str, float]:
    """Seconds and tokens of the torch loop, between its first micro-batch and its last step."""
    import torch
    from transformers import AutoTokenizer

    from selfalign.ports import AnswerExample, PairExample, Rendered, TrainingOrder
    from selfalign.trainers.batches import collate, micro_batches
    from selfalign.trainers.forward import micro_batch_log_probabilities
    from selfalign.trainers.losses import sequence_log_probabilities
    from selfalign.trainers.torch_loop import TorchLoop
    from selfalign.types import Dpo, Lora, Model, Optimisation, Sft

    def rendered(prompt: list[int], answer: list[int]) -> Rendered:
        ids = (*prompt, *answer)
        return Rendered(ids=ids, loss=(False,) * len(prompt) + (True,) * len(answer), attention=(True,) * len(ids))

    data = sequences(AutoTokenizer.from_pretrained(folder), rows)
    examples: Any
    if case.startswith("sft"):
        examples = [AnswerExample(str(i), rendered(p, c)) for i, (p, c, _) in enumerate(data)]
    else:
        examples = [PairExample(str(i), rendered(p, c), rendered(p, r), 0.0, 0.0) for i, (p, c, r) in enumerate(data)]
    settings = Optimisation(learning_rate=1e-5, batch_size=8, num_train_epochs=1)
    order = TrainingOrder(
        examples, Sft() if case.startswith("sft") else Dpo(), settings, Lora() if case.endswith("lora") else None, 0
    )
    trainer = TorchLoop(device="cpu")
    training = trainer.begin(order, examples, model=Model(ref="path:model"), folder=folder)
    clock = Clock()
    if case.startswith("dpo"):  # the reference pass a run does once and caches
        with torch.no_grad():
            for group in micro_batches(examples, token_limit=trainer.micro_batch_tokens, layout=training.layout):
                micro = collate(group, padding_id=0, layout=training.layout)
                log_p_N = micro_batch_log_probabilities(training.plain_model, micro)
                sequence_log_probabilities(log_p_N, sequence_N=micro.sequence_N, sequences=len(micro.lengths))

    def count(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        counted.append(tokens)

    counted: list[int] = []
    while len(training.steps) < -(-rows // 8):
        training.take(count, micro_batch_tokens=trainer.micro_batch_tokens)
    return clock.figures(sum(counted))


def run_trl(case: str, folder: Path, rows: int) -> dict[str, float]:
    """Seconds of TRL's trainer with its defaults (float32 on the CPU), from `train()` to its end."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    data = sequences(tokenizer, rows)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    adapters: Any = None
    if case.endswith("lora"):
        from peft import LoraConfig

        adapters = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    common: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": 8,
        "num_train_epochs": 1,
        "learning_rate": 1e-5,
        "report_to": "none",
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    if case.startswith("sft"):
        table = Dataset.from_list(
            [{"input_ids": p + c, "completion_mask": [0] * len(p) + [1] * len(c)} for p, c, _ in data]
        )
        tokens = sum(len(p) + len(c) for p, c, _ in data)
        trainer: Any = SFTTrainer(
            model=model, args=SFTConfig(**common), train_dataset=table, processing_class=tokenizer, peft_config=adapters
        )
    else:
        decode = tokenizer.decode
        table = Dataset.from_list(
            [{"prompt": decode(p), "chosen": decode(c[:-1]), "rejected": decode(r[:-1])} for p, c, r in data]
        )
        tokens = sum(2 * len(p) + len(c) + len(r) for p, c, r in data)
        trainer = DPOTrainer(
            model=model, args=DPOConfig(**common), train_dataset=table, processing_class=tokenizer, peft_config=adapters
        )
    clock = Clock()
    trainer.train()
    return clock.figures(tokens)


def measured(who: str, case: str, folder: Path, rows: int) -> dict[str, float]:
    """One measurement in a fresh process."""
    command = [sys.executable, __file__, "--model", str(folder), "--rows", str(rows), "--one", f"{who}:{case}"]
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    if output.returncode:
        raise SystemExit(f"{who} {case} failed:\n{output.stderr[-3000:]}")
    figures: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    return figures


def main() -> None:
    """Measure all cases, or (`--one`) a single one in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        who, case = given.one.split(":")
        figures = (run_ours if who == "ours" else run_trl)(case, given.model, given.rows)
        figures["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(figures))
        return
    for case in given.only.split(","):
        for _ in range(given.repeats):
            trl = measured("trl", case, given.model, given.rows)
            ours = measured("ours", case, given.model, given.rows)
            for who, figures in (("trl", trl), ("ours", ours)):
                rate = figures["tokens"] / figures["seconds"]
                print(
                    f"{case:9} {who:5} {figures['seconds']:7.1f} s {rate:6.0f} tok/s {figures['peak_gb']:5.1f} GB "
                    f"ratio {trl['seconds'] / figures['seconds']:.2f} "
                    f"(processor {trl['cpu_seconds'] / figures['cpu_seconds']:.2f}; {figures['tokens']:.0f} tokens)",
                    flush=True,
                )


if __name__ == "__main__":
    main()
