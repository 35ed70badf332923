"""Why rows were dropped, told shortly: reasons that differ only in numbers or in their details are one.

A reason is `kind: detail` or a kind alone. Knows reasons only, not the stages that give them nor where they are shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MOST_REASONS = 8
LONGEST_KIND, LONGEST_DETAIL = 120, 80
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

Shorten = Callable[[str, int], str]


@dataclass(slots=True)
class Kind:
    """Reasons of one kind: how often, its numbers (None where they differ), one detail, and whether it has others."""

    count: int
    numbers: list[str | None]
    detail: str
    several: bool = False

    def add(self, numbers: list[str], detail: str) -> None:
        """One more reason of this kind."""
        self.count += 1
        self.several = self.several or detail != self.detail
        self.numbers = [old if old == new else None for old, new in zip(self.numbers, numbers, strict=True)]


def in_lines(counts: Iterable[tuple[str, int]]) -> str:
    """Counted reasons as the end of a message: a line each."""
    return "".join(f"\n  {count:,}: {reason}" for reason, count in counts)


def reasons_in_words(reasons: Iterable[str], *, shorten: Shorten) -> tuple[tuple[str, int], ...]:
    """How many rows were dropped for which kind of reason, the commonest first, the rare ones as one.

    `shorten` makes a foreign text of at most so many characters fit to be shown where these are.
    """
    kinds: dict[str, Kind] = {}
    for reason in reasons:
        kind, _, detail = reason.partition(": ")
        frame, numbers = NUMBER.sub("\0", kind), NUMBER.findall(kind)
        if frame in kinds:
            kinds[frame].add(numbers, detail)
        else:
            kinds[frame] = Kind(1, list(numbers), detail)
    ordered = sorted(kinds.items(), key=lambda item: -item[1].count)
    rest = sum(kind.count for _, kind in ordered[MOST_REASONS:])
    told = [(said(frame, kind, shorten), kind.count) for frame, kind in ordered[:MOST_REASONS]]
    return (*told, *([("other reasons", rest)] if rest else []))


def said(frame: str, kind: Kind, shorten: Shorten) -> str:
    """A kind in words, with … for a number that differs, and a detail: the only one, or one for an example."""
    numbers = iter(kind.numbers)
    words = re.sub("\0", lambda _: next(numbers, None) or "…", frame)
    words, detail = shorten(words, LONGEST_KIND), shorten(kind.detail, LONGEST_DETAIL)
    if not kind.detail:
        return words
    return f"{words} (for example {detail})" if kind.several else f"{words}: {detail}"
