"""Where and how a run works: a recipe's `place`, and the adapters it asks for.

None of it enters a key. The only module that names adapters; each is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from selfalign.ports import Engine, Executor, Trainer


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where and how a run works. None of it enters a key."""

    engine: Literal["transformers", "scripted"] = "transformers"
    trainer: Literal["torch_loop", "trl", "scripted"] = "torch_loop"
    executor: Literal["auto", "here", "fresh_process"] = "auto"
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    store: str = "runs/.store"
    rows_at_once: int = 64
    tokens_at_once: int = 4096
    micro_batch_tokens: int = 2048
    gradient_checkpointing: bool = False


def adapters(place: Place) -> tuple[Engine, Trainer, Executor]:
    """The engine, trainer and executor a recipe's place asks for, imported only now."""
    return ENGINES[place.engine](place), TRAINERS[place.trainer](place), executor_of(place)


def transformers_engine(place: Place) -> Engine:
    """Hugging Face models in this environment."""
    from selfalign.engines.transformers import TransformersEngine

    return TransformersEngine(
        device=place.device, dtype=place.dtype, rows_at_once=place.rows_at_once, tokens_at_once=place.tokens_at_once
    )


def scripted_engine(place: Place) -> Engine:
    """Models without weights."""
    from selfalign.engines.scripted import ScriptedEngine

    return ScriptedEngine()


def torch_loop(place: Place) -> Trainer:
    """The default trainer."""
    from selfalign.trainers.torch_loop import TorchLoop

    return TorchLoop(
        device=place.device,
        dtype=place.dtype,
        micro_batch_tokens=place.micro_batch_tokens,
        gradient_checkpointing=place.gradient_checkpointing,
    )


def trl(place: Place) -> Trainer:
    """TRL's trainers."""
    from selfalign.trainers.trl import Trl

    return Trl(
        device="cpu" if place.device == "cpu" else "auto",
        dtype=place.dtype,
        gradient_checkpointing=place.gradient_checkpointing,
    )


def scripted_trainer(place: Place) -> Trainer:
    """Learning without weights."""
    from selfalign.trainers.scripted import ScriptedTrainer

    return ScriptedTrainer()


ENGINES: dict[str, Callable[[Place], Engine]] = {"transformers": transformers_engine, "scripted": scripted_engine}
TRAINERS: dict[str, Callable[[Place], Trainer]] = {"torch_loop": torch_loop, "trl": trl, "scripted": scripted_trainer}


def executor_of(place: Place) -> Executor:
    """A fresh process per stage where an accelerator's memory has to come back, this process elsewhere."""
    from selfalign.executors.local import FreshProcess, Here

    if place.executor == "auto":
        return FreshProcess() if place.engine != "scripted" and accelerator_wanted(place.device) else Here()
    return FreshProcess() if place.executor == "fresh_process" else Here()


def accelerator_wanted(device: str) -> bool:
    """Whether work goes to an accelerator."""
    if device != "auto":
        return device != "cpu"
    if not Path("/dev/nvidiactl").exists():  # asking torch would cost two seconds on every machine without one
        return False
    import torch

    return torch.cuda.is_available()
