"""Text written by models and people, made safe to look at: nothing in it can hide, reorder or break its surroundings.

Knows characters only. HTML escaping is the template's business; this is what escaping leaves in.
"""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"
# Joiners are format characters too, but scripts and emoji need them to be readable at all.
JOINERS = "\u200c\u200d"


def visible(text: str) -> str:
    """The text with control, direction-changing, invisible and unpaired surrogate characters shown, not obeyed."""
    if text.isprintable():  # none of the categories below is printable, so most texts need no second look
        return text
    return "".join(character if harmless(character) else shown(character) for character in text)


def harmless(character: str) -> bool:
    """Whether a character can be put on a page as it is."""
    return character in KEPT or character in JOINERS or unicodedata.category(character) not in HIDDEN


# control, format (bidi, zero width, tags), surrogate, line separator, paragraph separator
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def shown(character: str) -> str:
    """The code point in angle quotes; control pictures would be nicer, but many fonts lack them."""
    return f"‹U+{ord(character):04X}›"


def cut(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` characters, and how many were left off."""
    return text[:limit], max(0, len(text) - limit)


def shortened(text: str, limit: int = 300) -> str:
    """One text of at most `limit` characters that says when something was left off."""
    start, left_off = cut(text, limit)
    return f"{start} … ({left_off:,} more characters)" if left_off else start
