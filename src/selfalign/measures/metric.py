"""What a number means that evaluation gives: its name, its better side, and whether it is a share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """What a suite's numbers mean. `better` is None where neither direction is good in itself."""

    name: str
    better: Literal["higher", "lower"] | None
    says: str
    share: bool = False
