"""A method whose rounds gather what a test plants: rows and grades as told, then scripted training on what was kept.

The stages stand in a module of their own, since they are imported by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from selfalign.stage import Size, stage
from selfalign.stages.keep import kept_by_grade
from selfalign.stages.train import train
from selfalign.types import Chat, Gathered, Grade, Message, Model, Optimisation, Rendering, Round, Sft

OPENINGS = ("Explain", "Describe", "List", "Compare", "Translate", "Summarise", "Draw", "Question", "Praise", "Invent")


def as_many(size: Any, given: tuple[Any, ...]) -> Size:
    """As many rows as were given."""
    return Size(rows=len(given))


@stage(version=1, needs="driver", expect=as_many)
def planted_chats(given: tuple[Chat, ...]) -> Iterator[Chat]:
    """Rows as given."""
    yield from given


@stage(version=1, needs="driver", expect=as_many)
def planted_grades(given: tuple[Grade, ...]) -> Iterator[Grade]:
    """Grades as given."""
    yield from given


@dataclass(frozen=True, kw_only=True)
class Harvest:
    """What one round gathers; `known` None: its prompts were given to it. `threshold` keeps by the first grades."""

    made: tuple[Chat, ...]
    kept: tuple[Chat, ...]
    grades: tuple[tuple[Grade, ...], ...] = ()
    known: tuple[Chat, ...] | None = None
    threshold: float | None = None

    def gathered(self) -> Gathered:
        """The same as tables."""
        made, grades = planted_chats(self.made), tuple(planted_grades(table) for table in self.grades)
        by_grade = self.threshold is not None
        return Gathered(
            made=made,
            kept=kept_by_grade(made, grades[0], threshold=self.threshold or 0.0)
            if by_grade
            else planted_chats(self.kept),
            grades=grades,
            known=None if self.known is None else (planted_chats(self.known),),
        )


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Trains the base on what each harvest keeps."""

    base: Model
    harvests: tuple[Harvest, ...]

    def play(self) -> Iterator[Round | Gathered]:
        """One harvest a round."""
        for number, harvest in enumerate(self.harvests):
            gathered = harvest.gathered()
            yield gathered
            model = train(
                self.base, (gathered.kept,),
                objective=Sft(), reference=(), optimisation=Optimisation(), lora=None,
                rendering=Rendering(), seed=number,
            )  # fmt: skip
            yield Round(model=model, trained_on=(gathered.kept,), started_from=self.base)


def chats(
    count: int, *, prompt: str = "{opening} alpha{n} beta{n} gamma{n} delta{n}", answer: str = ""
) -> tuple[Chat, ...]:
    """So many rows; prompts and answers are all different unless told otherwise."""
    return tuple(
        Chat(
            id=f"row-{n}",
            prompt=(Message(role="user", content=prompt.format(opening=OPENINGS[n % len(OPENINGS)], n=n)),),
            answer=(answer or " ".join(f"word{n}of{place}" for place in range(20))).format(n=n),
        )
        for n in range(count)
    )


def grades(*values: float | None) -> tuple[Grade, ...]:
    """Grades of those values; None: it could not be read."""
    return tuple(
        Grade(id=f"row-{n}", rubric="planted", value=value, why_unread="" if value is not None else "no score")
        for n, value in enumerate(values)
    )
