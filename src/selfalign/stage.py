"""The kernel: a stage is a plain function whose call is remembered.

Outside: calling a stage asks the ambient `Run` and gives back an inert handle. Inside a body: `rows`, `in_shards`,
`serving`, `fitting`, `scratch`, `note`, `drop` reach what the call is carried out with. The kernel knows calls, keys
and the store; it does not know what any stage does, nor which engine or executor is in use.
"""

from __future__ import annotations

import importlib
import inspect
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, get_args, get_type_hints, overload

from selfalign import weights
from selfalign.errors import SelfAlignError, StageError
from selfalign.keys import Call, canonical, is_default
from selfalign.ports import LM, Advance, Engine, Order, Tokenizer, Trainer, TrainingOrder
from selfalign.ports import Step as TrainingStep
from selfalign.store import Store, write_text
from selfalign.tables import read_rows, write_rows
from selfalign.types import Dropped, Model, Table

Needs = Literal["driver", "serve", "train"]
Arguments = ParamSpec("Arguments")
Row = TypeVar("Row")
Item = TypeVar("Item")
Handle = TypeVar("Handle", covariant=True)

ROWS_PER_FILE = 50_000


@dataclass(frozen=True, slots=True)
class Weights:
    """What the body of a stage that makes a model returns, once its folder `scratch()/../model` is complete."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much a call is expected to make and to do: for plans and progress, never for identity.

    `prompt_tokens` and `answer_tokens` are those of the rows made; `work_tokens` pass through the model.
    """

    rows: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    work_tokens: int = 0


Expect = Callable[..., Size]


# ------------------------------------------------------------------------------------ outside: calling


class Asked(Protocol):
    """What carries out, or only plans, the stage calls of a recipe."""

    def ask(self, stage: Stage[Any, Any], call: Call, arguments: Mapping[str, Any]) -> None:
        """See to it that the result of this call exists (or note that it would be made)."""


_asked: ContextVar[Asked] = ContextVar("asked")


@contextmanager
def asking(run: Asked) -> Iterator[None]:
    """Make `run` the one whom stage calls ask, for the length of the block."""
    token = _asked.set(run)
    try:
        yield
    finally:
        _asked.reset(token)


@dataclass(frozen=True)
class Stage(Generic[Arguments, Handle]):
    """A remembered function. Calling it gives a handle; `body` is the work."""

    name: str
    version: int
    needs: Needs
    body: Callable[..., Any]
    row_type: str | None
    expect: Expect

    def __call__(self, *positional: Arguments.args, **named: Arguments.kwargs) -> Handle:
        """The handle of this call's result, which exists (or is planned) when this returns."""
        arguments = bound(self.body, positional, named)
        call = Call(stage=self.name, version=self.version, arguments=changed_arguments(self.body, arguments))
        try:
            run = _asked.get()
        except LookupError:
            raise StageError(
                f"stage '{self.name}' was called outside a run; call it inside a method's play()"
            ) from None
        run.ask(self, call, arguments)
        made: Any = Table(call.key) if self.row_type else Model(f"made:{call.key}")
        return made  # type: ignore[no-any-return]


class StageOf(Protocol):
    """The decorator that `stage(…)` gives; the row type of a body decides the handle of its stage."""

    @overload
    def __call__(self, body: Callable[Arguments, Iterator[Row]]) -> Stage[Arguments, Table[Row]]: ...
    @overload
    def __call__(self, body: Callable[Arguments, Weights]) -> Stage[Arguments, Model]: ...


def stage(*, version: int, needs: Needs, expect: Expect) -> StageOf:
    """Declare a stage. Raise `version` when the meaning of the body changes (`stages.lock` notices).

    `expect(size, **arguments)` estimates the call; `size(handle)` is the estimate of an input.
    """

    def declare(body: Callable[..., Any]) -> Stage[Any, Any]:
        return Stage(body.__name__, version, needs, body, row_type_of(body), expect)

    return declare  # type: ignore[return-value]


def row_type_of(body: Callable[..., Any]) -> str | None:
    """The name of the row type a body yields; None when it makes a model."""
    made = get_type_hints(body)["return"]
    return None if made is Weights else str(get_args(made)[0].__name__)


