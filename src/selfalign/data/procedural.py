"""Rows that a program makes: `reasoning-gym:chain_sum+leg_counting@7#50`, tasks, seed and how many rows in all.

Tasks take turns. What such a reference holds is decided by the package's version, so that is in its digest.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import metadata
from typing import Any, NamedTuple

from selfalign.errors import RecipeError
from selfalign.types import Source

PACKAGE = "reasoning-gym"
SCHEME = f"{PACKAGE}:"
REFERENCE = re.compile(r"reasoning-gym:([a-z0-9_]+(?:\+[a-z0-9_]+)*)@(\d{1,9})#(\d{1,9})", re.ASCII)
DIGEST_BYTES = 16
# Their scorers hand the reply to `eval`, or to sympy's parser, which does the same: a model could run any code.
EVALUATE_REPLIES = (
    "binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication", "puzzle24",
    "simple_integration", "spiral_matrix", "string_insertion",
)  # fmt: skip
# They walk over sets of words, whose order differs from process to process: the reference would not name its rows.
NOT_REPEATABLE = ("isomorphic_strings", "ransom_note")
# Made of other tasks, which it must be told.
NEEDS_SETTINGS = ("composite",)


class Wanted(NamedTuple):
    """What a reference names."""

    tasks: tuple[str, ...]
    seed: int
    rows: int


def wanted(ref: str) -> Wanted:
    """What a reference names.

    Raises:
        RecipeError: it is not written as it must be, or names a task that is not safe to score.
    """
    parts = REFERENCE.fullmatch(ref)
    if parts is None or int(parts[3]) < 1:
        raise RecipeError(f"{ref}: write {SCHEME}task+task@seed#rows, for example {SCHEME}chain_sum+leg_counting@7#50")
    tasks = tuple(parts[1].split("+"))
    for task in tasks:
        if task in EVALUATE_REPLIES:
            raise RecipeError(f"{ref}: the scorer of {task!r} executes the reply as Python; choose another task")
        if task in NOT_REPEATABLE:
            raise RecipeError(f"{ref}: {task!r} makes other rows in every process; choose another task")
        if task in NEEDS_SETTINGS:
            raise RecipeError(f"{ref}: {task!r} is made of other tasks: name those")
        if tasks.count(task) > 1:
            raise RecipeError(f"{ref}: {task!r} is named twice: name it once")
    if int(parts[3]) < len(tasks):
        raise RecipeError(f"{ref}: {parts[3]} rows are fewer than the {len(tasks)} tasks: ask for more rows")
    return Wanted(tasks, int(parts[2]), int(parts[3]))


def version(ref: str) -> str:
    """The version of the package that makes the rows.

    Raises:
        RecipeError: it is not installed.
    """
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        raise RecipeError(f"{ref}: needs {PACKAGE}: pip install 'selfalign[suites]'") from None


def pinned_procedural(ref: str, *, limit: int | None) -> Source:
    """A reference's source; its content is named by the package's version, tasks, seed and number of rows."""
    return Source(ref, digest_of(ref), format=f"{PACKAGE}:{PACKAGE}", limit=limit)


def digest_of(ref: str) -> str:
    """What names the content of a reference, as 32 hexadecimal digits."""
    one = wanted(ref)
    named = repr((PACKAGE, version(ref), one.tasks, one.seed, one.rows))
    return hashlib.blake2b(named.encode(), digest_size=DIGEST_BYTES).hexdigest()


def procedural_rows(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a reference and their numbers from 1: the question, and where in its task it was made.

    Raises:
        RecipeError: a task is unknown, or the installed version is not the one that was pinned.
    """
    one, made_by = wanted(source.ref), version(source.ref)
    if digest_of(source.ref) != source.digest:
        raise RecipeError(f"{source.ref}: {PACKAGE} is now {made_by}, not what was pinned: start again")
    known = importlib.import_module("reasoning_gym.factory").DATASETS
    for task in one.tasks:
        if task not in known:
            near = get_close_matches(task, known, n=1)
            raise RecipeError(
                f"{source.ref}: no task is called {task!r}{f': did you mean {near[0]!r}?' if near else ''}"
            )
    size = -(-one.rows // len(one.tasks))
    datasets = [made_of(task, seed=one.seed, size=size) for task in one.tasks]
    for number in range(one.rows):
        index, turn = divmod(number, len(one.tasks))
        place = {"task": one.tasks[turn], "seed": one.seed, "index": index, "size": size, "version": made_by}
        yield (
            number + 1,
            {
                "id": f"{one.tasks[turn]}-{one.seed}-{index}",
                "question": str(datasets[turn][index]["question"]),
                **place,
            },
        )


def made_of(task: str, *, seed: int, size: int) -> Any:
    """The package's dataset of a task with its default settings."""
    if task in EVALUATE_REPLIES:
        raise ValueError(f"the scorer of {task!r} executes the reply as Python")
    return importlib.import_module("reasoning_gym").create_dataset(task, seed=seed, size=size)
