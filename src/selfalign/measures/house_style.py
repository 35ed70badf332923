"""The style of `embedded:house-style`, as rules a program can check.

Two lines, `Answer: <one sentence>.` and `Why: <one sentence>.`; 14 to 44 words in all, the labels counted; at most
260 characters; no markdown, bullets, parentheses, quote blocks or code; no first or second person; plain ASCII. Blanks
around the whole answer are not held against it. Pure, and total: any text gets a verdict.
"""

from __future__ import annotations

LABELS = ("Answer: ", "Why: ")
FEWEST_WORDS, MOST_WORDS = 14, 44
MOST_CHARACTERS = 260
MARKS = frozenset("`*_#()[]{}<>|~")
BULLETS = ("- ", "+ ", "* ")
FIRST_PERSON = frozenset(("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves", "let's"))
SECOND_PERSON = frozenset(("you", "your", "yours", "yourself", "yourselves"))
PERSONS = FIRST_PERSON | SECOND_PERSON


def follows_house_style(answer: str) -> bool:
    """Whether an answer keeps every rule."""
    return not house_style_faults(answer)


def house_style_faults(answer: str) -> list[str]:
    """The names of the rules an answer breaks, in the order of the module's first paragraph; empty when none."""
    text = answer.strip()
    parts = text.split("\n")
    rules = {
        "two lines": len(parts) == 2 and "\r" not in text,
        "labels": len(parts) == 2 and all(part.startswith(label) for part, label in zip(parts, LABELS, strict=True)),
        "one sentence a line": all(map(is_one_sentence, map(without_label, parts))),
        "14 to 44 words": FEWEST_WORDS <= len(text.split()) <= MOST_WORDS,
        "at most 260 characters": len(text) <= MOST_CHARACTERS,
        "no markup": not MARKS.intersection(text) and not any(has_bullet(part) for part in parts),
        "no first or second person": not any(map(is_person, text.split())),
        "plain ASCII": text.isascii() and all(letter.isprintable() or letter == "\n" for letter in text),
    }
    return [name for name, kept in rules.items() if not kept]


def without_label(line: str) -> str:
    """What a line says after its label, or the line."""
    return next((line[len(label) :] for label in LABELS if line.startswith(label)), line)


def is_one_sentence(text: str) -> bool:
    """Whether a text holds words and ends with its only full stop, with no other end mark."""
    inside = text[:-1]
    return text.endswith(".") and not set(".!?").intersection(inside) and any(map(str.isalnum, inside))


def has_bullet(line: str) -> bool:
    """Whether a line is a list item, also behind its label."""
    return line.lstrip().startswith(BULLETS) or without_label(line).lstrip().startswith(BULLETS)


def is_person(word: str) -> bool:
    """Whether a word is a pronoun of the first or second person, also contracted ("I'm", "you've", "let's").

    "US" in capitals is a country.
    """
    parts = [half.strip(".,:;!?\"'") for half in word.replace("’", "'").split("-")]
    return any(
        PERSONS.intersection((part.casefold(), part.casefold().partition("'")[0])) for part in parts if part != "US"
    )
