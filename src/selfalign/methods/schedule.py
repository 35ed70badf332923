"""Settings that change from round to round."""

from __future__ import annotations

from typing import TypeVar

Value = TypeVar("Value")


def at(schedule: tuple[Value, ...], number: int) -> Value:
    """The value of round `number` (from 0); the last one holds for all later rounds."""
    return schedule[min(number, len(schedule) - 1)]
