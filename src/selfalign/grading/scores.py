"""Probabilities over a scale → a grade; and what many grades look like together. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from selfalign.grading.rubrics import Rubric
from selfalign.types import Grade

# Below this the model was going to write something else, and the ratios among the scores say nothing.
LEAST_PROBABILITY = 0.01
NOT_ON_SCALE = "the model gives the scale no probability"


def weighed(row_id: str, values: Sequence[float], rubric: Rubric, *, reply: str, expected: bool) -> Grade:
    """The grade that log-probabilities (nats) of the scale's scores amount to; `reply` gets them in words.

    `expected`: the value is the expected score, else the most likely one (the lower of equals). The entropy is that of
    the probabilities renormalised over the scale.
    """
    whole = math.fsum(math.exp(value) for value in values)
    shares = [math.exp(value) / whole if whole > 0 else 0.0 for value in values]
    listed = ", ".join(f"{score}: {100 * share:.1f} %" for score, share in zip(rubric.scores, shares, strict=True))
    told = f"{reply} [{listed}; the scale has {100 * whole:.3g} % of the probability]"
    made = Grade(id=row_id, rubric=rubric.name, value=None, reply=told)
    if whole < LEAST_PROBABILITY:
        return replace(made, why_unread=NOT_ON_SCALE)
    mean = math.fsum(score * share for score, share in zip(rubric.scores, shares, strict=True))
    likeliest = rubric.lowest + max(range(len(shares)), key=shares.__getitem__)
    return replace(
        made,
        value=min(max(mean, float(rubric.lowest)), float(rubric.highest)) if expected else float(likeliest),
        entropy=max(0.0, -math.fsum(share * math.log(share) for share in shares if share > 0)),
    )


def kind_of(why_unread: str) -> str:
    """A reason without what it says of the one row."""
    return why_unread.partition(": ")[0]


@dataclass(slots=True)
class Tally:
    """Counts what grades of one rubric look like while they pass."""

    rubric: Rubric
    unread: Counter[str] = field(default_factory=Counter)
    values: Counter[int] = field(default_factory=Counter)
    entropies: list[float] = field(default_factory=list)

    def passed(self, one: Grade) -> Grade:
        """The grade, counted. Values are counted under the nearest whole number, halves under the higher."""
        if one.value is None:
            self.unread[kind_of(one.why_unread)] += 1
        else:
            self.values[math.floor(one.value + 0.5)] += 1
        if one.entropy is not None:
            self.entropies.append(one.entropy)
        return one

    def facts(self) -> dict[str, Any]:
        """How many are unread and why, how often each value was given, and how far the grader repeats itself."""
        read, unread = self.values.total(), self.unread.total()
        found: dict[str, Any] = {
            "unread": dict(self.unread.most_common()),
            "unread_share": unread / max(1, read + unread),
            "values": {str(score): self.values[score] for score in self.rubric.scores},
            "share_at_top": self.values[self.rubric.highest] / max(1, read),
            "share_at_commonest": max(self.values.values(), default=0) / max(1, read),
        }
        if self.entropies:
            found["mean_entropy"] = math.fsum(self.entropies) / len(self.entropies)
        return found
