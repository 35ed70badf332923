"""What `torch_loop.TorchLoop` does when it is asked to train; the tensor libraries are imported here, not there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from selfalign.errors import EngineError
from selfalign.keys import canonical_text
from selfalign.ports import Advance, Step, TrainingOrder, unheard
from selfalign.processor import keep_freed_memory
from selfalign.trainers import lora
from selfalign.trainers.batches import Example, checked, sides
from selfalign.trainers.checkpoint import fingerprint, latest, save
from selfalign.trainers.forward import check_head, layout_of
from selfalign.trainers.model_folder import existing, open_model, write_model
from selfalign.trainers.schedule import steps_to_train
from selfalign.trainers.training import Training
from selfalign.types import Model
from selfalign.unpacking import quiet_transformers

if TYPE_CHECKING:
    from selfalign.trainers.torch_loop import TorchLoop

SAVING_SHARE = 0.02  # of the time spent; a slow disk makes checkpoints rarer, not training slower
ASSUMED_BYTES_PER_SECOND = 300e6  # until the first checkpoint has been timed


def fit(
    loop: TorchLoop,
    order: TrainingOrder,
    *,
    model: Model,
    folder: Path | None,
    out: Path,
    scratch: Path,
    advance: Advance = unheard,
) -> list[Step]:
    """See `TorchLoop.fit`."""
    examples = checked(order)
    source = existing(model, folder)
    name = fingerprint(order, digest=canonical_text(model.identity()))
    with torch.random.fork_rng(), memory_errors_named(loop), quiet_transformers():
        training = begin(loop, order, examples, model=model, folder=source)
        training.restore(latest(scratch, name))
        training.everyone()
        if training.steps:
            advance(step=len(training.steps))
        saving = Saving(loop.checkpoint_seconds, training.checkpoint_bytes())
        while len(training.steps) < steps_to_train(order.optimisation, examples=len(examples)):
            training.take(advance, micro_batch_tokens=loop.micro_batch_tokens)
            if training.is_main and saving.due():
                with saving.timed():
                    save(training.checkpoint(), scratch, name)
        plain = lora.merged(training.model) if order.lora else training.model
        if training.is_main:
            write_model(plain, source=source, out=out)
        training.everyone()
    return training.steps


def begin(
    loop: TorchLoop, order: TrainingOrder, examples: Sequence[Example], *, model: Model, folder: Path
) -> Training:
    """The model on its device with adapters, optimiser and everything else a step needs."""
    keep_freed_memory()
    accelerator = accelerator_on(loop.device)
    opened = open_model(model, folder)
    tokens = sides(examples[0])[0].ids[:16]
    check_head(opened, tokens)
    opened.to(accelerator.device)
    layout = layout_of(opened, tokens)
    if loop.gradient_checkpointing:
        recompute_layers(opened)
    wrapped = opened if order.lora is None else lora.with_adapters(opened, order.lora, seed=order.seed)
    return Training(
        order=order,
        examples=examples,
        model=wrapped.to(accelerator.device),
        accelerator=accelerator,
        layout=layout,
        padding_id=opened.config.pad_token_id or 0,
        autocast_dtype=torch.bfloat16 if loop.dtype == "bfloat16" else None,
    )


def accelerator_on(device: str) -> Any:
    """The process group and device, as the launcher set them up.

    Raises:
        EngineError: the launcher shards the model, or the device does not exist.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise EngineError(f"trainer device {device!r} is unknown; use auto, cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise EngineError("trainer device 'cuda' was asked for, but PyTorch finds no GPU; use auto or cpu")
    # The precision is ours to choose (autocast), so a launcher's setting must not add a gradient scaler
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    supported = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)
    if accelerator.distributed_type not in supported:
        raise EngineError(
            f"the launcher asks for {accelerator.distributed_type.value}, which shards the model; this trainer "
            "keeps a copy in every process: launch with plain multi-GPU"
        )
    return accelerator


@contextlib.contextmanager
def memory_errors_named(loop: TorchLoop) -> Iterator[None]:
    """Turn running out of memory into an error that names the settings to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        full = isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text
        if not full:
            raise
        raise EngineError(
            f"training ran out of memory: lower place.micro_batch_tokens (now {loop.micro_batch_tokens}), "
            f"set place.gradient_checkpointing (now {loop.gradient_checkpointing}), train with lora, "
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
