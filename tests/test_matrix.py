"""A stage that makes a matrix: float32 on disk as .npy, read back without loading it whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

from selfalign.engines.scripted import ScriptedEngine
from selfalign.errors import StageError
from selfalign.executors.local import Here
from selfalign.run import Run
from selfalign.stage import Size, Vectors, asking, stage
from selfalign.store import Store
from selfalign.trainers.scripted import ScriptedTrainer
from selfalign.types import Matrix
from selfalign.work import keep_matrix, matrix


def as_many(size: Callable[[Any], Size], *, count: int = 0, **_: Any) -> Size:
    return Size(rows=count)


@stage(version=1, needs="driver", expect=as_many)
def count_up(count: int) -> Vectors:
    keep_matrix([f"row-{n}" for n in range(count)], numpy.arange(count * 2).reshape(count, 2))
    return Vectors()


@stage(version=1, needs="driver", expect=as_many)
def doubled(numbers: Matrix) -> Vectors:
    row_ids, values_ND = matrix(numbers)
    keep_matrix(row_ids, 2 * values_ND)
    return Vectors()


@stage(version=1, needs="driver", expect=as_many)
def broken(count: int) -> Vectors:
    keep_matrix(["good", "bad"], [[0.0, 1.0], [float("nan"), 1.0]])
    return Vectors()


def run_in(folder: Path) -> Run:
    return Run(Store(folder), Here(), ScriptedEngine(), ScriptedTrainer())


def test_a_matrix_is_remembered_and_read_from_disk(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    with asking(run):
        made = doubled(count_up(3))
    assert isinstance(made, Matrix)
    row_ids, values_ND = Store(tmp_path).matrix(made.key)
    assert row_ids == ["row-0", "row-1", "row-2"]
    assert isinstance(values_ND, numpy.memmap)
    assert values_ND.dtype == numpy.float32
    assert values_ND.tolist() == [[0, 2], [4, 6], [8, 10]]
    assert (tmp_path / "made" / made.key / "matrix.npy").exists()


def test_a_row_that_is_not_finite_is_named(tmp_path: Path) -> None:
    with asking(run_in(tmp_path)), pytest.raises(StageError, match="row 'bad'"):
        broken(2)
