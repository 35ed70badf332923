"""I-SHEEP: a base model that enhances itself from a few seed tasks (Liang et al., 2024; arXiv 2408.08072).

Every round the current model invents new tasks, answers them, and assesses its own pairs; the base is tuned on the
ones it finds good, and the tuned model plays the next round. No answer, tool or judge from outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Literal

from selfalign.keys import seed_of
from selfalign.stages.assess import Assessed, Assessment, assess
from selfalign.stages.draw import drawn
from selfalign.stages.generate import generate
from selfalign.stages.invent import Synthesis, invent
from selfalign.stages.keep import sound_answers
from selfalign.stages.train import train
from selfalign.synthesis.answer_filters import AnswerFilter
from selfalign.types import (
    Chat,
    Gathered,
    Instruction,
    Lora,
    Model,
    Optimisation,
    Rendering,
    Round,
    Sampling,
    Sft,
    Table,
    at,
)


@dataclass(frozen=True, kw_only=True)
class ISheep:
    """I-SHEEP with the paper's settings (section 3 and appendix E); `docs/methods/i_sheep.md` lists the gaps.

    `setting`: `one-base` tunes the base on the newest pairs (the paper's choice), `one-last` tunes the last model on
    them, `total-base` the base on the pairs of all rounds; `one-shot` is the control without iterating, for which the
    base writes everything and is tuned on all of it. `grader`: the model of the round (the paper's algorithm) or the
    base (the released code). `random_rows`, round by round, is the control without grading: so many pairs drawn evenly.

    Three renderings, since an untuned base knows no conversation: `task_rendering` of the lists that are continued,
    `base_rendering` of all that the base answers and grades, `rendering` of everything that tuned models learn and do.
    """

    base: Model
    seeds: Table[Chat | Instruction]
    setting: Literal["one-base", "one-last", "total-base", "one-shot"] = "one-base"
    synthesis: Synthesis = Synthesis()
    sampling: Sampling = Sampling(max_new_tokens=1000, temperature=1.0, top_p=0.95)
    answer_filters: AnswerFilter = AnswerFilter()
    assessment: Assessment = Assessment()
    grader: Literal["current", "base"] = "current"
    random_rows: tuple[int, ...] | None = None
    task_rendering: Rendering = Rendering(prompt="continued", max_length=4096)
    base_rendering: Rendering = Rendering(prompt="plain", max_length=4096)
    rendering: Rendering = Rendering(system="You are a helpful assistant.", max_length=1024)
    optimisation: Optimisation = Optimisation(
        learning_rate=5e-5, schedule="cosine", warmup_ratio=0.06, num_train_epochs=2, batch_size=16
    )
    lora: Lora | None = Lora(r=8, alpha=16.0, dropout=0.05)
    seed: int = 42

    replaced: ClassVar[Mapping[str, str]] = {}

    def play(self) -> Iterator[Round | Gathered]:
        """Algorithm 1: the loop body is one iteration, `model` is M_t."""
        model = self.base
        tasks: tuple[Table[Chat], ...] = ()
        kept: tuple[Table[Chat], ...] = ()
        for t in count():
            seed = seed_of(self.seed, t)
            writer = self.base if self.setting == "one-shot" else model
            invented = invent(
                writer, self.seeds, tasks,
                synthesis=self.synthesis, rendering=self.task_rendering, seed=seed,
            )  # fmt: skip
            answers = generate(
                writer, invented,
                sampling=self.sampling, rendering=self.rendering_of(writer), seed=seed, overlong="drop",
            )  # fmt: skip
            pairs = sound_answers(answers, filters=self.answer_filters)
            grader = self.base if self.grader == "base" else writer
            found = self.curated(grader, pairs, t, seed=seed)
            yield Gathered(made=answers, kept=found.kept, grades=found.grades, known=(self.seeds, *tasks))
            tasks, kept = (*tasks, invented), (*kept, found.kept)
            learned = kept if self.setting in ("total-base", "one-shot") else kept[-1:]
            start = model if self.setting == "one-last" else self.base
            model = train(
                start, learned,
                objective=Sft(), reference=(),
                optimisation=self.optimisation, lora=self.lora, rendering=self.rendering, seed=self.seed,
            )  # fmt: skip
            yield Round(
                model=model, trained_on=learned, answers=answers, started_from=start,
                grader=grader if found.lowest is not None else None, grades=found.lowest,
            )  # fmt: skip

    def curated(self, grader: Model, pairs: Table[Chat], t: int, *, seed: int) -> Assessed:
        """The pairs that are learned: those a model finds good, or in the control any."""
        if self.random_rows is not None:
            return Assessed(drawn(pairs, count=at(self.random_rows, t), seed=seed))
        return assess(grader, pairs, assessment=self.assessment, rendering=self.rendering_of(grader), seed=seed)

    def rendering_of(self, model: Model) -> Rendering:
        """How a model is asked and graded with: the base as text, a tuned model as a conversation."""
        return self.base_rendering if model == self.base else self.rendering
