"""Constraints on an answer that a program can check, in the manner of IFEval, with definitions of our own.

A check is a plain object, `{"kind": "words_at_most", "count": 50}`. Whether a check is well formed is decided when
its file is read (`check_faults`); after that every verifier gives True or False for any text whatever: answers come
from models and are taken as hostile, so nothing here raises on one, and no regular expression can backtrack.

Definitions. A *word* is a run of non-blank characters that holds a letter or digit. A *line* is one that is not
blank; a *paragraph* is a block between blank lines; a *bullet* is a line that starts with `-`, `*`, `+` or `•` and a
blank. A *sentence* ends at `.`, `!`, `?` or `…` (and closing quotes or brackets) before a blank, or at a line's end;
common abbreviations, initials and list numbers end none. Words of a check are found whole, whatever their case;
texts of a check are found letter by letter. An empty answer follows no instruction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from selfalign.errors import RecipeError

Check = Mapping[str, Any]

# Never the end of a sentence; "no" and "fig" are left out because they are words as well.
TITLES = frozenset(("mr", "mrs", "ms", "dr", "prof", "st", "vs", "e.g", "i.e", "cf", "approx", "vol"))
# The end of one only where a capital letter follows.
TRAILING = frozenset(("etc", "jr", "sr", "inc", "ltd", "co", "u.s", "u.k", "a.m", "p.m"))
CLOSING = "\"'”’)]}»"
BULLETS = ("- ", "* ", "+ ", "• ")
OPENING_QUOTES, CLOSING_QUOTES = '"“', '"”'


# ------------------------------------------------------------------------------------ what a text consists of


def words(text: str) -> list[str]:
    """The words of a text."""
    return [word for word in text.split() if any(map(str.isalnum, word))]


def lines(text: str) -> list[str]:
    """The lines of a text that are not blank, without blanks at their ends."""
    return [line.strip() for line in with_one_newline(text).split("\n") if line.strip()]


def with_one_newline(text: str) -> str:
    """The text with every line end written as a line feed."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def paragraphs(text: str) -> int:
    """How many blocks of lines are set apart by blank lines."""
    filled = [bool(line.strip()) for line in with_one_newline(text).split("\n")]
    return sum(here and not before for before, here in zip([False, *filled], filled, strict=False))


def sentences(text: str) -> int:
    """How many sentences a text has."""
    return sum(map(sentences_of_line, lines(text)))


def sentences_of_line(line: str) -> int:
    """How many sentences one line has; words after the last end are one more."""
    count, open_words = 0, False
    parts = line.split()
    for index, part in enumerate(parts):
        open_words = open_words or any(map(str.isalnum, part))
        following = parts[index + 1] if index + 1 < len(parts) else ""
        if open_words and ends_sentence(part, following=following, first=index == 0):
            count, open_words = count + 1, False
    return count + open_words


def ends_sentence(part: str, *, following: str, first: bool) -> bool:
    """Whether a sentence ends with this run of non-blank characters, before the `following` one."""
    bare = part.rstrip(CLOSING)
    if not bare.endswith((".", "!", "?", "…")):
        return False
    if bare.endswith(("...", "…")):
        return not following[:1].islower()
    if not bare.endswith(".") or not following:
        return True
    stem = bare[:-1].lstrip("\"'“‘([{«").casefold()
    is_number_of_list = first and stem.isdigit()
    is_initial = len(stem) == 1 and stem.isalpha() and bare[-2].isupper() and stem != "i"
    goes_on = stem in TRAILING and not following[:1].isupper()
    return not (is_number_of_list or is_initial or goes_on or stem in TITLES)


def times(text: str, word: str) -> int:
    """How often a word (or phrase) stands in a text as a whole, whatever the case and the blanks inside it."""
    text, word = " ".join(text.casefold().split()), " ".join(word.casefold().split())
    count, start = 0, text.find(word)
    while start >= 0 and word:
        end = start + len(word)
        whole = not (joined(text, start) or joined(text, end))
        count += whole
        start = text.find(word, end if whole else start + 1)
    return count


def joined(text: str, position: int) -> bool:
    """Whether one word runs across this position."""
    return 0 < position < len(text) and in_word(text[position - 1]) and in_word(text[position])


def in_word(letter: str) -> bool:
    """Whether a character belongs to a word: letters, digits, the underscore."""
    return letter.isalnum() or letter == "_"


def is_quoted(answer: str) -> bool:
    """Whether double quotation marks stand at both ends with something between them."""
    text = answer.strip()
    return len(text) > 2 and text[0] in OPENING_QUOTES and text[-1] in CLOSING_QUOTES


def has_json_keys(answer: str, keys: Iterable[str]) -> bool:
    """Whether the answer is one JSON object with these keys, bare or in one Markdown code fence."""
    try:
        value = json.loads(without_fence(answer.strip()), parse_constant=refuse_constant)
    except (ValueError, RecursionError, MemoryError):
        # ValueError also covers whole numbers of more digits than Python converts; nesting overflows the scanner.
        return False
    return isinstance(value, dict) and all(key in value for key in keys)


def refuse_constant(name: str) -> Any:
    """NaN and the infinities are not JSON, though Python reads them."""
    raise ValueError(f"{name} is not JSON")


def without_fence(text: str) -> str:
    """The inside of a Markdown code fence around the whole text, or the text."""
    for opening in ("```json", "```JSON", "```Json", "```"):
        if text.startswith(opening) and text.endswith("```") and len(text) >= len(opening) + 3:
            return text[len(opening) : -3]
    return text


# -------------------------------------------------------------------------------------------- the kinds


