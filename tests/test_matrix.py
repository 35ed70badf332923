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
from selfalign.work import keep_matrix, keep_vectors, matrix


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


# ------------------------------------------------------------------------------- filled shard by shard


@stage(version=1, needs="driver", expect=as_many)
def filled(count: int, tripping: str) -> Vectors:
    """Vectors of numbered items, five at a time; dies at the item whose mark lies in the folder `tripping`."""

    def vectors_of(shard: list[str]) -> Any:
        for item in shard:
            (Path(tripping) / "seen").open("a").write(f"{item}\n")
            if (Path(tripping) / item).exists():
                raise StageError(f"tripped at {item}")
        return numpy.array([[float(item), 1.0, 2.0] for item in shard])

    keep_vectors([str(n) for n in range(count)], vectors_of, size=5)
    return Vectors()


def test_a_killed_matrix_goes_on_from_its_last_finished_shard(tmp_path: Path) -> None:
    run = run_in(tmp_path / "store")
    (tmp_path / "12").touch()
    with asking(run), pytest.raises(StageError, match="tripped at 12"):
        filled(23, str(tmp_path))
    (tmp_path / "12").unlink()
    (tmp_path / "seen").unlink()
    with asking(run_in(tmp_path / "store")):
        made = filled(23, str(tmp_path))
    assert (tmp_path / "seen").read_text().split() == [str(n) for n in range(10, 23)], "two shards were kept"
    row_ids, values_ND = Store(tmp_path / "store").matrix(made.key)
    assert row_ids == [str(n) for n in range(23)]
    assert values_ND[:, 0].tolist() == list(range(23))
    assert sorted(path.name for path in (tmp_path / "store" / "made" / made.key).iterdir()) == [
        "call.json", "ids.json", "matrix.npy",
    ]  # fmt: skip


def test_a_lost_matrix_file_takes_its_shards_with_it(tmp_path: Path) -> None:
    run = run_in(tmp_path / "store")
    (tmp_path / "12").touch()
    with asking(run), pytest.raises(StageError):
        filled(23, str(tmp_path))
    (tmp_path / "12").unlink()
    for path in (tmp_path / "store" / "partial").rglob("matrix.npy"):
        path.unlink()
    with asking(run_in(tmp_path / "store")):
        made = filled(23, str(tmp_path))
    assert Store(tmp_path / "store").matrix(made.key)[1][:, 0].tolist() == list(range(23))


@stage(version=1, needs="driver", expect=as_many)
def shapeless(widths: tuple[int, ...]) -> Vectors:
    keep_vectors(list(range(len(widths))), lambda shard: numpy.ones((1, widths[shard[0]])), size=1)
    return Vectors()


def test_no_rows_and_vectors_of_unlike_length_are_refused(tmp_path: Path) -> None:
    with asking(run_in(tmp_path)):
        with pytest.raises(StageError, match="no rows to embed"):
            shapeless(())
        with pytest.raises(StageError, match="vectors of 3 values came after some of 2"):
            shapeless((2, 3))
        with pytest.raises(StageError, match="one vector a row"):
            row_for_two((1, 2))


@stage(version=1, needs="driver", expect=as_many)
def row_for_two(items: tuple[int, ...]) -> Vectors:
    keep_vectors(items, lambda shard: numpy.ones((1, 4)), size=2)
    return Vectors()
