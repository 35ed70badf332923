"""The second trainer: TRL's `SFTTrainer` and `DPOTrainer`, fed with the same token ids, masks and order.

For architectures only TRL handles, and as the witness that the default loop computes what it should: the two give the
same loss curve. TRL builds no sequence here and holds no reference model: both come with the examples.

A killed training starts over (TRL's own checkpoints are pickled, and would not continue bit for bit).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch

from selfalign.errors import EngineError
from selfalign.ports import Advance, Step, Tokenizer, TrainingOrder, unheard
from selfalign.trainers import lora
from selfalign.trainers.batches import Example, checked, collate, epoch_order, global_batch, order_seed, sides
from selfalign.trainers.model_folder import existing, open_model, open_tokenizer, write_model
from selfalign.trainers.schedule import learning_rate, steps_to_train
from selfalign.trainers.training import not_finite, optimiser
from selfalign.types import Dpo, Model, Optimisation

LOSSES = {"logistic": "sigmoid", "hinge": "hinge"}
NOT_LEARNED = -100  # TRL's mark for labels that do not count


@dataclass(frozen=True)
class Trl:
    """Where and how TRL trains.

    Attributes:
        device: `auto` (CUDA if there is one) or `cpu`.
        dtype: `float32`, or `bfloat16` for mixed precision (weights stay float32).
        rows_at_once: at most so many rows in one forward and backward pass; fewer where the batch size and the last,
            smaller batch of an epoch ask for it (TRL averages over passes, so all passes of a batch must be equal).
        gradient_checkpointing: TRL's default is True; it saves memory and costs a second forward pass.
    """

    device: Literal["auto", "cpu"] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    rows_at_once: int = 8
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

        Raises:
            EngineError: as the default trainer does, and for what TRL lacks: the losses `exponential` and
                `correlation`, and several processes (its averages would not be those of the global batch).
        """
        refuse_unsupported(order)
        examples = checked(order)
        source = existing(model, folder)
        with torch.random.fork_rng():
            opened = without_dropout(open_model(model, source))
            padding_id = opened.config.pad_token_id
            trainer = self.trainer(order, examples, opened, tokenizer=open_tokenizer(model, source), place=scratch)
            heard = Listener(order=order, examples=examples, advance=advance)
            listen(trainer, heard)
            trainer.train()
            trained = lora.merged(trainer.model) if order.lora else trainer.model
            trained.config.pad_token_id = padding_id  # TRL sets the tokenizer's; the model's own stays as it was
            write_model(trained, source=source, out=out)
        return heard.steps

    def trainer(
        self, order: TrainingOrder, examples: Sequence[Example], opened: Any, *, tokenizer: Any, place: Path
    ) -> Any:
        """TRL's trainer for the objective, with our rows, order, optimiser and schedule."""
        from datasets import Dataset

        peer: Any = import_module("trl")  # its names are loaded lazily, unseen by type checkers

        pairs = isinstance(order.objective, Dpo)
        settings = self.settings(order, len(examples), place)
        if isinstance(order.objective, Dpo):
            config: Any = peer.DPOConfig(
                **settings,
                beta=order.objective.beta,
                loss_type=[LOSSES[order.objective.loss]],
                precompute_ref_log_probs=True,  # no reference model is loaded; our columns are used instead
                disable_dropout=False,  # done already; TRL's would also remove the adapters' own
            )
        else:
            config = peer.SFTConfig(**settings, dataset_kwargs={"skip_prepare_dataset": True})
        return ours_over(peer.DPOTrainer if pairs else peer.SFTTrainer, order, len(examples))(
            model=opened,
            args=config,
            train_dataset=Dataset.from_dict({"row": list(range(len(examples)))}),
            processing_class=tokenizer,
            data_collator=Collator(examples=examples, padding_id=opened.config.pad_token_id or 0),
            peft_config=lora.adapter_config(opened, order.lora) if order.lora else None,
        )

    def settings(self, order: TrainingOrder, examples: int, place: Path) -> dict[str, Any]:
        """What `TrainingArguments` must say so that nothing but our order decides."""
        optimisation = order.optimisation
        rows = rows_per_pass(optimisation, examples=examples, limit=self.rows_at_once)
        return {
            "output_dir": str(place / "trl"),
            "per_device_train_batch_size": rows,
            "gradient_accumulation_steps": math.ceil(min(optimisation.batch_size, examples) / rows),
            "max_steps": steps_to_train(optimisation, examples=examples),
            "learning_rate": optimisation.learning_rate,
            "max_grad_norm": optimisation.max_grad_norm,
            "gradient_checkpointing": self.gradient_checkpointing,
            "seed": lora.adapter_seed(order.seed),  # TRL seeds right before it makes the adapters
            "max_length": None,
            "remove_unused_columns": False,
            "use_cpu": self.device == "cpu",
            "bf16": self.dtype == "bfloat16",
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }


