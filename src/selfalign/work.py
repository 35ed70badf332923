"""The kernel, from inside: what the body of a stage can reach, and how a call is carried out.

`rows`, `in_shards`, `serving`, `fitted`, `scratch`, `note` and `drop` reach the call at work. It knows the store, an
engine and a trainer through their ports; it does not know which ones, nor what any body does.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from selfalign import weights
from selfalign.errors import StageError, StoreError
from selfalign.keys import seed_of
from selfalign.matrices import MATRIX, GrowingMatrix, read_matrix, write_ids, write_matrix
from selfalign.ports import LM, Advance, Engine, Order, Tokenizer, Trainer, TrainingOrder
from selfalign.ports import Step as TrainingStep
from selfalign.store import Store, write_text
from selfalign.tables import read_rows, write_rows
from selfalign.types import ROW_TYPES, Dropped, Matrix, Model, Table

Row = TypeVar("Row")
Item = TypeVar("Item")

ROWS_PER_FILE = 50_000
TRACEBACK = "error.txt"


@dataclass(slots=True)
class Work:
    """What one call is carried out with. Never part of its identity."""

    store: Store
    folder: Path
    engine: Engine
    trainer: Trainer
    advance: Advance
    row_type: type | None
    notes: dict[str, Any] = field(default_factory=dict)
    dropped: list[Dropped] = field(default_factory=list)


_work: ContextVar[Work] = ContextVar("work")


def rows(table: Table[Row]) -> Iterator[Row]:
    """The rows of an input table, in order."""
    return _work.get().store.rows(table.key)


def matrix(handle: Matrix) -> tuple[list[str], Any]:
    """The row ids and the float array (N, D) of an input matrix, memory-mapped: read what you need of it."""
    return _work.get().store.matrix(handle.key)


def keep_matrix(row_ids: Sequence[str], values_ND: Any) -> None:
    """Make a float array (N, D) this call's result, a row for each id: float64 if it is that, else float32.

    Raises:
        StageError: ids and rows differ in number, or a row holds a value that is not finite (names it).
    """
    write_matrix(_work.get().folder, row_ids, values_ND)


def keep_vectors(items: Iterable[Item], vectors_of: Callable[[list[Item]], Any], *, size: int) -> None:
    """Make this call's result the float32 matrix of one vector for each item, `size` items at a time.

    A finished shard is kept and never computed again; see `in_shards`.

    Raises:
        StageError: there are no items, `vectors_of` gave another number of rows, or a value is not finite.
    """
    here, given = _work.get(), list(items)
    if not given:
        raise StageError("there are no rows to embed; look at what the stages before dropped, and why")
    row_ids = [str(getattr(item, "id", item)) for item in given]
    growing = GrowingMatrix(scratch(), len(given))
    for number, shard in enumerate(chunks(given, size)):
        start = number * size
        ids = row_ids[start : start + len(shard)]
        name = shard_name(number, shard)
        if growing.has(name):
            here.advance(rows=len(shard))
        else:
            growing.put(name, start, vectors_of(shard), ids)
    write_ids(here.folder, row_ids)
    growing.moved_to(here.folder)


def scratch() -> Path:
    """A folder that survives a crash of this call and is removed when the call is done."""
    folder = _work.get().folder / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def note(name: str, value: Any) -> None:
    """Leave a number (or any JSON value) about this call for the report."""
    _work.get().notes[name] = value


def drop(row_id: str, reason: str) -> None:
    """Refuse a row, keeping its id and the reason."""
    _work.get().dropped.append(Dropped(id=row_id, reason=reason))


def dropped_so_far() -> Sequence[Dropped]:
    """The rows this call has refused, those of shards finished before a crash included."""
    return _work.get().dropped


def how_made(table: Table[Any]) -> tuple[dict[str, Any], list[str]] | None:
    """The record of a table this call was given, or of one behind it, and why its stage refused rows; None if gone."""
    store = _work.get().store
    if not store.has(table.key):
        return None
    return store.record(table.key), [one.reason for one in store.dropped(table.key)]


def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
    """Tell the one who waits what is done; bodies pass this on to engines and trainers."""
    _work.get().advance(rows=rows, tokens=tokens, step=step)


@contextmanager
def serving(model: Model) -> Iterator[LM]:
    """The model, opened by the ambient engine."""
    work = _work.get()
    with work.engine.open(model, folder_of(model, work.store)) as opened:
        yield opened


def tokenizer_of(model: Model) -> Tokenizer:
    """The tokenizer with which training rows of this model are rendered."""
    work = _work.get()
    return work.trainer.tokenizer(model, folder_of(model, work.store))


def fitted(model: Model, order: TrainingOrder) -> list[TrainingStep]:
    """Have the ambient trainer carry out a training order; its model becomes this call's result."""
    work = _work.get()
    work.engine.release()  # the trained model is the only one resident
    out = work.folder / "model"
    return work.trainer.fit(
        order, model=model, folder=folder_of(model, work.store), out=out, scratch=scratch(), advance=work.advance
    )


