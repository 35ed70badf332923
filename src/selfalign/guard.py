"""When what a round gathered is alarming: limits on the measures of `stages.health`, and what is said beyond them.

A warning is told and the round goes on; a stop ends the run before the round is trained. No limit enters a key, so
another one recomputes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Literal

from selfalign.errors import RecipeError
from selfalign.stages.health import LEAST_ROWS
from selfalign.types import HealthMeasure

Level = Literal["warn", "stop"]


@dataclass(frozen=True, slots=True)
class Watched:
    """A measure in words, on which side of a limit it is alarming and what is said then; `most`: no value is above."""

    means: str
    alarming: Literal["above", "below"]
    says: str
    in_percent: bool = True
    most: float | None = 1.0

    def number(self, value: float, digits: int | None = None) -> str:
        """The value as people read it, in so many significant digits or exactly."""
        shown = Decimal(repr(value) if digits is None else f"{value:.{digits}g}")
        return f"{(100 * shown).normalize():f} %" if self.in_percent else f"{shown.normalize():f}"

    def beyond(self, value: float, limit: float | None) -> bool:
        """Whether a value is on the alarming side of a limit; on the limit it is not."""
        return limit is not None and (value > limit if self.alarming == "above" else value < limit)


WATCHED: dict[str, Watched] = {
    "kept_share": Watched("rows kept, of the rows made", "below", "{} of the rows made were kept"),
    "unread_share": Watched("grades that could not be read", "above", "{} of the grades could not be read"),
    "commonest_score_share": Watched(
        "grades that are the commonest score, of those read; expected scores by tenths",
        "above",
        "{} of the grades are one and the same score",
    ),
    "near_duplicate_share": Watched(
        "kept prompts that nearly repeat an earlier or a known one (ROUGE-L F1 above 0.7)",
        "above",
        "{} of the kept prompts nearly repeat another",
    ),
    "median_answer_words": Watched(
        "words in a kept answer, median", "below", "the median kept answer has {} words", in_percent=False, most=None
    ),
    "answer_length_ratio": Watched(
        "that median, of the first round's", "below", "the median kept answer is {} as long as in the first round",
        most=None,
    ),
    "distinct_2": Watched(
        "different word pairs in kept answers, of all in at most 4,000 of their words",
        "below",
        "{} of the word pairs in kept answers are different ones",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """How far a measure may go: beyond `warn` it is told, beyond `stop` the run ends; None: never."""

    warn: float | None = None
    stop: float | None = None


@dataclass(frozen=True, slots=True)
class Alarm:
    """A measure beyond a limit, in words."""

    metric: str
    level: Level
    says: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Guard:
    """Limits on what a round gathered; a measure without any, or over fewer than ten rows, raises no alarm.

    The defaults are meant never to disturb a healthy run, however small, so only what cannot be healthy stops it.
    `kept_share`: published filters keep a tenth or so; below 2 % a filter or a judge fits nothing. `unread_share`:
    small judges leave a third and more unread; beyond 90 % the rest is chance. `commonest_score_share`: a judge that
    gives one score to nearly all says nothing; as a filter may have left only good rows, this warns.
    `near_duplicate_share`: methods that invent prompts drop near-duplicates themselves, texts of one kind are asked
    about in similar words; half of the prompts again is a loop. `median_answer_words`: answers of one word can be
    right, empty ones cannot. `answer_length_ratio`: to learn from short human answers is to become shorter, so this
    warns. `distinct_2`: prose has about 70 %; below 30 % it repeats itself, below 10 % it is one phrase.
    """

    kept_share: Limit | None = Limit(warn=0.02)
    unread_share: Limit | None = Limit(warn=0.3, stop=0.9)
    commonest_score_share: Limit | None = Limit(warn=0.95)
    near_duplicate_share: Limit | None = Limit(warn=0.2, stop=0.5)
    median_answer_words: Limit | None = Limit(warn=1.0)
    answer_length_ratio: Limit | None = Limit(warn=0.33)
    distinct_2: Limit | None = Limit(warn=0.3, stop=0.1)

    def __post_init__(self) -> None:
        """Refuse limits that no value could pass, or that would stop a run before they warn."""
        for name, watched in WATCHED.items():
            limit = self.limit(name)
            for level, value in (("warn", limit.warn), ("stop", limit.stop)):
                if value is not None and watched.most is not None and not 0 <= value <= watched.most:
                    raise RecipeError(f"guard.{name}.{level} is a share from 0 to 1, not {value:g}")
            if limit.warn is not None and limit.stop is not None and watched.beyond(limit.warn, limit.stop):
                raise RecipeError(
                    f"guard.{name} would stop at {limit.stop:g} before it warns at {limit.warn:g}: the alarm is for "
                    f"values {watched.alarming} a limit; set warn on the milder side of stop, or to null"
                )

    def limit(self, metric: str) -> Limit:
        """The limit on a measure; one without alarms where the recipe has none."""
        found: Limit | None = getattr(self, metric)
        return found or Limit()

    def alarms(self, measures: Iterable[HealthMeasure]) -> list[Alarm]:
        """What is beyond a limit, in the order of the measures; the graver level of each."""
        return [alarm for one in measures if (alarm := self.alarm(one)) is not None]

    def alarm(self, measure: HealthMeasure) -> Alarm | None:
        """The alarm of one measure, if it raises one."""
        if measure.value is None or measure.of < LEAST_ROWS:
            return None
        watched, limit = WATCHED[measure.id], self.limit(measure.id)
        levels: tuple[tuple[Level, float | None], ...] = (("stop", limit.stop), ("warn", limit.warn))
        for level, value in levels:
            if value is not None and watched.beyond(measure.value, value):
                return Alarm(measure.id, level, worded(measure, watched, value))
        return None

    def unheard(self, measured: Collection[str]) -> list[str]:
        """The measures on which a limit was set that is not the default, and that are never taken."""
        return [
            item.name
            for item in fields(self)
            if item.name not in measured and self.limit(item.name) not in (item.default, Limit())
        ]


def worded(measure: HealthMeasure, watched: Watched, limit: float) -> str:
    """An alarm as a sentence, its value in as few digits as show on which side of the limit it is."""
    assert measure.value is not None
    digits = next(n for n in range(2, 18) if watched.beyond(float(f"{measure.value:.{n}g}"), limit) or n == 17)
    value = watched.says.format(watched.number(measure.value, digits))
    return f"{value}, {watched.alarming} {watched.number(limit)} ({measure.id})"
