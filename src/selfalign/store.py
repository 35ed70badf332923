"""A folder per key: whole or not there.

Work happens in `partial/<key>`; sealing writes `call.json` last and renames the folder to `made/<key>`, so a folder
under `made/` is complete and one under `partial/` is what a crash left behind, ready to be continued. The store does
not know what stages do.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfalign.errors import StoreError
from selfalign.matrices import read_matrix
from selfalign.tables import disk_error, read_rows
from selfalign.types import ROW_TYPES

RECORD = "call.json"
RECORD_PARTS = {"stage", "version", "arguments", "rows", "row_type", "files"}


@dataclass(frozen=True, slots=True)
class Store:
    """Everything stages ever made, by key."""

    root: Path

    def made(self, key: str) -> Path:
        """The folder of a finished result (it may not exist)."""
        return self.root / "made" / key

    def partial(self, key: str) -> Path:
        """The folder a result is being made in."""
        return self.root / "partial" / key

    def has(self, key: str) -> bool:
        """Whether the result of this key is complete."""
        return (self.made(key) / RECORD).exists()

    def record(self, key: str) -> dict[str, Any]:
        """What `seal` wrote about a result: call, rows, seconds, notes, versions, content hashes.

        Raises:
            StoreError: there is no such result, or its record is broken.
        """
        path = self.made(key) / RECORD
        try:
            record: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise StoreError(f"{self.root} holds no result {key}; run the recipe again to make it") from None
        except (OSError, ValueError) as error:
            raise StoreError(f"{path} cannot be read ({error}); {self.remedy(key)}") from error
        if not isinstance(record, dict) or not record.keys() >= RECORD_PARTS:
            raise StoreError(f"{path} is not a record as this version writes it; {self.remedy(key)}")
        return record

    def remedy(self, key: str) -> str:
        """What to do about a finished result that is damaged."""
        return f"delete {self.made(key)} and run the same command again to have it made anew"

    def finished(self) -> list[str]:
        """Every finished key."""
        folder = self.root / "made"
        return sorted(path.name for path in folder.iterdir() if (path / RECORD).exists()) if folder.exists() else []

    def find(self, prefix: str) -> str:
        """The one finished key that starts with `prefix`.

        Raises:
            StoreError: none or several do.
        """
        found = [key for key in self.finished() if key.startswith(prefix)]
        if len(found) != 1:
            what = "no result" if not found else f"{len(found)} results"
            raise StoreError(f"{what} in {self.root} has a key starting with {prefix!r}; 'selfalign show' lists keys")
        return found[0]

    def rows(self, key: str) -> Iterator[Any]:
        """The rows of a finished table, in order."""
        record = self.record(key)
        row_type = ROW_TYPES[record["row_type"]]
        for path in sorted(self.made(key).glob("rows-*.parquet")):
            yield from read_rows(path, row_type)

    def dropped(self, key: str) -> Iterator[Any]:
        """The rows a stage refused, each with its reason."""
        path = self.made(key) / "dropped.parquet"
        return read_rows(path, ROW_TYPES["Dropped"]) if path.exists() else iter(())

    def matrix(self, key: str) -> tuple[list[str], Any]:
        """The row ids and the memory-mapped float32 array (N, D) of a finished matrix."""
        return read_matrix(self.made(key))

    def model_folder(self, key: str) -> Path:
        """The weights folder of a finished model."""
        return self.made(key) / "model"

    @contextmanager
    def claim(self, key: str) -> Iterator[Path]:
        """Hold the right to make a result; gives its partial folder.

        A second process that wants the same key waits here until the first is done or dead (the lock dies with its
        holder), then finds the result, or goes on from what the other left.

        Raises:
            StoreError: the store cannot be written.
        """
        try:
            (self.root / "locks").mkdir(parents=True, exist_ok=True)
            handle = open(self.root / "locks" / key, "w", encoding="utf-8")  # noqa: SIM115 - held open with the lock
            (self.root / "partial").mkdir(exist_ok=True)
        except OSError as error:
            raise disk_error(self.root, error) from error
        with handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not self.has(key):
                try:
                    self.partial(key).mkdir(exist_ok=True)
                    if (self.partial(key) / RECORD).exists():  # its maker died between record and rename
                        self.publish(key)
                except OSError as error:
                    raise disk_error(self.partial(key), error) from error
            yield self.partial(key)

    def seal(self, key: str, record: Mapping[str, Any]) -> None:
        """Make a partial folder the finished result: hashes, record last, then one rename.

        Raises:
            StoreError: the disk is full or not writable; the partial folder stays and can be continued.
        """
        folder = self.partial(key)
        try:
            scratch = folder / "scratch"
            kept = [path for path in sorted(folder.rglob("*")) if path.is_file() and scratch not in path.parents]
            files = {str(path.relative_to(folder)): digest_of(path) for path in kept}
            write_text(folder / RECORD, json.dumps({**record, "files": files}, indent=1, ensure_ascii=False))
            self.publish(key)
        except OSError as error:
            raise disk_error(folder, error) from error

    def publish(self, key: str) -> None:
        """Show a partial folder that has its record as finished: shards and checkpoints go, one rename."""
        shutil.rmtree(self.partial(key) / "scratch", ignore_errors=True)
        self.made(key).parent.mkdir(parents=True, exist_ok=True)
        # A folder without a record does not exist; the remains of one must not block the rename.
        shutil.rmtree(self.made(key), ignore_errors=True)
        os.replace(self.partial(key), self.made(key))

    def broken(self, key: str) -> list[str]:
        """The files of a finished result that are missing or differ from what was sealed."""
        folder = self.made(key)
        return [
            name
            for name, digest in self.record(key)["files"].items()
            if not (folder / name).exists() or digest_of(folder / name) != digest
        ]


def digest_of(path: Path) -> str:
    """The content hash of one file (blake2b, 32 hexadecimal digits)."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all, and durable before it is visible.

    Raises:
        StoreError: the disk is full or not writable.
    """
    partial = path.with_name(f"{path.name}.writing")
    try:
        with partial.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(path, error) from error
