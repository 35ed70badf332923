"""A model assesses its own pairs, or they are filtered by its internal states instead (I-SHEEP, sections 3.2 and 4.3).

Which model that is, and in which form it reads the pairs, is the method's business.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from selfalign.errors import RecipeError
from selfalign.grading.rubrics import Rubric
from selfalign.grading.self_assessment import Level, Wording, questions
from selfalign.stages.embed import embedded
from selfalign.stages.grade import Grading, grade
from selfalign.stages.keep import (
    kept_by_grade,
    kept_by_perplexity,
    lowest_grade,
    one_of_each_cluster,
    readable,
    whole_pairs,
)
from selfalign.stages.score import score_answers
from selfalign.types import AnswerScore, Chat, Embedding, Grade, Model, Rendering, Sampling, Table

KeepBy = Literal["assessment", "perplexity", "density", "density-perplexity"]
# Last-layer vectors; how they were pooled is not said, so as DiverseEvol's released code does it.
PAIR_STATE = Embedding(pooling="all", layer=-1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """How pairs are kept: by the grades a model gives its own pairs, or by one of the published alternatives.

    `level`: which questions are asked (quality of the answer, following of the instruction, both, none), in which of
    three wordings (`grading.self_assessment`); `rubrics` of your own replace both. Kept are pairs all of whose grades
    exceed `threshold` (the paper's C), at most the best `kept_share` of the graded by their lowest grade. `reading`:
    from replies (`reasoned`, as published), or from one forward pass a question (`distribution`), which cannot be
    unread by form.

    `keep_by` replaces grades by internal states: `perplexity` below `max_perplexity`, of the answer alone and of the
    whole pair; `density`, one pair of each of `clusters` clusters of last-layer states; or both.
    """

    keep_by: KeepBy = "assessment"
    level: Level = "both"
    wording: Wording = "combined"
    rubrics: tuple[Rubric, ...] = ()
    reading: Literal["reasoned", "reasoned-choice", "distribution"] = "reasoned"
    sampling: Sampling = Sampling(max_new_tokens=256, temperature=0.0)
    threshold: float = 8.0
    kept_share: float = 1.0
    max_unread: float | None = None
    max_perplexity: float = 50.0
    clusters: int = 3000

    def __post_init__(self) -> None:
        """Refuse settings without effect, and a threshold that is not on the scale or that no grade can exceed."""
        defaults = {item.name: item.default for item in fields(self)}
        idle = [name for name in self.idle() if getattr(self, name) != defaults[name]]
        if idle:
            raise RecipeError(f"method.assessment: {', '.join(idle)} without effect where keep_by is {self.keep_by!r}")
        if self.rubrics and (self.level, self.wording) != ("both", "combined"):
            raise RecipeError(
                "method.assessment: level and wording have no effect beside rubrics; leave them out, or rubrics"
            )
        for rubric in self.questions():
            if not rubric.lowest <= self.threshold < rubric.highest:
                raise RecipeError(
                    f"method.assessment.threshold: {self.threshold:g} must lie on the scale of rubric {rubric.name!r} "
                    f"and below its top, {rubric.lowest} to {rubric.highest}: grades must exceed it"
                )

    def idle(self) -> tuple[str, ...]:
        """The settings that this way of keeping pairs never looks at."""
        of_grades = ("level", "wording", "rubrics", "reading", "sampling", "threshold", "kept_share", "max_unread")
        return {
            "assessment": ("max_perplexity", "clusters"),
            "perplexity": (*of_grades, "clusters"),
            "density": (*of_grades, "max_perplexity"),
            "density-perplexity": (*of_grades, "max_perplexity"),
        }[self.keep_by]

    def questions(self) -> tuple[Rubric, ...]:
        """The rubrics by which every pair is graded, one call each."""
        return self.rubrics or questions(self.level, self.wording)


@dataclass(frozen=True, slots=True)
class Assessed:
    """The pairs that are kept, every question's grades, and the lowest grade of each pair where there is one."""

    kept: Table[Chat]
    grades: tuple[Table[Grade], ...] = ()
    lowest: Table[Grade] | None = None


def assess(model: Model, pairs: Table[Chat], *, assessment: Assessment, rendering: Rendering, seed: int) -> Assessed:
    """The pairs a model finds worth learning from; calls whatever stages that needs."""
    if assessment.keep_by == "assessment":
        return by_grades(model, pairs, assessment, rendering, seed)
    if assessment.keep_by == "perplexity":
        scores = (answers_alone(model, pairs, rendering), pairs_alone(model, pairs, rendering))
        return Assessed(kept_by_perplexity(pairs, scores, max_perplexity=assessment.max_perplexity))
    vectors = embedded(model, pairs, rendering=rendering, embedding=PAIR_STATE)
    by = (pairs_alone(model, pairs, rendering),) if assessment.keep_by == "density-perplexity" else ()
    return Assessed(one_of_each_cluster(pairs, vectors, by, clusters=assessment.clusters, seed=seed))


def by_grades(model: Model, pairs: Table[Chat], assessment: Assessment, rendering: Rendering, seed: int) -> Assessed:
    """The pairs all of whose grades exceed the threshold; all of them where nothing is asked."""
    asked = assessment.questions()
    if not asked:
        return Assessed(pairs)
    grades = tuple(
        grade(
            model, pairs,
            grading=Grading(rubric=rubric, reading=assessment.reading, sampling=assessment.sampling),
            rendering=rendering, seed=seed + place,
        )
        for place, rubric in enumerate(asked)
    )  # fmt: skip
    lowest = readable(lowest_grade(grades) if len(grades) > 1 else grades[0], max_unread=assessment.max_unread)
    kept = kept_by_grade(pairs, lowest, threshold=assessment.threshold, share=assessment.kept_share, strictly=True)
    return Assessed(kept, grades, lowest)


def answers_alone(model: Model, pairs: Table[Chat], rendering: Rendering) -> Table[AnswerScore]:
    """How likely each answer is with nothing before it but the header under which answers begin."""
    return score_answers(model, pairs, rendering=alone(rendering))


def pairs_alone(model: Model, pairs: Table[Chat], rendering: Rendering) -> Table[AnswerScore]:
    """How likely instruction and answer are as one text."""
    return score_answers(model, whole_pairs(pairs), rendering=alone(rendering))


def alone(rendering: Rendering) -> Rendering:
    """The rendering that shows no prompt."""
    return replace(rendering, context="header")
