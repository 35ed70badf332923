"""What a word is when texts are compared, and how a piece of foreign text is shown in a reason.

Case, punctuation and compatibility forms do not count; a Chinese or Japanese character is a word of its own, since
those scripts put no blanks between words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

ASCII_WORD = re.compile(r"\w+", re.ASCII)
IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Combining marks are no word characters to `re`, but words of Hindi or Thai are not made of syllables for that.
MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0900-\u0963\u0981-\u0fff\u17b4-\u17d3"
ANY_WORD = re.compile(rf"[{IDEOGRAPHS}]|(?:[^\W{IDEOGRAPHS}]|[{MARKS}])+")
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
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


def runs(items: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Every run of `length` words, in order."""
    return zip(*(items[start:] for start in range(length)), strict=False)


def excerpt(text: str, limit: int = EXCERPT_CHARACTERS) -> str:
    """The beginning of a text on one line, with control, invisible and direction-changing characters shown."""
    line = " ".join(text[: 4 * limit].split())
    cut = line[:limit] + "…" if len(line) > limit or len(text) > 4 * limit else line
    if cut.isprintable():
        return cut
    return "".join(letter if letter.isprintable() else f"‹U+{ord(letter):04X}›" for letter in cut)