def wanted_count(value: Any) -> str:
    """What a value should be to serve as a count; empty when it does."""
    return "" if type(value) is int and value >= 0 else "a whole number of at least 0"


def wanted_text(value: Any) -> str:
    """What a value should be to serve as a text to find; empty when it does."""
    return "" if isinstance(value, str) and value.strip() else "a text that is not blank"


def wanted_texts(value: Any) -> str:
    """What a value should be to serve as texts to find; empty when it does."""
    fits = isinstance(value, list) and value and not any(map(wanted_text, value))
    return "" if fits else "a list of at least one text"


def wanted_keys(value: Any) -> str:
    """What a value should be to serve as keys of an object (perhaps none); empty when it does."""
    return "" if isinstance(value, list) and not any(map(wanted_text, value)) else "a list of texts"


class Kind(NamedTuple):
    """A kind of check: its parameters with their rules, and whether an answer follows it."""

    parameters: Mapping[str, Callable[[Any], str]]
    follows: Callable[[str, Check], bool]


COUNT = {"count": wanted_count}
TEXT = {"text": wanted_text}
WORDS = {"words": wanted_texts}

KINDS: Mapping[str, Kind] = {
    "words_at_most": Kind(COUNT, lambda answer, check: len(words(answer)) <= check["count"]),
    "words_at_least": Kind(COUNT, lambda answer, check: len(words(answer)) >= check["count"]),
    "sentences_exactly": Kind(COUNT, lambda answer, check: sentences(answer) == check["count"]),
    "lines_exactly": Kind(COUNT, lambda answer, check: len(lines(answer)) == check["count"]),
    "paragraphs_exactly": Kind(COUNT, lambda answer, check: paragraphs(answer) == check["count"]),
    "bullets_exactly": Kind(
        COUNT, lambda answer, check: sum(line.startswith(BULLETS) for line in lines(answer)) == check["count"]
    ),
    "contains_all": Kind(WORDS, lambda answer, check: all(times(answer, word) for word in check["words"])),
    "contains_none": Kind(WORDS, lambda answer, check: not any(times(answer, word) for word in check["words"])),
    "word_times_at_least": Kind(
        {"word": wanted_text, **COUNT}, lambda answer, check: times(answer, check["word"]) >= check["count"]
    ),
    "all_lowercase": Kind({}, lambda answer, check: answer.islower()),
    "all_uppercase": Kind({}, lambda answer, check: answer.isupper()),
    "no_commas": Kind({}, lambda answer, check: "," not in answer),
    "starts_with": Kind(TEXT, lambda answer, check: answer.lstrip().startswith(check["text"].lstrip())),
    "ends_with": Kind(TEXT, lambda answer, check: answer.rstrip().endswith(check["text"].rstrip())),
    "wrapped_in_quotes": Kind({}, lambda answer, check: is_quoted(answer)),
    "valid_json": Kind({"keys": wanted_keys}, lambda answer, check: has_json_keys(answer, check["keys"])),
}


# ------------------------------------------------------------------------------------------- verifying


def verified(answer: str, checks: Sequence[Check]) -> list[bool]:
    """For each check, whether the answer as it stands follows it (IFEval's strict reading).

    Raises:
        RecipeError: a check is malformed; never for what the answer holds.
    """
    require_known(checks)
    return [bool(answer.strip()) and KINDS[check["kind"]].follows(answer, check) for check in checks]


def verified_loosely(answer: str, checks: Sequence[Check]) -> list[bool]:
    """For each check, whether the answer follows it, or would without its first line, its last line or asterisks.

    IFEval's loose reading: it forgives "Sure, here it is:" and Markdown emphasis. Raises as `verified`.
    """
    readings = [verified(variant, checks) for variant in loose_variants(answer)]
    return [any(column) for column in zip(*readings, strict=True)] if checks else []


def loose_variants(answer: str) -> list[str]:
    """The answer, less its first line, less its last, less both; each also less its asterisks."""
    parts = with_one_newline(answer).split("\n")
    cut = ["\n".join(part).strip() for part in (parts[1:], parts[:-1], parts[1:-1])]
    return [variant for text in (answer, *cut) for variant in (text, text.replace("*", ""))]


def require_known(checks: Sequence[Check]) -> None:
    """Refuse malformed checks."""
    faults = check_faults(checks)
    if faults:
        raise RecipeError("; ".join(faults))


def check_faults(checks: Sequence[Any]) -> list[str]:
    """What is wrong with these checks, one text a fault, naming the check by its number; empty when all is well."""
    return [f"check {number}: {fault}" for number, check in enumerate(checks, 1) for fault in faults_of(check)]


def faults_of(check: Any) -> list[str]:
    """What is wrong with one check: unknown kind, missing, extra or unusable parameters."""
    if not isinstance(check, Mapping) or not isinstance(check.get("kind"), str):
        return ['must be an object with a "kind", such as {"kind": "words_at_most", "count": 50}']
    kind = check["kind"]
    if kind not in KINDS:
        near = get_close_matches(kind, KINDS, n=1)
        return [
            f"unknown kind {kind!r}: " + (f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KINDS)}")
        ]
    rules = KINDS[kind].parameters
    given = {name: value for name, value in check.items() if name != "kind"}
    takes = f"it takes {', '.join(rules)}" if rules else "it takes none"
    missing = [f"{kind} lacks {name!r}: {takes}" for name in rules if name not in given]
    extra = [f"{kind} has no parameter {name!r}: {takes}" for name in given if name not in rules]
    wrong = [
        f"{kind}: {name!r} must be {wanted}, not {given[name]!r}"
        for name, rule in rules.items()
        if name in given and (wanted := rule(given[name]))
    ]
    return missing + extra + wrong
