"""What a report says about controls, as plain values; what they are made of is found by whoever compares runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlRow:
    """One metric of a round beside a control: both means, ours minus theirs, and how sure that is."""

    metric: str
    direction: str
    items: int
    theirs: str
    ours: str
    difference: str
    detectable: str
    p: str
    adjusted: str
    verdict: str
    symbol: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BesideControl:
    """A round of the run beside a round of a control: which they are, what it comes to, and every metric."""

    ours: str
    theirs: str
    split: str
    sentence: str
    rows: tuple[ControlRow, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToldControl:
    """One control: what it is, what it took beside the run, what it changes, and what came of it.

    `why`: the reason where there is nothing to compare.
    """

    name: str
    says: str
    equal: str
    steps: str
    state: str
    why: str
    changes: tuple[tuple[str, str, str], ...]
    beside: tuple[BesideControl, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Controls:
    """Everything about the controls of a run; the headline answers whether its rounds were worth it."""

    headline: str
    notes: tuple[str, ...]
    told: tuple[ToldControl, ...]
