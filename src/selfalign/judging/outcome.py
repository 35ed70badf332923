"""What two verdicts on one question, asked in both orders, amount to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from selfalign.judging.verdict import Letter, Verdict

WIN, TIE, LOSS = 1.0, 0.5, 0.0
# What a letter says of one's own answer, by whether it stood under A or under B.
OWN_UNDER_A: dict[Letter, float] = {"A": WIN, "B": LOSS, "C": TIE}
OWN_UNDER_B: dict[Letter, float] = {"A": LOSS, "B": WIN, "C": TIE}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one's own answer fared: 1 won, 0.5 neither, 0 lost; None and why where a verdict could not be read.

    `inconsistent`: the two orders disagree, which counts as neither; None where that cannot be told.
    """

    value: float | None
    inconsistent: bool | None
    why: str = ""


def outcome(ab: Verdict, ba: Verdict) -> Outcome:
    """What the verdicts with one's own answer under A (`ab`) and under B (`ba`) amount to.

    Won or lost only if both orders say so: a judge that likes a place decides nothing.
    """
    if ab.letter is None or ba.letter is None:
        whys = {"own answer first": ab.why_unread, "own answer second": ba.why_unread}
        if ab.why_unread == ba.why_unread:
            return Outcome(None, None, ab.why_unread)
        return Outcome(None, None, "; ".join(f"{why} ({order})" for order, why in whys.items() if why))
    first, second = OWN_UNDER_A[ab.letter], OWN_UNDER_B[ba.letter]
    return Outcome(first, False) if first == second else Outcome(TIE, True)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many questions were won, lost, neither by agreement, neither for want of agreement, and not read."""

    wins: int
    losses: int
    ties: int
    inconsistent: int
    unread: int

    @property
    def questions(self) -> int:
        """All of them."""
        return self.wins + self.losses + self.ties + self.inconsistent + self.unread

    def describe(self) -> str:
        """The counts in words: `3 won, 1 lost, 2 ties, 4 undecided (the two orders disagree), 1 unread`."""
        ties = "1 tie" if self.ties == 1 else f"{self.ties} ties"
        undecided = f"{self.inconsistent} undecided (the two orders disagree: counted as ties)"
        return f"{self.wins} won, {self.losses} lost, {ties}, {undecided}, {self.unread} unread"


def counted(outcomes: Iterable[Outcome]) -> Counts:
    """The counts of many outcomes."""
    listed = list(outcomes)
    agreed = [one.value for one in listed if one.inconsistent is False]
    return Counts(
        wins=agreed.count(WIN),
        losses=agreed.count(LOSS),
        ties=agreed.count(TIE),
        inconsistent=sum(one.inconsistent is True for one in listed),
        unread=sum(one.value is None for one in listed),
    )
