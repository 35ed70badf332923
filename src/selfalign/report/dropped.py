"""Why a stage dropped rows, as a report shows it."""

from __future__ import annotations

from collections.abc import Iterable

from selfalign.corpus.reasons import MOST_REASONS, reasons_in_words
from selfalign.report.visible import shortened


def counted_reasons(reasons: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """How many rows were dropped for which kind of reason, the commonest first, the rare ones as one."""
    return reasons_in_words(reasons, shorten=shortened)


__all__ = ["MOST_REASONS", "counted_reasons"]
