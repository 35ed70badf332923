"""SPIN: self-play fine-tuning (Chen et al., 2024; arXiv 2401.01335, Algorithm 1).

Each round the current model answers the prompts of human demonstrations, and is then trained to tell the human
answers from its own, itself being the frozen reference. No labels, no reward model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar, Literal

from selfalign.stages.generate import generate
from selfalign.stages.score import score_pairs
from selfalign.stages.shape import pair
from selfalign.stages.train import train
from selfalign.types import (
    Chat,
    Dpo,
    Gathered,
    Lora,
    Model,
    Optimisation,
    Pair,
    PairScore,
    Rendering,
    Round,
    Sampling,
    Table,
    at,
)


@dataclass(frozen=True, kw_only=True)
class Spin:
    """SPIN with the paper's settings (section 6.1, appendix B.1); `docs/methods/spin.md` lists deviations.

    `beta` (the paper's lambda) and `learning_rate` are given round by round, the last value holding. `sets_mixed` is
    how many of the newest sets of pairs a round trains on. `old_reference`: who is the reference of an older set's
    pairs, the `current` model (paper) or the `generator` that wrote them.
    """

    base: Model
    demonstrations: Table[Chat]
    beta: tuple[float, ...] = (0.1, 0.1, 0.1, 5.0)
    learning_rate: tuple[float, ...] = (5e-7, 5e-7, 1e-7, 1e-7)
    loss: Literal["logistic", "hinge", "exponential", "correlation"] = "logistic"
    sets_mixed: int | Literal["all"] = 2
    old_reference: Literal["current", "generator"] = "current"
    sampling: Sampling = Sampling(max_new_tokens=256, temperature=1.0)
    generation_rendering: Rendering = Rendering(prompt="instruction-response")
    rendering: Rendering = Rendering(max_length=2048)
    optimisation: Optimisation = Optimisation(optimiser="rmsprop", num_train_epochs=2, batch_size=64)
    lora: Lora | None = None
    seed: int = 42

    # Fields of a shared setting that a schedule of this method replaces: a recipe that sets them is refused.
    replaced: ClassVar[Mapping[str, str]] = {"optimisation.learning_rate": "learning_rate"}

    def play(self) -> Iterator[Round | Gathered]:
        """Algorithm 1: the loop body is one iteration, `model` is theta_t, opponent and reference at once."""
        model, sets = self.base, []
        for t in count():
            answers = generate(
                model,
                self.demonstrations,
                sampling=self.sampling,
                rendering=self.generation_rendering,
                seed=self.seed + t,
            )
            yield Gathered(made=answers, kept=answers)
            sets.append((pair(chosen=self.demonstrations, rejected=answers), model))
            used = sets if self.sets_mixed == "all" else sets[-self.sets_mixed :]
            pairs = tuple(newer for newer, _ in used)
            reference = tuple(
                score_pairs(writer if self.old_reference == "generator" else model, older, rendering=self.rendering)
                for older, writer in used
            )
            trained = self.trained(t, model, pairs, reference)
            yield Round(model=trained, trained_on=pairs, answers=answers, started_from=model, reference=model)
            model = trained

    def trained(
        self, t: int, model: Model, pairs: tuple[Table[Pair], ...], reference: tuple[Table[PairScore], ...]
    ) -> Model:
        """theta_{t+1}: eq. 4.7 minimised from theta_t, with this iteration's beta and learning rate."""
        return train(
            model,
            pairs,
            objective=Dpo(beta=at(self.beta, t), loss=self.loss),
            reference=reference,
            optimisation=replace(self.optimisation, learning_rate=at(self.learning_rate, t)),
            lora=self.lora,
            rendering=self.rendering,
            seed=self.seed,
        )
