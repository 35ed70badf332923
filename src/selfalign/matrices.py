"""Float matrices on disk: one `.npy` file that is read memory-mapped, and the ids of its rows.

A large matrix is filled shard by shard in place, so that a killed call goes on from its last finished shard and the
disk holds every value once. It does not know stages, keys or the store.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfalign.errors import StageError, StoreError
from selfalign.tables import disk_error

MATRIX, IDS = "matrix.npy", "ids.json"
CHECKED_BYTES = 16 << 20


class GrowingMatrix:
    """A float32 matrix (N, D) being filled in a folder that survives a crash.

    D is known with the first rows. A shard counts as finished once its values are on the disk and a marker named by
    its rows lies beside them; shards that were cut otherwise are not taken for this one.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder = folder
        self.rows = rows
        self.values_ND: Any = None

    def has(self, shard: str) -> bool:
        """Whether a shard is finished."""
        return self.marker(shard).exists() and self.opened() is not None

    def put(self, shard: str, start: int, values_BD: Any, row_ids: Sequence[str]) -> None:
        """Write the rows of a shard, from row `start` on, and then its marker.

        Raises:
            StageError: the values are not a row for each id, or one is not finite (names the row).
            StoreError: the disk is full or not writable.
        """
        import numpy

        values_BD = numpy.asarray(values_BD, dtype=numpy.float32)
        check_shape(values_BD, row_ids)
        check_finite(values_BD, row_ids)
        try:
            values_ND = self.opened()
            if values_ND is None:
                values_ND = self.created(values_BD.shape[1])
            if values_ND.shape[1] != values_BD.shape[1]:
                raise StageError(f"vectors of {values_BD.shape[1]} values came after some of {values_ND.shape[1]}")
            values_ND[start : start + len(values_BD)] = values_BD
            values_ND.flush()
            self.marker(shard).touch()
        except OSError as error:
            raise disk_error(self.folder / MATRIX, error) from error

    def opened(self) -> Any:
        """The memory-mapped array; None while there is none that fits."""
        import numpy

        if self.values_ND is None and (self.folder / MATRIX).exists():
            try:
                values_ND = numpy.load(self.folder / MATRIX, mmap_mode="r+", allow_pickle=False)
            except (OSError, ValueError):
                return None
            self.values_ND = values_ND if len(values_ND) == self.rows else None
        return self.values_ND

    def created(self, dimensions: int) -> Any:
        """A new array, no shard of it finished."""
        import numpy

        for marker in self.folder.glob("*.done"):
            marker.unlink()
        path = self.folder / MATRIX
        self.values_ND = numpy.lib.format.open_memmap(
            path, mode="w+", dtype=numpy.float32, shape=(self.rows, dimensions)
        )
        reserve(path, path.stat().st_size)
        return self.values_ND

    def marker(self, shard: str) -> Path:
        """The file that says a shard is finished."""
        return self.folder / f"{shard}.done"

    def moved_to(self, folder: Path) -> None:
        """Make the finished matrix a file of `folder`."""
        self.values_ND = None
        os.replace(self.folder / MATRIX, folder / MATRIX)


def reserve(path: Path, size_bytes: int) -> None:
    """Take a file's space on the disk now, where the system can.

    A disk that fills up under a memory map kills the process instead of raising an error.
    """
    if not hasattr(os, "posix_fallocate") or size_bytes == 0:
        return
    with path.open("ab") as handle:
        os.posix_fallocate(handle.fileno(), 0, size_bytes)


def check_shape(values_ND: Any, row_ids: Sequence[str]) -> None:
    """Refuse what is not one vector for each id."""
    if values_ND.ndim != 2 or len(values_ND) != len(row_ids):
        raise StageError(f"{len(row_ids)} row ids came with values of shape {values_ND.shape}: one vector a row is due")


def check_finite(values_ND: Any, row_ids: Sequence[str]) -> None:
    """Refuse a matrix with a value that is not finite, naming the row; blocks keep the memory small."""
    import numpy

    step = max(1, CHECKED_BYTES // max(1, values_ND[:1].nbytes))
    for start in range(0, len(values_ND), step):
        finite_B = numpy.isfinite(values_ND[start : start + step]).all(axis=1)
        if not finite_B.all():
            name = row_ids[start + int(finite_B.argmin())]
            raise StageError(f"row {name!r} of the matrix holds a value that is not finite")


def write_matrix(folder: Path, row_ids: Sequence[str], values_ND: Any) -> None:
    """Write a float array (N, D) as `matrix.npy` and its row ids as `ids.json`, each whole or not at all.

    float64 stays float64, everything else becomes float32.

    Raises:
        StageError: ids and rows differ in number, or a value is not finite (names the row).
        StoreError: the disk is full or not writable.
    """
    import numpy

    values_ND = numpy.asarray(values_ND)
    if values_ND.dtype != numpy.float64:  # digits that somebody gave are kept: near rows may differ in them only
        values_ND = values_ND.astype(numpy.float32, copy=False)
    check_shape(values_ND, row_ids)
    check_finite(values_ND, row_ids)
    partial = folder / f"{MATRIX}.writing"
    try:
        write_ids(folder, row_ids)
        with partial.open("wb") as handle:
            numpy.save(handle, values_ND, allow_pickle=False)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, folder / MATRIX)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(folder / MATRIX, error) from error


def write_ids(folder: Path, row_ids: Sequence[str]) -> None:
    """Write the ids of a matrix's rows, whole or not at all."""
    partial = folder / f"{IDS}.writing"
    try:
        with partial.open("w", encoding="utf-8") as handle:
            json.dump(list(row_ids), handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, folder / IDS)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(folder / IDS, error) from error


def read_matrix(folder: Path) -> tuple[list[str], Any]:
    """The row ids and the memory-mapped float array (N, D) that was written here."""
    import numpy

    try:
        row_ids: list[str] = json.loads((folder / IDS).read_text("utf-8"))
        return row_ids, numpy.load(folder / MATRIX, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{folder} holds no readable matrix ({error}); 'selfalign doctor' names broken files"
        ) from error
