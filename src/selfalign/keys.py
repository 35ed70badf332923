"""A stage call as plain data, and the key that names it.

Pure: no disk, no clock, no dice. The identity rule lives here: what is passed is what it is. Handles contribute what
they stand for (`identity()`), fields equal to their default are left out, so a new optional setting keeps old keys.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one stage: its name, version and canonical arguments (plain JSON data)."""

    stage: str
    version: int
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The name of this call's result: blake2b over the canonical bytes, as 32 hexadecimal digits."""
        text = canonical_text({"stage": self.stage, "version": self.version, "arguments": self.arguments})
        return hashlib.blake2b(text.encode(), digest_size=KEY_BYTES).hexdigest()


def canonical_text(data: Any) -> str:
    """One text for one value: sorted keys, no spaces, shortest exact floats."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: Any) -> Any:
    """A value as plain JSON data, the same for equal values.

    Settings become `{"type": name, …fields that differ from their default}`; handles become their identity.

    Raises:
        TypeError: the value is of no kind a stage may take (only plain data, settings and handles bear identity).
        ValueError: a float is not finite.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be an argument of a stage: it equals nothing, not even itself")
        return value
    if hasattr(value, "identity"):
        return canonical(value.identity())
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("a mapping passed to a stage must have text keys")
        return {name: canonical(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [canonical(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **changed_fields(value)}
    raise TypeError(f"a stage cannot take a {type(value).__name__}: pass plain data, settings or handles")


def changed_fields(value: Any) -> dict[str, Any]:
    """The fields of a settings dataclass that differ from their default, canonical."""
    return {
        item.name: canonical(getattr(value, item.name))
        for item in fields(value)
        if not is_default(getattr(value, item.name), item.default)
    }


def is_default(value: Any, default: Any) -> bool:
    """Whether a value is its field's default: equal, and of the same type (True is not 1)."""
    return default is not MISSING and type(value) is type(default) and bool(value == default)


def seed_of(*parts: str | int) -> int:
    """A 63-bit seed derived from its parts: the random stream of one row, whatever shard, batch or restart it is in."""
    text = canonical_text(list(parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
