"""The folder of a grading: a grade for every row as CSV and JSON lines, and a note by which the folder is known."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selfalign.grading.calibration import Agreement
from selfalign.grading.rubrics import Rubric
from selfalign.own_folder import STAGED, OwnFolder
from selfalign.report.reasons import plain_cell
from selfalign.store import write_text
from selfalign.tables import disk_error
from selfalign.types import Chat, Grade, Source

NOTE, TABLE, LINES = "grading.json", "grades.csv", "grades.jsonl"
MADE_BY = "selfalign grade"
OWN = OwnFolder(note=NOTE, made_by=MADE_BY, holds="grading")
MOST_LETTERS = 300


@dataclass(frozen=True, slots=True)
class Graded:
    """Rows with their grades, and how far those agree with gold grades, if there were any."""

    chats: tuple[Chat, ...]
    grades: tuple[Grade, ...]
    rubric: Rubric
    threshold: float
    agreement: Agreement | None
    data: str


@dataclass(frozen=True, slots=True)
class Output:
    """Where everything lies."""

    folder: Path
    table: Path
    lines: Path
    note: Path


def write_output(graded: Graded, source: Source, folder: Path, asked: Mapping[str, str]) -> Output:
    """Write the folder's files out of sight, then move them to their names; other files stay.

    Raises:
        StoreError: the disk is full or not writable.
    """
    staged = folder / STAGED
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        write_text(staged / TABLE, table_text(graded))
        write_text(staged / LINES, "".join(f"{json.dumps(asdict(one))}\n" for one in graded.grades))
        write_text(staged / NOTE, note_text(graded, source, asked))
        for name in (NOTE, TABLE, LINES):  # the note first: half a folder must be known as ours
            os.replace(staged / name, folder / name)
        staged.rmdir()
    except OSError as error:
        raise disk_error(folder, error) from error
    return Output(folder, folder / TABLE, folder / LINES, folder / NOTE)


def table_text(graded: Graded) -> str:
    """The grades for a spreadsheet, a row each; long texts are shortened."""
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(("row", "id", "grade", "why not", "entropy", "prompt", "answer", "reply"))
    for number, (chat, one) in enumerate(zip(graded.chats, graded.grades, strict=True), 1):
        table.writerow((number, *map(cell, cells(chat, one))))
    return text.getvalue()


def cells(chat: Chat, one: Grade) -> Iterator[str]:
    """What a table says about one row."""
    yield one.id
    yield "" if one.value is None else f"{one.value:.4g}"
    yield one.why_unread
    yield "" if one.entropy is None else f"{one.entropy:.4g}"
    yield chat.prompt[-1].content
    yield chat.answer or ""
    yield one.reply


def cell(text: str) -> str:
    """A text as `why.csv` has it, shortened in the middle: nothing invisible, no formula."""
    short = text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS // 2]} … {text[-MOST_LETTERS // 2 :]}"
    return plain_cell(short)


def note_text(graded: Graded, source: Source, asked: Mapping[str, str]) -> str:
    """What was graded, how far it agrees, and the calls that did it, for programs."""
    note = {
        "made_by": MADE_BY,
        "ref": graded.data,
        "digest": source.digest,
        "rubric": asdict(graded.rubric),
        "threshold": graded.threshold,
        "rows": len(graded.grades),
        "unread": sum(one.value is None for one in graded.grades),
        "agreement": None if graded.agreement is None else asdict(graded.agreement),
        "calls": [{"stage": stage, "key": key} for key, stage in asked.items()],
    }
    return json.dumps(without_nan(note), indent=1) + "\n"


def without_nan(value: Any) -> Any:
    """The same data, None for numbers that JSON has no way to write."""
    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
