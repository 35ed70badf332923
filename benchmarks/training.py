"""Training speed and memory: TRL's trainers with their defaults beside the torch loop, same rows, same steps.

Each measurement runs in a process of its own, ours and TRL's alternating, so memory and caches are not shared; the time
is that of training alone (imports and model loading excluded for both). TRL's DPO time contains its reference pass;
the torch loop's contains one too (the cached log-probabilities a run needs once).
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import (
    Demand,
    Row,
    Settings,
    Turn,
    by_rate,
    figure,
    in_fresh_turns,
    median_rate,
    processor_ratio,
    resident_gb,
    spread,
    timed,
)
from machine import rates, shapes_of
from workloads import model_folder, tokenizer_in

CASES = {
    "sft-lora": ("SFT step, LoRA", Demand(must=1.9, aim=3)),
    "sft-full": ("SFT step, all weights", Demand(must=1.8, aim=2.5)),
    "dpo-lora": ("DPO step, LoRA", Demand(must=2.2, aim=3)),
}
WORDS = ("the", "model", "writes", "a", "short", "clear", "answer", "about", "rivers", "history", "numbers", "music")
BATCH_ROWS = 8
LEARNING_RATE = 1e-5

Triple = tuple[list[int], list[int], list[int]]


def sequences(tokenizer: Any, rows: int) -> list[Triple]:
    """Prompt, chosen and rejected token ids of each row; lengths vary as in instruction data."""
    draw = random.Random(0)
    made = []
    for _ in range(rows):
        prompt = tokenizer.encode(" ".join(draw.choices(WORDS, k=draw.randint(15, 60))))
        chosen = [*tokenizer.encode(" ".join(draw.choices(WORDS, k=draw.randint(30, 130)))), tokenizer.eos_token_id]
        rejected = [*tokenizer.encode(" ".join(draw.choices(WORDS, k=draw.randint(30, 130)))), tokenizer.eos_token_id]
        made.append((prompt, chosen, rejected))
    return made


def size_of(case: str, data: list[Triple]) -> tuple[int, int]:
    """How many tokens pass through the model in one reading of the data, and how many of them are answers."""
    answers = sum(len(c) + (len(r) if case.startswith("dpo") else 0) for _, c, r in data)
    return answers + sum(len(p) * (2 if case.startswith("dpo") else 1) for p, _, _ in data), answers


# ------------------------------------------------------------------------------------------------- rows


def rows(settings: Settings) -> Iterator[Row]:
    """Time and memory of each case."""
    folder = model_folder(settings)
    data = sequences(tokenizer_in(folder), count(settings))
    measured = rates(folder)
    for case, (stage, demand) in CASES.items():
        roles = {side: f"training:{side}:{case}" for side in ("ours", "trl")}
        found = in_fresh_turns(roles, settings, settings.repeats)
        ours, theirs = found["ours"], found["trl"]
        tokens, answers = size_of(case, data)
        # Forward and backward with adapters cost two forward passes, with all weights three; a reference costs one.
        passes = (2 if case.endswith("lora") else 3) + case.startswith("dpo")
        seconds = passes * shapes_of(folder).flops(tokens=tokens, logits=answers) / measured.reading
        peer = f"TRL {'DPO' if case.startswith('dpo') else 'SFT'}Trainer defaults"
        yield by_rate(
            ours,
            theirs,
            demand=demand,
            unit="tokens/s",
            id=f"training/{case}",
            stage=stage,
            peer=peer,
            limit=f"{figure(tokens / seconds / median_rate(theirs))}× ({figure(tokens / seconds)} tokens/s)",
            note=f"{len(data)} rows, {tokens} tokens, {answers} of them answers, {-(-len(data) // BATCH_ROWS)} "
            f"optimiser steps of {BATCH_ROWS} rows, fp32; {processor_ratio(ours, theirs)}.",
        )
        yield memory_row(case, stage, peer, ours, theirs)


def memory_row(case: str, stage: str, peer: str, ours: list[Turn], theirs: list[Turn]) -> Row:
    """Peak resident memory of both sides: ours must not be more."""
    own, other = (tuple(turn.facts["peak_gb"] for turn in side) for side in (ours, theirs))
    above = [spread([turn.facts["peak_gb"] - turn.facts["loaded_gb"] for turn in side]) for side in (ours, theirs)]
    return Row(
        id=f"training/{case}-memory",
        stage=f"{stage}: peak memory",
        peer=peer,
        unit="GB",
        ours=own,
        theirs=other,
        judged=tuple(a / b for a, b in zip(own, other, strict=True)),
        demand=Demand(must=1, side="most"),
        note=f"resident memory of the whole process; above what was resident before the first step: {above[0]} GB "
        f"(peer {above[1]}).",
    )


def count(settings: Settings) -> int:
    """How many rows are trained on."""
    return settings.size(2 * BATCH_ROWS, 2)


def alone(role: str, settings: Settings) -> Turn:
    """One side of one case."""
    side, case = role.split(":")
    turn: Turn = (run_ours if side == "ours" else run_trl)(case, model_folder(settings), count(settings))
    turn.facts["peak_gb"] = resident_gb()
    return turn


# ------------------------------------------------------------------------------------------------- sides


def run_ours(case: str, folder: Path, rows: int) -> Turn:
    """The torch loop, between its first micro-batch and its last step."""
    import torch

    from selfalign.ports import AnswerExample, PairExample, Rendered, TrainingOrder
    from selfalign.trainers.batches import collate, micro_batches
    from selfalign.trainers.forward import micro_batch_log_probabilities
    from selfalign.trainers.losses import sequence_log_probabilities
    from selfalign.trainers.torch_loop import TorchLoop
    from selfalign.types import Dpo, Lora, Model, Optimisation, Sft

    def rendered(prompt: list[int], answer: list[int]) -> Rendered:
        ids = (*prompt, *answer)
        return Rendered(ids=ids, loss=(False,) * len(prompt) + (True,) * len(answer), attention=(True,) * len(ids))

    data = sequences(tokenizer_in(folder), rows)
    examples: Any
    if case.startswith("sft"):
        examples = [AnswerExample(str(i), rendered(p, c)) for i, (p, c, _) in enumerate(data)]
    else:
        examples = [PairExample(str(i), rendered(p, c), rendered(p, r), 0.0, 0.0) for i, (p, c, r) in enumerate(data)]
    settings = Optimisation(learning_rate=LEARNING_RATE, batch_size=BATCH_ROWS, num_train_epochs=1)
    objective = Sft() if case.startswith("sft") else Dpo()
    order = TrainingOrder(examples, objective, settings, Lora() if case.endswith("lora") else None, 0)
    trainer = TorchLoop(device="cpu")
    training = trainer.begin(order, examples, model=Model(ref="path:model"), folder=folder)

    def reference_pass() -> None:
        with torch.no_grad():
            for group in micro_batches(examples, token_limit=trainer.micro_batch_tokens, layout=training.layout):
                micro = collate(group, padding_id=0, layout=training.layout)
                log_p_N = micro_batch_log_probabilities(training.plain_model, micro)
                sequence_log_probabilities(log_p_N, sequence_N=micro.sequence_N, sequences=len(micro.lengths))

    def work() -> float:
        if case.startswith("dpo"):  # the reference pass a run does once and caches
            reference_pass()
        while len(training.steps) < -(-rows // BATCH_ROWS):
            training.take(heard, micro_batch_tokens=trainer.micro_batch_tokens)
        return sum(counted)

    def heard(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        counted.append(tokens)

    counted: list[int] = []
    return timed(work, loaded_gb=resident_gb("VmRSS"))


def run_trl(case: str, folder: Path, rows: int) -> Turn:
    """TRL's trainer with its defaults (float32 on the CPU), from `train()` to its end."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    tokenizer = tokenizer_in(folder)
    data = sequences(tokenizer, rows)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    adapters = lora_config() if case.endswith("lora") else None
    common = {**trl_settings(), "learning_rate": LEARNING_RATE}
    if case.startswith("sft"):
        table = Dataset.from_list(
            [{"input_ids": p + c, "completion_mask": [0] * len(p) + [1] * len(c)} for p, c, _ in data]
        )
        trainer: Any = SFTTrainer(
            model=model, args=SFTConfig(**common), train_dataset=table, processing_class=tokenizer, peft_config=adapters
        )
    else:
        decode = tokenizer.decode
        table = Dataset.from_list(
            [{"prompt": decode(p), "chosen": decode(c[:-1]), "rejected": decode(r[:-1])} for p, c, r in data]
        )
        trainer = DPOTrainer(
            model=model, args=DPOConfig(**common), train_dataset=table, processing_class=tokenizer, peft_config=adapters
        )

    def work() -> float:
        trainer.train()
        return size_of(case, data)[0]

    return timed(work, loaded_gb=resident_gb("VmRSS"))


def lora_config() -> Any:
    """PEFT's form of the adapters that `Lora()` asks for: rank 16 on every linear layer but the head."""
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def trl_settings(**others: Any) -> dict[str, Any]:
    """What TRL has to be told to train on a CPU in fp32 without writing anything; the rest are its defaults."""
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": BATCH_ROWS,
        "num_train_epochs": 1,
        "report_to": "none",
        "bf16": False,
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        **others,
    }
