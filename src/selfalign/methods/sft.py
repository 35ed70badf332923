"""More supervised fine-tuning on the same demonstrations: the control every self-alignment method has to beat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar

from selfalign.errors import RecipeError
from selfalign.stages.train import for_steps, train
from selfalign.types import Chat, Lora, Model, Optimisation, Rendering, Round, Sft, Table, at


@dataclass(frozen=True, kw_only=True)
class SupervisedFineTuning:
    """Each round continues from the last one's model with maximum likelihood of the human answers.

    Budget: SPIN passes two sequences a pair through the model, so `epochs` of two on the demonstrations cost what one
    SPIN epoch on one set costs, four what one on two mixed sets costs. Both are given round by round, as are `updates`:
    so many optimiser steps instead of whole epochs.
    """

    base: Model
    demonstrations: Table[Chat]
    epochs: tuple[int, ...] = (4, 8)
    updates: tuple[int, ...] | None = None
    learning_rate: tuple[float, ...] = (5e-7, 5e-7, 1e-7, 1e-7)
    rendering: Rendering = Rendering(max_length=2048)
    optimisation: Optimisation = Optimisation(optimiser="rmsprop", batch_size=64)
    lora: Lora | None = None
    seed: int = 42

    replaced: ClassVar[Mapping[str, str]] = {
        "optimisation.learning_rate": "learning_rate",
        "optimisation.num_train_epochs": "epochs",
    }

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if self.updates is not None and self.epochs != SupervisedFineTuning.epochs:
            raise RecipeError("method.epochs has no effect beside method.updates: leave one out")

    def play(self) -> Iterator[Round]:
        """One round: as many epochs as the method it is compared with spends sequences."""
        model = self.base
        for t in count():
            trained = train(
                model, (self.demonstrations,),
                objective=Sft(), reference=(),
                optimisation=self.budget(t), lora=self.lora, rendering=self.rendering, seed=self.seed + t,
            )  # fmt: skip
            yield Round(model=trained, trained_on=(self.demonstrations,), started_from=model)
            model = trained

    def budget(self, t: int) -> Optimisation:
        """The training of round t: whole epochs, or `updates` steps."""
        given = replace(self.optimisation, learning_rate=at(self.learning_rate, t), num_train_epochs=at(self.epochs, t))
        return given if self.updates is None else for_steps(given, at(self.updates, t))
