"""Every error selfalign raises on purpose.

Each one is also the standard-library error a caller would guess, carries one message that says what, where and the
remedy, and survives pickling (a stage may run in another process). Adding one: subclass `SelfAlignError` and the
stdlib error it resembles, take a single message, give it an exit code only if it is not 1.
"""

from __future__ import annotations


class SelfAlignError(Exception):
    """Something the user can act on; shown as one message, never as a traceback."""

    exit_code = 1


class RecipeError(SelfAlignError, ValueError):
    """The recipe, an override or a data file it names is wrong: nothing was computed."""

    exit_code = 2


class StageError(SelfAlignError, RuntimeError):
    """A stage could not finish; what it had made is kept and the same command goes on from there."""


class NothingLeft(StageError):
    """A stage kept nothing of what it was given: a collapse, if rounds before it went well."""


class EngineError(SelfAlignError, RuntimeError):
    """A model could not be opened, rendered for, generated with or trained."""


class StoreError(SelfAlignError, OSError):
    """The store could not read or write: a full disk, a broken file, a folder in use."""


class PlanStop(SelfAlignError, LookupError):
    """A plan reached a place where a value is needed that only a run can make."""