def refuse_unsupported(order: TrainingOrder) -> None:
    """Name what TRL cannot do, before anything is loaded."""
    if isinstance(order.objective, Dpo) and order.objective.loss not in LOSSES:
        raise EngineError(
            f"the trainer 'trl' has no loss {order.objective.loss!r}; set it to one of {', '.join(LOSSES)}, "
            "or use the trainer 'torch'"
        )
    from accelerate import PartialState

    if PartialState().num_processes > 1:
        raise EngineError("the trainer 'trl' runs in one process here; use the trainer 'torch' for several")


def rows_per_pass(optimisation: Optimisation, *, examples: int, limit: int) -> int:
    """The largest number of rows up to `limit` that divides the batch and the last, smaller batch of an epoch."""
    batch = min(optimisation.batch_size, examples)
    common = math.gcd(batch, examples % batch or batch)
    return max(rows for rows in range(1, limit + 1) if common % rows == 0)


def without_dropout(model: Any) -> Any:
    """The model with every dropout probability at zero: TRL trains in training mode."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0
    return model


@dataclass(frozen=True, slots=True)
class Collator:
    """Row numbers → the tensors TRL's losses read, from our own token ids and masks."""

    examples: Sequence[Example]
    padding_id: int

    def __call__(self, rows: list[dict[str, int]]) -> dict[str, torch.Tensor]:
        """One pass: chosen sides first, then rejected ones (pairs), or one sequence a row with its labels."""
        batch = collate([self.examples[row["row"]] for row in rows], padding_id=self.padding_id)
        learned_RT = torch.zeros_like(batch.tokens_RT)
        learned_RT.view(-1)[batch.predictor_N + 1] = 1
        tensors = {"input_ids": batch.tokens_RT, "attention_mask": batch.attention_RT.long()}
        if len(batch.reference_chosen_P):
            return {
                **tensors,
                "completion_mask": learned_RT,
                "ref_chosen_logps": batch.reference_chosen_P,
                "ref_rejected_logps": batch.reference_rejected_P,
            }
        return {**tensors, "labels": batch.tokens_RT.masked_fill(learned_RT == 0, NOT_LEARNED)}


class EpochOrder(torch.utils.data.Sampler[int]):
    """Our order of every epoch, as a sampler."""

    def __init__(self, count: int, *, seed: int | None) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by TRL's trainer at the start of each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(epoch_order(self.count, seed=self.seed, epoch=self.epoch))

    def __len__(self) -> int:
        return self.count


def ours_over(trainer: Any, order: TrainingOrder, count: int) -> Any:
    """A subclass of TRL's trainer that takes rows, their order, optimiser and schedule from us."""

    class Ours(trainer):  # type: ignore[misc]  # TRL is untyped
        def _prepare_dataset(self, dataset: Any, *given: Any, **named: Any) -> Any:
            return dataset  # token ids are ours; TRL would render text

        def _precompute_ref_logps(self, dataset: Any, *given: Any, **named: Any) -> Any:
            return dataset  # reference log-probabilities come with the examples

        def _get_train_sampler(self, *given: Any, **named: Any) -> Any:
            return EpochOrder(count, seed=order_seed(order))

        def create_optimizer(self, *given: Any, **named: Any) -> Any:
            learned = [weight for weight in self.model.parameters() if weight.requires_grad]
            self.optimizer: Any = optimiser(learned, order.optimisation)
            return self.optimizer

        def create_scheduler(self, *given: Any, **named: Any) -> Any:
            peak = order.optimisation.learning_rate or 1.0
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer,
                lambda step: learning_rate(order.optimisation, step=step, examples=count) / peak,
            )
            return self.lr_scheduler

    return Ours


class Listener:
    """Turns TRL's logs into steps, and refuses a loss that is not finite."""

    def __init__(self, *, order: TrainingOrder, examples: Sequence[Example], advance: Advance) -> None:
        self.order, self.examples, self.advance = order, examples, advance
        self.steps: list[Step] = []

    def hear(self, logs: dict[str, float]) -> None:
        """One optimiser step's log (the summary at the end has no `loss`)."""
        if "loss" not in logs:
            return
        number, settings = len(self.steps), self.order.optimisation
        rows = [
            self.examples[index]
            for index in global_batch(
                number, count=len(self.examples), batch_size=settings.batch_size, seed=order_seed(self.order)
            )
        ]
        loss, norm = float(logs["loss"]), float(logs["grad_norm"])
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise not_finite(number, rows, loss=loss, norm=norm, rate=settings.learning_rate)
        objective = self.order.objective
        pairs = isinstance(objective, Dpo)
        self.steps.append(
            Step(
                step=number + 1,
                loss=loss,
                learning_rate=learning_rate(settings, step=number, examples=len(self.examples)),
                gradient_norm=norm,
                margin=logs["rewards/margins"] / objective.beta if isinstance(objective, Dpo) else None,
                accuracy=logs["rewards/accuracies"] if pairs else None,
            )
        )
        self.advance(rows=len(rows), tokens=sum(len(side.ids) for row in rows for side in sides(row)))
        self.advance(step=number + 1)


def listen(trainer: Any, heard: Listener) -> None:
    """Have TRL report to `heard` and print nothing itself."""
    from transformers import PrinterCallback, TrainerCallback

    class Ear(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            heard.hear(named["logs"])

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Ear())
