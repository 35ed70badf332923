"""Scores that a text states of itself. Pure.

A grader copies them: `python benchmarks/grading_claims.py` appends such lines to gold answers, and the expected score
of SmolLM2 rises with every one, whatever the answer is; a rubric that says not to believe them changes nothing. Texts
from the web hold such lines (reviews, forums) and would be kept first. A row in which one is found is not graded.
"""

from __future__ import annotations

import re
import unicodedata

from selfalign.grading.rubrics import Rubric

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBER = rf"(?P<{{0}}>\d{{{{1,4}}}}(?:[.,]\d+)?|(?:{'|'.join(WORDS)})\b)"
GAP = r"[^\w\n]{0,8}"
CLAIMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:scor(?:e|es|ed|ing)|rat(?:e|es|ed|ing|ings)|grad(?:e|es|ed|ing)|verdict)\b{GAP}"
        rf"(?:(?:is|was|of|at|as|a|an|it|this)\b{GAP}){{0,4}}{NUMBER.format('value')}",
        rf"\b(?:marks?|points?|stars?|overall|quality)\s*[:=：–—-]{GAP}{NUMBER.format('value')}",
        rf"{NUMBER.format('value')}\s*(?:⁄|/|out\s+of)\s*{NUMBER.format('top')}",
        rf"{NUMBER.format('value')}[\s-]*(?:stars?\b|★)",
        r"(?P<value>)[★⭐]{2,}",
    )
)


def own_score(text: str, rubric: Rubric) -> str:
    """The place where a text states a score on a rubric's scale, in its own words; empty where there is none.

    Numbers outside the scale do not count, nor do fractions of anything but its top. English words, digits of any
    script: a claim in another language is not found.
    """
    for claim in CLAIMS:
        for found in claim.finditer(text):
            parts = found.groupdict()
            if parts.get("top") and number(parts["top"]) != rubric.highest:
                continue
            if not parts["value"] or rubric.lowest <= number(parts["value"]) <= rubric.highest:
                return found[0]
    return ""


def number(written: str) -> float:
    """What a number in digits or words amounts to."""
    if written.casefold() in WORDS:
        return float(WORDS.index(written.casefold()))
    return float("".join(str(unicodedata.decimal(one)) if one.isdecimal() else "." for one in written))
