"""A grader's reply → one number of the scale, or why there is none. Strict: never a number by accident. Pure.

What counts is a line that begins with `Score:` (any case; `final`, `overall` or `total` before it; markdown around
it) and goes on with one number: digits of any script, a decimal part after a point or comma, `/5` or `out of 5` where
that is the top of the scale, brackets or quotes around it all. After it may stand points or stars as a unit, or a
remark without any number, in digits or words, behind a full stop, comma, semicolon, dash or bracket. A line that goes
on with the score (`/10`, `out of ten`, a digit) makes it unreadable, as does a quotation mark of markdown before it.

The last such line decides. An earlier one with another number makes the reply unreadable, so a score that comes
before the reasoning counts when it is the only one. A reply that was cut has not come to its score, unless a whole
line gives it and nothing follows: 4 may have been going to be 4.5, and what stands before may be quoted.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, get_args

from selfalign.grading.rubrics import Rubric

Why = Literal[
    "",
    "the reply is empty",
    "there is no line that gives a score",
    "the reply was cut off before its score",
    "the score is not one number",
    "two different scores are given",
    "the score is outside the scale",
    "the score is out of another number than the top of the scale",
]
WHYS: tuple[str, ...] = get_args(Why)
EMPTY, NO_LINE, CUT, NO_NUMBER, TWO_SCORES, OUTSIDE, OTHER_TOP = WHYS[1:]

MARKS = r"\s#*_`~|•–—-"
SCORE_LINE = re.compile(
    rf"[{MARKS}]*(?:(?:final|overall|total)\s+)?score[\s*_`~]*[:：﹕︰∶](?P<rest>.*)", re.IGNORECASE
)
NUMBER = r"(?P<{0}>[-−–]?\d+)(?:(?P<{0}_mark>[.,٫،])(?P<{0}_part>\d+))?"
GRADE = re.compile(
    NUMBER.format("value") + r"(?:\s*(?:/|⁄|out\s+of|of)\s*" + NUMBER.format("top") + r")?"
    r"(?:\s*(?:points?|stars?))?(?P<after>.*)",
    re.IGNORECASE,
)
BRACKETS = {"<": ">", "[": "]", "(": ")", "{": "}", '"': '"', "'": "'", "“": "”"}
REMARK = re.compile(r"[.;,!–—(]|-\s")
# What a remark must not hold, since it may take the number back or give it another meaning.
NUMBER_WORD = re.compile(
    r"\b(zero|one|two|three|four|five|six|seven|eight|nine|ten|twenty|fifty|hundred|half|minus|plus|scale|out\s+of)\b",
    re.IGNORECASE,
)
GOES_ON = re.compile(r"[\s*_`~|]*(?:/|⁄|out\s+of\b|\d|[.,]\d)", re.IGNORECASE)
# Other characters that end a line in Unicode may stand within one.
LINE_END = re.compile(r"\r\n|\r|\n")
# More digits than any scale has.
MOST_DIGITS = 300


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply says: a number of the scale, or None and why not."""

    value: float | None
    why_unread: str = ""


def read_grade(reply: str, rubric: Rubric, *, finished: bool = True) -> Reading:
    """The grade in a reply; `finished` is False when the reply was cut by a token limit. Linear in the reply's length.

    Never raises, and never gives a value outside the scale.
    """
    lines = [line for line in LINE_END.split(reply) if line.strip()]
    if not lines:
        return Reading(None, EMPTY if finished else CUT)
    found = [(number, match["rest"]) for number, line in enumerate(lines) if (match := SCORE_LINE.fullmatch(line))]
    if not found:
        return Reading(None, NO_LINE if finished else CUT)
    if not finished and (found[-1][0] < len(lines) - 1 or not reply.endswith(("\n", "\r"))):
        return Reading(None, CUT)
    after = [lines[number + 1] if number + 1 < len(lines) else "" for number, _ in found]
    readings = [read_score(rest, rubric, after=line) for (_, rest), line in zip(found, after, strict=True)]
    last = readings[-1]
    stated = {one.value for one in readings if one.why_unread != NO_NUMBER}
    return Reading(None, TWO_SCORES) if last.why_unread != NO_NUMBER and len(stated) > 1 else last


def read_score(text: str, rubric: Rubric, *, after: str) -> Reading:
    """The number after `Score:`; `after` is the line that follows it."""
    match = GRADE.fullmatch(unwrapped(text))
    value = number(match, "value") if match else None
    if match is None or value is None or not only_remark(match["after"]) or GOES_ON.match(after):
        return Reading(None, NO_NUMBER)
    if match["top"] is not None and number(match, "top") != rubric.highest:
        return Reading(None, OTHER_TOP)
    return Reading(value) if rubric.lowest <= value <= rubric.highest else Reading(None, OUTSIDE)


def reasoning_of(reply: str) -> str:
    """What a grader wrote beside its score: the reply without the lines that give one."""
    return "\n".join(line for line in LINE_END.split(reply) if not SCORE_LINE.fullmatch(line)).strip()


def unwrapped(text: str) -> str:
    """A text without markdown and one pair of brackets or quotes around it."""
    bare = text.strip().strip("*_`~|").strip()
    if len(bare) > 1 and BRACKETS.get(bare[0]) == bare[-1]:
        bare = bare[1:-1].strip()
    return bare


def number(match: re.Match[str], name: str) -> float | None:
    """The number that digits of any script write; None where it cannot be told, as in 1,000."""
    whole, mark, part = match[name], match[f"{name}_mark"], match[f"{name}_part"] or "0"
    if len(whole) + len(part) > MOST_DIGITS or (mark in (",", "،") and len(part) == 3):
        return None
    plain = "".join(str(unicodedata.decimal(digit)) for digit in whole.lstrip("-−–"))
    value = float(f"{plain}.{''.join(str(unicodedata.decimal(digit)) for digit in part)}")
    return value if whole[0].isdecimal() else -value


def only_remark(text: str) -> bool:
    """Whether what follows a number says nothing about it: no further number, and set off by a mark."""
    bare = text.strip().strip("*_`~|").strip()
    if any(letter.isnumeric() for letter in bare) or NUMBER_WORD.search(bare):
        return False
    return not bare or REMARK.match(bare) is not None
