"""One training in progress: the model, its optimiser and the steps taken so far.

Everything a step does follows from the order and the step's number: no state beyond weights, optimiser and step
count, no running random stream. That is why a checkpoint can be so small and a continued run bit-equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from selfalign.errors import EngineError
from selfalign.keys import seed_of
from selfalign.ports import Advance, Step, TrainingOrder
from selfalign.trainers import lora
from selfalign.trainers.batches import (
    Example,
    Layout,
    MicroBatch,
    answer_tokens,
    collate,
    global_batch,
    micro_batches,
    order_seed,
    sides,
)
from selfalign.trainers.checkpoint import Checkpoint
from selfalign.trainers.forward import micro_batch_log_probabilities
from selfalign.trainers.losses import margins, negative_log_likelihood, pair_losses, sequence_log_probabilities
from selfalign.trainers.schedule import learning_rate
from selfalign.types import Dpo, Optimisation

NAMED_ROWS = 20  # how many row ids an error message lists
# The optimisers keep at least a thousandth of a gradient's square. Of one smaller than this it is no normal float32,
# and a processor computes ten times slower with such numbers; most rows of a vocabulary have them in every step.
LEAST_GRADIENT = (torch.finfo(torch.float32).tiny / 1e-3) ** 0.5


@dataclass(slots=True)
class Training:
    """A model being fitted to an order. `model` may carry adapters; only weights that require gradients move."""

    order: TrainingOrder
    examples: Sequence[Example]
    model: Any
    accelerator: Any
    padding_id: int
    layout: Layout = "padded"
    autocast_dtype: torch.dtype | None = None
    steps: list[Step] = field(default_factory=list)
    weights: dict[str, torch.nn.Parameter] = field(init=False)
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.weights = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        self.optimiser = optimiser(list(self.weights.values()), self.order.optimisation)

    @property
    def is_main(self) -> bool:
        """Whether this process writes for all."""
        return bool(self.accelerator.is_main_process)

    def everyone(self) -> None:
        """Wait until every process is here."""
        self.accelerator.wait_for_everyone()

    def take(self, advance: Advance, *, micro_batch_tokens: int) -> Step:
        """Do the next optimiser step, append its numbers to `steps` and give them.

        Raises:
            EngineError: loss or gradient is not finite; the weights are then still those of the step before.
        """
        number = len(self.steps)
        settings = self.order.optimisation
        batch = self.batch(number)
        totals = self.accumulate(batch, advance, micro_batch_tokens=micro_batch_tokens)
        norm = self.gather_gradients(settings.max_grad_norm)
        loss, margin, wins = totals.tolist()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise not_finite(number, batch, loss=loss, norm=norm, rate=settings.learning_rate)
        rate = learning_rate(settings, step=number, examples=len(self.examples))
        for weight in self.weights.values():
            if weight.grad is not None:
                torch.hardshrink(weight.grad, LEAST_GRADIENT, out=weight.grad)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        pairs = isinstance(self.order.objective, Dpo)
        step = Step(
            step=number + 1,
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            margin=margin if pairs else None,
            accuracy=wins if pairs else None,
        )
        self.steps.append(step)
        advance(step=step.step)
        return step

    def batch(self, number: int) -> list[Example]:
        """The examples of the optimiser step after `number` others."""
        chosen = global_batch(
            number, count=len(self.examples), batch_size=self.order.optimisation.batch_size, seed=order_seed(self.order)
        )
        return [self.examples[index] for index in chosen]

    def accumulate(self, batch: list[Example], advance: Advance, *, micro_batch_tokens: int) -> Tensor:
        """Add the gradients of a global batch; give its loss, mean margin and share of margins > 0 (float64).

        Every micro-batch is divided by the size of the *global* batch (answer tokens or pairs), so the gradient is
        that of the whole batch however it is cut and however many processes share it.
        """
        pairs = isinstance(self.order.objective, Dpo)
        size = len(batch) if pairs else sum(answer_tokens(side) for example in batch for side in sides(example))
        groups = micro_batches(
            batch,
            token_limit=micro_batch_tokens,
            layout=self.layout,
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
        )
        totals = torch.zeros(3, dtype=torch.float64, device=self.accelerator.device)
        for index, group in enumerate(groups):
            micro = collate(group, padding_id=self.padding_id, layout=self.layout).to(self.accelerator.device)
            self.seed_dropout(index)
            loss, figures = self.forward(micro, size=size)
            self.accelerator.backward(loss)
            totals += figures.double()
            advance(rows=len(group), tokens=sum(micro.lengths))
        summed: Tensor = self.accelerator.reduce(totals, reduction="sum")
        return summed

    def forward(self, micro: MicroBatch, *, size: int) -> tuple[Tensor, Tensor]:
        """A micro-batch's share of the loss, and (loss, margin, wins) without gradient, each divided by `size`."""
        device = self.accelerator.device.type
        with torch.autocast(device, dtype=self.autocast_dtype, enabled=self.autocast_dtype is not None):
            log_p_N = micro_batch_log_probabilities(self.plain_model, micro)
        if not isinstance(self.order.objective, Dpo):
            loss = negative_log_likelihood(log_p_N, answer_tokens=size)
            return loss, torch.stack([loss.detach(), *loss.new_zeros(2)])
        sequences = len(micro.lengths)
        sequence_S = sequence_log_probabilities(log_p_N, sequence_N=micro.sequence_N, sequences=sequences)
        chosen_P, rejected_P = sequence_S[: sequences // 2], sequence_S[sequences // 2 :]
        margin_P = margins(
            chosen_P,
            rejected_P,
            reference_chosen_P=micro.reference_chosen_P,
            reference_rejected_P=micro.reference_rejected_P,
        )
        objective = self.order.objective
        loss = pair_losses(margin_P, beta=objective.beta, loss=objective.loss).sum() / size
        seen_P = margin_P.detach()
        return loss, torch.stack([loss.detach(), seen_P.sum() / size, (seen_P > 0).sum() / size])

    @property
    def plain_model(self) -> Any:
        """The causal language model, adapters inside it or not."""
        return self.model if self.order.lora is None else self.model.get_base_model()

    def seed_dropout(self, micro_batch: int) -> None:
        """Tie the adapters' dropout to step and micro-batch, so that a continued run drops the same units."""
        if self.order.lora is None or self.order.lora.dropout == 0:
            return
        for layer in lora.dropout_layers(self.model):
            layer.train()
        torch.manual_seed(
            seed_of("dropout", self.order.seed, len(self.steps), micro_batch, self.accelerator.process_index)
        )

    def gather_gradients(self, max_norm: float) -> float:
        """Sum gradients over processes, clip them to `max_norm` (0: never), give the norm before clipping."""
        if self.accelerator.num_processes > 1:
            for weight in self.weights.values():
                local = torch.zeros_like(weight) if weight.grad is None else weight.grad
                weight.grad = self.accelerator.reduce(local, reduction="sum")
        limit = max_norm if max_norm > 0 else math.inf
        return float(self.accelerator.clip_grad_norm_(list(self.weights.values()), limit))

    def checkpoint(self) -> Checkpoint:
        """All that the next step depends on, on the CPU."""
        state = self.optimiser.state_dict()["state"]
        return Checkpoint(
            weights={name: weight.detach().cpu().contiguous() for name, weight in self.weights.items()},
            state={
                f"{name}|{quantity}": tensor.detach().cpu().contiguous()
                for name, index in self.optimiser_index().items()
                for quantity, tensor in state.get(index, {}).items()
            },
            steps=list(self.steps),
        )

    def restore(self, checkpoint: Checkpoint | None) -> None:
        """Continue after a checkpoint; without one, from the start."""
        if checkpoint is None:
            return
        index = self.optimiser_index()
        state: dict[int, dict[str, Tensor]] = {}
        for key, tensor in checkpoint.state.items():
            name, quantity = key.rsplit("|", 1)
            state.setdefault(index[name], {})[quantity] = tensor
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(checkpoint.weights[name])
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})
        self.steps = list(checkpoint.steps)

    def optimiser_index(self) -> dict[str, int]:
        """The optimiser's number for each trained weight (it counts group by group)."""
        names = {id(weight): name for name, weight in self.weights.items()}
        ordered = [weight for group in self.optimiser.param_groups for weight in group["params"]]
        return {names[id(weight)]: index for index, weight in enumerate(ordered)}

    def checkpoint_bytes(self) -> int:
        """About how large a checkpoint is: the weights and up to two numbers of optimiser state for each."""
        return 3 * sum(weight.numel() * weight.element_size() for weight in self.weights.values())


def optimiser(weights: list[torch.nn.Parameter], settings: Optimisation) -> torch.optim.Optimizer:
    """AdamW (0.9, 0.999, 1e-8) or RMSprop (PyTorch's defaults: smoothing 0.99, 1e-8); no decay on biases and norms."""
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in weights if weight.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, lr=settings.learning_rate)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def not_finite(number: int, batch: list[Example], *, loss: float, norm: float, rate: float) -> EngineError:
    """The error for a step whose loss or gradient is no number; it names the rows of the batch."""
    ids = [example.id for example in batch]
    listed = ", ".join(ids[:NAMED_ROWS]) + (f" and {len(ids) - NAMED_ROWS} more" if len(ids) > NAMED_ROWS else "")
    return EngineError(
        f"step {number + 1}: loss {loss}, gradient norm {norm}: not finite. Rows of the batch: {listed}. "
        f"Lower the learning rate (now {rate}) or drop the row; weights are unchanged since the step before"
    )