def folder_of(model: Model, store: Store) -> Path | None:
    """Where a model's weights lie; None when its engine needs none."""
    if model.ref.startswith("made:"):
        return store.model_folder(model.ref.removeprefix("made:"))
    return weights.folder(model)


def for_another_program(model: Model) -> tuple[Path | None, Engine]:
    """Where a model's weights lie, and the engine whose device and precision are meant; it lets go of its memory."""
    work = _work.get()
    work.engine.release()
    return folder_of(model, work.store), work.engine


def in_shards(
    items: Iterable[Item], work_on: Callable[[list[Item]], Iterable[Row]], *, size: int, counted: bool = True
) -> Iterator[Row]:
    """Work on items `size` at a time; a finished shard is kept and never computed again.

    Shards are cut by position, so a resumed call cuts them as the first one did; each is one file, written whole and
    named by the ids in it, so a shard that was cut otherwise is not taken for this one. What `work_on` drops is kept
    with its shard; a `note` belongs after the loop, where a resumed call passes again. `counted`: whether items are the
    rows that progress counts, so that those of finished shards are told at once.
    """
    here = _work.get()
    assert here.row_type is not None
    folder = scratch()
    for number, shard in enumerate(chunks(items, size)):
        name = shard_name(number, shard)
        path, refused = folder / f"{name}.parquet", folder / f"{name}.dropped.parquet"
        finished = shard_rows(path, here.row_type)
        if finished is not None:
            here.dropped.extend(read_rows(refused, Dropped))
            here.advance(rows=len(shard) if counted else 0)
        else:
            before = len(here.dropped)
            made = list(work_on(shard))
            write_rows(refused, here.dropped[before:], Dropped)
            write_rows(path, made, here.row_type)
            finished = list(read_rows(path, here.row_type))
        yield from finished


def shard_name(number: int, shard: Sequence[Any]) -> str:
    """A name for a shard by its place and the ids in it."""
    return f"shard-{number:05}-{seed_of(*(str(getattr(item, 'id', item)) for item in shard)):016x}"


def shard_rows(path: Path, row_type: type) -> list[Any] | None:
    """The rows of a finished shard; None when there is none, or none that can be read (a disk may lose a file)."""
    try:
        return list(read_rows(path, row_type)) if path.exists() else None
    except StoreError:
        return None


def chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Consecutive lists of `size` items; the last may be shorter."""
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


# ------------------------------------------------------------------------------- carrying out an order


def carry_out(order: Order, *, advance: Advance) -> dict[str, Any]:
    """Run one stage body in this process and leave its result in `order.scratch`; gives the facts for its record.

    Raises:
        SelfAlignError: as the body raised it; what it finished stays in the folder.
    """
    declared = getattr(importlib.import_module(order.module), order.name)
    row_type = ROW_TYPES[declared.row_type] if declared.row_type else None
    work = Work(Store(order.store), order.scratch, order.engine, order.trainer, advance, row_type)
    started = time.perf_counter()
    clear_unfinished(order.scratch)
    token = _work.set(work)
    try:
        result = declared.body(**order.arguments)
        count = write_table(result, order.scratch, row_type) if row_type else vectors_in(order.scratch)
    finally:
        _work.reset(token)
    if work.dropped:
        write_rows(order.scratch / "dropped.parquet", work.dropped, Dropped)
    facts = {"rows": count, "row_type": declared.row_type, "dropped": len(work.dropped), "notes": work.notes}
    return {**facts, "seconds": round(time.perf_counter() - started, 3), "device": device()}


def vectors_in(folder: Path) -> int:
    """How many vectors a result that is a matrix has; 0 where there is none."""
    return len(read_matrix(folder)[0]) if (folder / MATRIX).exists() else 0


def clear_unfinished(folder: Path) -> None:
    """Remove what a crash left half-made beside the scratch folder, whose finished shards and checkpoints are kept."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != "scratch":
            shutil.rmtree(path)
        elif not path.is_dir():
            path.unlink()


def device() -> str:
    """What this process computes on: the accelerator in use, else the kind and number of processors."""
    torch: Any = sys.modules.get("torch")  # never imported for this: a body that needed it has done so
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


def write_table(result: Iterable[Any], folder: Path, row_type: type) -> int:
    """Write the rows a body yields to `rows-*.parquet`; gives how many.

    Raises:
        StageError: two rows have one id and one suite, so later stages could not tell them apart.
    """
    seen: set[Any] = set()
    count, number = 0, -1
    for number, chunk in enumerate(chunks(result, ROWS_PER_FILE)):
        for row in chunk:
            name = (row.id, getattr(row, "suite", ""))
            if name in seen:
                raise StageError(f"two rows have the id {row.id!r}; ids within a table must differ")
            seen.add(name)
        write_rows(folder / f"rows-{number:05}.parquet", chunk, row_type)
        count += len(chunk)
    if number < 0:
        write_rows(folder / "rows-00000.parquet", [], row_type)
    return count


def keep_traceback(folder: Path, text: str) -> Path:
    """Write the traceback of an unexpected error beside the partial result; the user sees its place, not its text."""
    path = folder / TRACEBACK
    write_text(path, text)
    return path
