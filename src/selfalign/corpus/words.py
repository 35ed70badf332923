"""What a word is when texts are compared, and how a piece of foreign text is shown in a reason.

Case, punctuation, compatibility forms and invisible characters do not count. A Chinese or Japanese character is a
word of its own, since those scripts put no blanks between words; so is a letter of Thai and its like, but only a part
of a word where words are counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

ASCII_WORD = re.compile(r"[^\W_]+", re.ASCII)
IDEOGRAPHS = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
# Thai, Lao, Burmese, Khmer, Tai Le, New Tai Lue, Tai Tham, Balinese, Javanese: letters, vowel signs and digits.
UNSPACED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0edf\u1000-\u1049\u1050-\u109f\u1780-\u17b3\u17b6-\u17d3\u17d7"
    "\u17dc-\u17e9\u1950-\u19da\u1a20-\u1a99\u1b00-\u1b59\ua980-\ua9c0\ua9cf-\ua9d9\ua9e0-\ua9fe\uaa60-\uaa7f"
)
# Ours: a word of Thai has four to five letters and signs.
LETTERS_PER_WORD = 4
# Combining marks are no word characters to `re`, but words of Hindi are not made of syllables for that.
MARKS = "\u0300-\u034e\u0350-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0981-\u0dff\u0f00-\u0fff"
# What nobody sees (soft hyphens, joiners, zero-width blanks, signs of direction): no part of a word, and no end of one.
UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff"
)
SIGN = rf"[{IDEOGRAPHS}{UNSPACED}]"
LETTER = rf"(?:[^\W_{IDEOGRAPHS}{UNSPACED}{UNSEEN}]|[{MARKS}])"
ANY_WORD = re.compile(rf"{SIGN}|{LETTER}++(?:[{UNSEEN}]++{LETTER}++)*")
HIDDEN = re.compile(rf"[{UNSEEN}]+")
PART_OF_WORD = re.compile(f"[{UNSPACED}]")
EXCERPT_CHARACTERS = 80


def words(text: str) -> list[str]:
    """The words of a text, in order, as they are compared."""
    if text.isascii():
        return ASCII_WORD.findall(text.lower())
    return [compared(word) for word in ANY_WORD.findall(text)]


def places(text: str) -> list[tuple[int, int]]:
    """Where each word of `words(text)` begins and ends in the text."""
    return [word.span() for word in (ASCII_WORD if text.isascii() else ANY_WORD).finditer(text)]


def compared(word: str) -> str:
    """One word without its case and compatibility form (NFKC, full case folding)."""
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", HIDDEN.sub("", word)).casefold()


def runs(items: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Every run of `length` words, in order."""
    return zip(*(items[start:] for start in range(length)), strict=False)


def measured(said: Sequence[str]) -> list[int]:
    """How much each word counts, in letters of a script without blanks: one of those 1, a whole word 4."""
    return [1 if not word.isascii() and PART_OF_WORD.match(word) else LETTERS_PER_WORD for word in said]


def count_of(said: Sequence[str]) -> int:
    """How many words these are, parts of words taken together."""
    return sum(measured(said)) // LETTERS_PER_WORD


def stretches(said: Sequence[str], count: int) -> Iterator[tuple[str, ...]]:
    """At each word the shortest run from there that counts as so many words, as far as there is one."""
    sizes = measured(said)
    end = size = 0
    for start in range(len(said)):
        while size < count * LETTERS_PER_WORD and end < len(said):
            size += sizes[end]
            end += 1
        if size < count * LETTERS_PER_WORD:
            return
        yield tuple(said[start:end])
        size -= sizes[start]


def excerpt(text: str, limit: int = EXCERPT_CHARACTERS) -> str:
    """The beginning of a text on one line, with control, invisible and direction-changing characters shown."""
    line = " ".join(text[: 4 * limit].split())
    cut = line[:limit] + "…" if len(line) > limit or len(text) > 4 * limit else line
    if cut.isprintable():
        return cut
    return "".join(letter if letter.isprintable() else f"‹U+{ord(letter):04X}›" for letter in cut)
