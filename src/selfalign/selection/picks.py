"""What every selector gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Picks:
    """Selected rows in the order they were picked; three arrays of one length n.

    `rows` int64 [n]: indices of the rows, all different. `values` float64 [n]: why, in the selector's own unit (the
    distance to the nearest row chosen before, a score, …); nan where there is nothing to tell, such as for a first
    row. `nearest` int64 [n]: index of the nearest row chosen before, or what stands for the pick; -1 where none does.
    """

    rows: Any
    values: Any
    nearest: Any
