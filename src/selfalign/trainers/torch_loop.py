"""The default trainer: a plain PyTorch loop over `accelerate`.

It is blind to methods: it sees token ids, masks, an objective and a schedule. One model is in memory, never a
reference: reference log-probabilities come with the examples. A killed training continues from its last checkpoint
with, on a CPU, the same bits.

Several processes (`accelerate launch`, `torchrun`) each hold the model, take their share of every global batch and
sum their gradients once per optimiser step; sharded optimisers (ZeRO, FSDP) are refused, not half supported.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from selfalign.errors import EngineError
from selfalign.keys import canonical_text
from selfalign.ports import Advance, Step, Tokenizer, TrainingOrder, unheard
from selfalign.trainers import lora
from selfalign.trainers.batches import Example, checked, sides
from selfalign.trainers.checkpoint import fingerprint, latest, save
from selfalign.trainers.forward import check_head, layout_of
from selfalign.trainers.model_folder import existing, open_model, open_tokenizer, write_model
from selfalign.trainers.schedule import steps_to_train
from selfalign.trainers.training import Training
from selfalign.types import Model
from selfalign.unpacking import quiet_transformers

SAVING_SHARE = 0.02  # of the time spent; a slow disk makes checkpoints rarer, not training slower
ASSUMED_BYTES_PER_SECOND = 300e6  # until the first checkpoint has been timed


@dataclass(frozen=True)
class TorchLoop:
    """Where and how training runs; nothing here changes what is learned beyond rounding.

    Attributes:
        device: `auto` (CUDA if there is one), `cpu`, `cuda`.
        dtype: `float32`, or `bfloat16` for the products of the forward and backward pass. Weights, optimiser state,
            log-probabilities and losses are float32 in both cases.
        micro_batch_tokens: tokens (padding included) of one forward and backward pass; lower it when memory is short.
        checkpoint_seconds: the least time between two checkpoints; 0 saves after every step.
        gradient_checkpointing: compute each layer's activations again in the backward pass (less memory, more time).
    """

    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    micro_batch_tokens: int = 2048
    checkpoint_seconds: float = 60.0
    gradient_checkpointing: bool = False

    def tokenizer(self, model: Model, folder: Path | None) -> Tokenizer:
        """The tokenizer rendering should use for this model."""
        tokenizer: Tokenizer = open_tokenizer(model, folder)
        return tokenizer

    def fit(
        self,
        order: TrainingOrder,
        *,
        model: Model,
        folder: Path | None,
        out: Path,
        scratch: Path,
        advance: Advance = unheard,
    ) -> list[Step]:
        """Train, write a complete model folder to `out`, give every step's numbers (see `ports.Trainer`).

        With several processes each one reports its own rows and tokens; the main process writes.

        Raises:
            EngineError: no examples, a row without answer tokens, unknown adapter targets, a loss that is not finite
                (with step and rows), too little memory, an unsupported launcher.
            StoreError: a checkpoint or the result cannot be written, or a checkpoint cannot be read back.
        """
        examples = checked(order)
        source = existing(model, folder)
        name = fingerprint(order, digest=canonical_text(model.identity()))
        with torch.random.fork_rng(), self.memory_errors_named(), quiet_transformers():
            training = self.begin(order, examples, model=model, folder=source)
            training.restore(latest(scratch, name))
            training.everyone()
            if training.steps:
                advance(step=len(training.steps))
            saving = Saving(self.checkpoint_seconds, training.checkpoint_bytes())
            while len(training.steps) < steps_to_train(order.optimisation, examples=len(examples)):
                training.take(advance, micro_batch_tokens=self.micro_batch_tokens)
                if training.is_main and saving.due():
                    with saving.timed():
                        save(training.checkpoint(), scratch, name)
            plain = lora.merged(training.model) if order.lora else training.model
            if training.is_main:
                write_model(plain, source=source, out=out)
            training.everyone()
        return training.steps

    def begin(self, order: TrainingOrder, examples: Sequence[Example], *, model: Model, folder: Path) -> Training:
        """The model on its device with adapters, optimiser and everything else a step needs."""
        accelerator = self.accelerator()
        opened = open_model(model, folder)
        tokens = sides(examples[0])[0].ids[:16]
        check_head(opened, tokens)
        opened.to(accelerator.device)
        layout = layout_of(opened, tokens)
        if self.gradient_checkpointing:
            recompute_layers(opened)
        wrapped = opened if order.lora is None else lora.with_adapters(opened, order.lora, seed=order.seed)
        return Training(
            order=order,
            examples=examples,
            model=wrapped.to(accelerator.device),
            accelerator=accelerator,
            layout=layout,
            padding_id=opened.config.pad_token_id or 0,
            autocast_dtype=torch.bfloat16 if self.dtype == "bfloat16" else None,
        )

    def accelerator(self) -> Any:
        """The process group and device, as the launcher set them up.

        Raises:
            EngineError: the launcher shards the model, or the device does not exist.
        """
        from accelerate import Accelerator
        from accelerate.utils import DistributedType

        if self.device not in ("auto", "cpu", "cuda"):
            raise EngineError(f"trainer device {self.device!r} is unknown; use auto, cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise EngineError("trainer device 'cuda' was asked for, but PyTorch finds no GPU; use auto or cpu")
        # The precision is ours to choose (autocast), so a launcher's setting must not add a gradient scaler
        accelerator = Accelerator(cpu=self.device == "cpu", mixed_precision="no")
        supported = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
        if accelerator.distributed_type not in supported:
            raise EngineError(
                f"the launcher asks for {accelerator.distributed_type.value}, which shards the model; this trainer "
                "keeps a copy in every process: launch with plain multi-GPU"
            )
        return accelerator

    @contextlib.contextmanager
    def memory_errors_named(self) -> Iterator[None]:
        """Turn running out of memory into an error that names the settings to lower."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            text = str(error)
            full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text
            if not full:
                raise
            raise EngineError(
                f"training ran out of memory: lower place.micro_batch_tokens (now {self.micro_batch_tokens}), "
                f"set place.gradient_checkpointing (now {self.gradient_checkpointing}), train with lora, "
                "or shorten rows (rendering.max_length); the result stays the same up to rounding for the first two"
            ) from error


def recompute_layers(model: Any) -> None:
    """Have each layer keep its input only and compute its activations again in the backward pass."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", None) is True:
            # Layers recompute only in training mode; everything inside them stays in evaluation mode (no dropout)
            module.training = True


class Saving:
    """Decides when a checkpoint is due: `checkpoint_seconds` apart, and never for more than 2 % of the time."""

    def __init__(self, checkpoint_seconds: float, checkpoint_bytes: int) -> None:
        self.checkpoint_seconds = checkpoint_seconds
        self.cost_seconds = checkpoint_bytes / ASSUMED_BYTES_PER_SECOND
        self.last = time.monotonic()

    def due(self) -> bool:
        """Whether enough time has passed since the last checkpoint (or the start)."""
        if self.checkpoint_seconds == 0:
            return True
        return time.monotonic() - self.last >= max(self.checkpoint_seconds, self.cost_seconds / SAVING_SHARE)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Measure the save inside, to know what the next one will cost."""
        start = time.monotonic()
        yield
        self.last = time.monotonic()
        self.cost_seconds = self.last - start
