"""A number that every row of a source brings along in a field of its own: a grade, a length, a score from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from selfalign.data.sources import MOST_FAULTS, listed, numbered
from selfalign.data.turns import Misfit, nearest, shown
from selfalign.data.writing import unit_of
from selfalign.errors import RecipeError
from selfalign.types import Source


def read_numbers(source: Source, field: str) -> Iterator[float]:
    """The number in `field` of every row, in order; text that is a number counts as one (CSV has nothing else).

    Raises:
        RecipeError: up to five rows without such a number at once, each with its place and what to do.
    """
    faults: dict[str, list[int]] = {}
    for place, row in islice(numbered(source), source.limit):
        try:
            if isinstance(row, Misfit):
                raise row
            value = number_at(row, field)
        except Misfit as misfit:
            faults.setdefault(str(misfit), []).append(place)
            if sum(map(len, faults.values())) == MOST_FAULTS:
                break
            continue
        if not faults:
            yield value
    if faults:
        raise RecipeError(f"{source.ref}: {listed(faults, unit=unit_of(source))}")


def number_at(row: Mapping[str, Any], field: str) -> float:
    """The finite number in a field. Raises `Misfit` when there is none."""
    if field not in row:
        near = nearest(field, [str(name) for name in row])
        offer = f"did you mean {near[0]!r}?" if near else f"its fields are {', '.join(map(repr, list(row)[:12]))}"
        raise Misfit(f"has no field {field!r}: {offer}")
    value = row[field]
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Misfit(f"{field!r} must be a finite number, not {shown(value)}: mend or leave out the row")
    return number
