"""DiverseEvol: a model that picks its own training data (Wu et al., 2023; arXiv 2311.08182).

From a small random start, each round trains a fresh model on what is chosen so far, looks at the whole pool through
that model's hidden states, and adds the rows that lie farthest from everything chosen. No scorer, no reward model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import ClassVar, Literal

from selfalign.errors import RecipeError
from selfalign.stages.describe import describe_selection
from selfalign.stages.select import Selected, Selection, choose_at_random, select, taken
from selfalign.stages.train import train
from selfalign.types import Chat, Choice, Lora, Matrix, Model, Optimisation, Rendering, Round, Sft, Table, at


@dataclass(frozen=True, kw_only=True)
class DiverseEvol:
    """DiverseEvol with the settings of its released code; the paper's text could not be read.

    Round 0 trains on `start` random rows (`start_seed`: runs that share it share their start), every later round on
    `grow` more. `updates`, given round by round, trains so many optimiser steps instead of whole epochs: a start of
    100 rows sees three updates otherwise, and its model is hardly tuned. `embedder`: in whose space rows lie, that of
    the `current` round's model (the method), of the `base`, or of `external_embedder`.
    """

    base: Model
    pool: Table[Chat]
    start: int = 100
    grow: int = 100
    selection: Selection = Selection()
    embedder: Literal["current", "base", "external"] = "current"
    external_embedder: Model | None = None
    train_from: Literal["base", "current"] = "base"
    updates: tuple[int, ...] | None = None
    rendering: Rendering = Rendering(prompt="alpaca", max_length=512)
    optimisation: Optimisation = Optimisation(
        learning_rate=2e-5, schedule="cosine", warmup_ratio=0.03, num_train_epochs=3, batch_size=64
    )
    lora: Lora | None = None
    start_seed: int = 0
    seed: int = 42

    # Fields of a shared setting that a schedule of this method replaces: a recipe that sets them is refused.
    replaced: ClassVar[Mapping[str, str]] = {"optimisation.max_steps": "updates"}

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if (self.embedder == "external") != (self.external_embedder is not None):
            raise RecipeError("method.embedder 'external' and method.external_embedder come together: set both or none")
        if self.updates is not None and self.optimisation.num_train_epochs != DiverseEvol.optimisation.num_train_epochs:
            raise RecipeError("method.optimisation.num_train_epochs has no effect beside method.updates: leave one out")

    def play(self) -> Iterator[Round]:
        """The loop body is one round: train on what is chosen, look at the pool, choose more."""
        model = self.base
        vectors: tuple[Matrix, ...] = ()
        chosen: tuple[Table[Choice], ...] = (choose_at_random(self.pool, (), count=self.start, seed=self.start_seed),)
        for t in count():
            subset = taken(self.pool, chosen)
            before = self.base if self.train_from == "base" else model
            model = train(
                before, (subset,),
                objective=Sft(), reference=(),
                optimisation=self.budget(t), lora=self.lora, rendering=self.rendering, seed=self.seed,
            )  # fmt: skip
            described = describe_selection(self.pool, chosen, vectors)
            yield Round(model=model, trained_on=(subset,), started_from=before, chosen=chosen, selection=described)
            picked = self.picked(model, chosen, t)
            chosen = (*chosen, picked.choices)
            vectors = () if picked.vectors is None else (picked.vectors,)

    def picked(self, model: Model, chosen: tuple[Table[Choice], ...], t: int) -> Selected:
        """`grow` more rows, each the one whose nearest chosen row is farthest away (eq. 1-2)."""
        eyes = {"current": model, "base": self.base, "external": self.external_embedder or self.base}[self.embedder]
        return select(
            eyes, self.pool, chosen,
            count=self.grow, selection=self.selection, rendering=self.rendering, seed=self.seed + t,
        )  # fmt: skip

    def budget(self, t: int) -> Optimisation:
        """The training of round t: whole epochs, or `updates` steps over as many epochs as these take."""
        if self.updates is None:
            return self.optimisation
        steps, rows = at(self.updates, t), self.start + t * self.grow
        steps_an_epoch = -(-rows // self.optimisation.batch_size)
        return replace(self.optimisation, max_steps=steps, num_train_epochs=-(-steps // steps_an_epoch))
