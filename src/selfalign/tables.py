"""Rows ↔ Parquet, with a schema derived from the row type.

Reads and writes one file at a time, each whole or not at all. It does not know stages, keys or the store.
"""

from __future__ import annotations

import errno
import os
import types as builtin_types
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from selfalign.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa


def schema_of(row_type: type) -> pa.Schema:
    """The typed Parquet schema of a row dataclass: a field a column, None only where the type allows it."""
    import pyarrow as pa

    hints = hints_of(row_type)
    return pa.schema([arrow_field(item.name, hints[item.name]) for item in fields(row_type)])


def arrow_field(name: str, annotation: Any) -> pa.Field:
    """One column: text, whole number, number, yes/no, a row, or a list of one of these; `| None` makes it nullable."""
    import pyarrow as pa

    if get_origin(annotation) in (Union, builtin_types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return arrow_field(name, kinds[0]).with_nullable(True)
    return pa.field(name, arrow_type(annotation), nullable=False)


def arrow_type(annotation: Any) -> pa.DataType:
    """The Arrow type of a field's annotation."""
    import pyarrow as pa

    plain = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if annotation in plain:
        return plain[annotation]
    if get_origin(annotation) is tuple:
        return pa.list_(arrow_field("item", get_args(annotation)[0]))
    if is_dataclass(annotation) and isinstance(annotation, type):
        return pa.struct(list(schema_of(annotation)))
    return pa.string()  # a Literal of texts


def write_rows(path: Path, rows: Sequence[Any], row_type: type) -> None:
    """Write rows to one Parquet file; a reader sees all of it or nothing.

    Raises:
        StoreError: the disk is full or not writable; nothing is left under `path`.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    partial = path.with_name(f"{path.name}.writing")
    try:
        table = pa.Table.from_pylist([plain(row) for row in rows], schema=schema_of(row_type))
        with partial.open("wb") as handle:
            parquet.write_table(table, handle, compression="zstd")
            handle.flush()
            os.fsync(handle.fileno())  # a power cut must not leave an empty file under a finished name
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise disk_error(path, error) from error


def read_rows(path: Path, row_type: type) -> Iterator[Any]:
    """The rows of one Parquet file, in order.

    Raises:
        StoreError: the file is missing or not what this row type wrote.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        with parquet.ParquetFile(path) as file:  # read_table imports pandas where it is installed
            table = file.read()
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(
            f"{path} cannot be read as a table ({error}); run 'selfalign doctor' to find broken files"
        ) from error
    hints = hints_of(row_type)
    for row in table.to_pylist():
        yield row_type(**{name: typed(value, hints[name]) for name, value in row.items()})


def plain(value: Any) -> Any:
    """A row as dicts, lists and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        # A model may emit half of a surrogate pair; Parquet text is UTF-8 and cannot hold it.
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


def typed(value: Any, annotation: Any) -> Any:
    """A value read from Parquet, back as the row type's field."""
    if value is None:
        return None
    if get_origin(annotation) is tuple:
        return tuple(typed(item, get_args(annotation)[0]) for item in value)
    if is_dataclass(annotation) and isinstance(annotation, type):
        hints = hints_of(annotation)
        return annotation(**{name: typed(item, hints[name]) for name, item in value.items()})
    return value


@cache
def hints_of(row_type: type) -> dict[str, Any]:
    """The types of a row's fields, resolved once."""
    return get_type_hints(row_type)


def disk_error(path: Path, error: OSError) -> StoreError:
    """An operating-system error on a write, as one message with the remedy; one that is a message already stays."""
    if isinstance(error, StoreError):
        return error
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or error.errno is None
    remedy = (
        "Free some space or set place.store to another disk"
        if full
        else ("Name places that can be written with place.store and --output")
    )
    return StoreError(
        f"cannot write {path}: {error.strerror or error}; what was finished is kept. "
        f"{remedy}, then run the same command again"
    )
