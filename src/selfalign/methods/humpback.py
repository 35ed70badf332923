"""Humpback: self-alignment with instruction backtranslation (Li et al., 2023; arXiv 2308.06259).

Human-written texts are taken as answers; a backward model writes the instruction each one answers, and the model
itself grades the pairs, keeps the best, learns from them, and grades again, better. No stronger teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

from selfalign.corpus.duplicates import Duplicates
from selfalign.corpus.segmentation import Segmentation
from selfalign.errors import RecipeError
from selfalign.stages.backtranslate import InstructionFilter, ask_for_instructions, candidates, tagged, turned
from selfalign.stages.corpus import decontaminated, distinct, sampled, segment
from selfalign.stages.draw import drawn
from selfalign.stages.generate import generate
from selfalign.stages.grade import Grading, grade
from selfalign.stages.keep import kept_by_grade, readable
from selfalign.stages.train import for_steps, train
from selfalign.types import (
    Chat,
    Gathered,
    Grade,
    Instruction,
    Lora,
    Model,
    MultipleChoice,
    Optimisation,
    Rendering,
    Round,
    Sampling,
    Sft,
    Table,
    Text,
    at,
)


@dataclass(frozen=True, kw_only=True)
class Humpback:
    """Humpback with the paper's settings (sections 2 and 3.1, tables 2 and 18); `docs/methods/humpback.md` lists gaps.

    `seeds` are human pairs, `corpus` raw documents, of which `segments` are used. Round 0 is M_0, trained on the seeds
    alone; in round t the model M_{t-1} grades every candidate, and those at `threshold` or above are kept, at most the
    best `kept_share` of the graded. `clean_of`: data whose prompts and answers no segment may hold, beside the seeds;
    in a recipe all it evaluates on. Ask the final model with both tags (`evaluate.rendering.suffix`).

    For controls, curated round by round: `random_rows` learns so many candidates drawn evenly, none of them graded, and
    `updates` trains so many optimiser steps, whatever `optimisation` says.
    """

    base: Model
    seeds: Table[Chat]
    corpus: Table[Text]
    clean_of: tuple[Table[Chat | Instruction | MultipleChoice], ...] = ()
    segments: int = 502_133
    segmentation: Segmentation = Segmentation()
    duplicates: Duplicates = Duplicates()
    filters: InstructionFilter = InstructionFilter()
    sampling: Sampling = Sampling(max_new_tokens=512, temperature=0.7, top_p=0.9)
    grading: Grading = Grading()
    threshold: float = 4.5
    kept_share: float = 1.0
    max_unread: float | None = None
    random_rows: tuple[int, ...] | None = None
    updates: tuple[int, ...] | None = None
    seed_tag: str = "Answer in the style of an AI Assistant."
    corpus_tag: str = "Answer with knowledge from web search."
    rendering: Rendering = Rendering(prompt="alpaca", max_length=2048)
    optimisation: Optimisation = Optimisation(
        learning_rate=1e-5, schedule="linear", final_ratio=0.9, warmup_ratio=0.0, weight_decay=0.1,
        steps_by_examples=(
            (100, 30, 8), (800, 300, 8), (1600, 600, 8),
            (3200, 500, 32), (6400, 600, 32), (12800, 600, 32), (25600, 1200, 32), (51200, 1600, 32),
        ),
    )  # fmt: skip
    lora: Lora | None = None
    seed: int = 42

    replaced: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Refuse settings that would have no effect, or keep nothing."""
        scale = self.grading.scale()
        if not scale.lowest <= self.threshold <= scale.highest:
            raise RecipeError(
                f"method.threshold: {self.threshold:g} is not on the scale of rubric {scale.name!r}, which goes from "
                f"{scale.lowest} to {scale.highest}"
            )
        given = self.optimisation
        free = (given.num_train_epochs, given.batch_size, given.max_steps)
        if given.steps_by_examples is not None and free != (1, 64, None):
            raise RecipeError(
                "method.optimisation: num_train_epochs, batch_size and max_steps have no effect beside "
                "steps_by_examples; leave them out, or set steps_by_examples to null"
            )

    def play(self) -> Iterator[Round | Gathered]:
        """Section 2: augment once, then curate and train again and again, each time from the base."""
        seeds = tagged(self.seeds, tag=self.seed_tag)
        pairs = self.augmented()
        model = self.trained(seeds)
        yield Round(model=model, trained_on=(seeds,), started_from=self.base)
        for t in count(1):
            kept, grades = self.curated(model, pairs, t)
            yield Gathered(made=pairs, kept=kept, grades=grades, known=())
            curated = tagged(kept, tag=self.corpus_tag)
            updates = None if self.updates is None else at(self.updates, t - 1)
            grader, model = model, self.trained(seeds, curated, updates=updates)
            yield Round(
                model=model, trained_on=(seeds, curated), started_from=self.base,
                grader=grader if grades else None, grades=grades[0] if grades else None,
            )  # fmt: skip

    def curated(self, grader: Model, pairs: Table[Chat], t: int) -> tuple[Table[Chat], tuple[Table[Grade], ...]]:
        """B: the candidates that are kept, and the grades they got (section 2.3)."""
        if self.random_rows is not None:
            return drawn(pairs, count=at(self.random_rows, t - 1), seed=self.seed + t), ()
        grades = grade(grader, pairs, grading=self.grading, rendering=self.rendering, seed=self.seed + t)
        grades = readable(grades, max_unread=self.max_unread)
        return kept_by_grade(pairs, grades, threshold=self.threshold, share=self.kept_share), (grades,)

    def augmented(self) -> Table[Chat]:
        """A: one pair for each segment, its instruction written by the backward model (section 2.2)."""
        found = distinct(segment(self.corpus, segmentation=self.segmentation), duplicates=self.duplicates)
        texts = sampled(
            decontaminated(found, against=(self.seeds, *self.clean_of)), count=self.segments, seed=self.seed
        )
        backward = self.trained(turned(self.seeds, tag=self.seed_tag))
        prompts = ask_for_instructions(texts, tag=self.seed_tag)
        written = generate(
            backward, prompts, sampling=self.sampling, rendering=self.rendering, seed=self.seed, overlong="drop"
        )
        return candidates(texts, written, filters=self.filters)

    def trained(self, *tables: Table[Chat], updates: int | None = None) -> Model:
        """A model trained from the base, on the answers only (section 3.1)."""
        return train(
            self.base, tables,
            objective=Sft(), reference=(),
            optimisation=self.optimisation if updates is None else for_steps(self.optimisation, updates),
            lora=self.lora, rendering=self.rendering, seed=self.seed,
        )  # fmt: skip