def bound(body: Callable[..., Any], positional: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call by name, defaults filled in."""
    signature = inspect.signature(body).bind(*positional, **named)
    signature.apply_defaults()
    return dict(signature.arguments)


def changed_arguments(body: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The canonical arguments, those equal to their default left out (so a new option keeps old keys)."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(body).parameters.items()}
    return {
        name: canonical(value)
        for name, value in arguments.items()
        if defaults[name] is inspect.Parameter.empty or not is_default(value, defaults[name])
    }


# ------------------------------------------------------------------------------------- inside: bodies


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
    out = work.folder / "model"
    return work.trainer.fit(
        order, model=model, folder=folder_of(model, work.store), out=out, scratch=scratch(), advance=work.advance
    )


def folder_of(model: Model, store: Store) -> Path | None:
    """Where a model's weights lie; None when its engine needs none."""
    if model.ref.startswith("made:"):
        return store.model_folder(model.ref.removeprefix("made:"))
    return weights.folder(model)


def in_shards(items: Iterable[Item], work_on: Callable[[list[Item]], Iterable[Row]], *, size: int) -> Iterator[Row]:
    """Work on items `size` at a time; a finished shard is kept and never computed again.

    Shards are cut by position, so a resumed call cuts them as the first one did. Each is one file, written whole.
    """
    here = _work.get()
    assert here.row_type is not None
    folder = scratch()
    for number, shard in enumerate(chunks(items, size)):
        path, refused = folder / f"shard-{number:05}.parquet", folder / f"shard-{number:05}.dropped.parquet"
        if path.exists():
            here.dropped.extend(read_rows(refused, Dropped))
            here.advance(rows=len(shard))
        else:
            before = len(here.dropped)
            made = list(work_on(shard))
            write_rows(refused, here.dropped[before:], Dropped)
            write_rows(path, made, here.row_type)
        yield from read_rows(path, here.row_type)


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
    row_type = weights_or_rows(declared)
    work = Work(Store(order.store), order.scratch, order.engine, order.trainer, advance, row_type)
    started = time.perf_counter()
    token = _work.set(work)
    try:
        result = declared.body(**order.arguments)
        count = write_table(result, order.scratch, row_type) if row_type else 0
    finally:
        _work.reset(token)
    if work.dropped:
        write_rows(order.scratch / "dropped.parquet", work.dropped, Dropped)
    facts = {"rows": count, "row_type": declared.row_type, "dropped": len(work.dropped), "notes": work.notes}
    return {**facts, "seconds": round(time.perf_counter() - started, 3)}


def weights_or_rows(declared: Stage[Any, Any]) -> type | None:
    """The row class a stage yields; None when it makes a model."""
    from selfalign.types import ROW_TYPES

    return ROW_TYPES[declared.row_type] if declared.row_type else None


def write_table(result: Iterable[Any], folder: Path, row_type: type) -> int:
    """Write the rows a body yields to `rows-*.parquet`; gives how many.

    Raises:
        StageError: two rows have one id and one suite, so later stages could not tell them apart.
    """
    seen: set[Any] = set()
    count = 0
    number = -1
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


def described(call: Call, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A record: the call as plain data, then what was found while carrying it out."""
    return {"stage": call.stage, "version": call.version, "arguments": call.arguments, **facts}


def keep_traceback(folder: Path, text: str) -> Path:
    """Write the traceback of an unexpected error beside the partial result; the user sees its place, not its text."""
    path = folder / "error.txt"
    write_text(path, text)
    return path


def size_from(record: Mapping[str, Any]) -> Size:
    """The size noted in a record when its call was made."""
    return Size(**json.loads(json.dumps(record.get("size", {"rows": record.get("rows", 0)}))))


__all__ = [
    "Asked",
    "SelfAlignError",
    "Size",
    "Stage",
    "Weights",
    "advance",
    "asking",
    "carry_out",
    "described",
    "drop",
    "fitted",
    "in_shards",
    "keep_traceback",
    "note",
    "rows",
    "scratch",
    "serving",
    "size_from",
    "stage",
    "tokenizer_of",
]  # fmt: skip
