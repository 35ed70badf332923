"""The default trainer: a plain PyTorch loop over `accelerate`.

It is blind to methods: it sees token ids, masks, an objective and a schedule. One model is in memory, never a
reference: reference log-probabilities come with the examples. A killed training continues from its last checkpoint
with, on a CPU, the same bits.

Several processes (`accelerate launch`, `torchrun`) each hold the model, take their share of every global batch and
sum their gradients once per optimiser step; sharded optimisers (ZeRO, FSDP) are refused, not half supported.

Only the settings live here; what needs a tensor library is in `fitting`, and is imported when something is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from selfalign.ports import Advance, Step, Tokenizer, TrainingOrder, unheard
from selfalign.processor import imports_uncollected
from selfalign.types import Model

if TYPE_CHECKING:
    from selfalign.trainers.batches import Example
    from selfalign.trainers.training import Training


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
        with imports_uncollected():
            from selfalign.trainers.model_folder import open_tokenizer
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
        with imports_uncollected():
            from selfalign.trainers import fitting
        return fitting.fit(self, order, model=model, folder=folder, out=out, scratch=scratch, advance=advance)

    def begin(self, order: TrainingOrder, examples: Sequence[Example], *, model: Model, folder: Path) -> Training:
        """The model on its device with adapters, optimiser and everything else a step needs."""
        with imports_uncollected():
            from selfalign.trainers import fitting
        return fitting.begin(self, order, examples, model=model, folder=folder)
