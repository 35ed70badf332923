"""The folder of a grading: a grade for every row as CSV and JSON lines, and a note by which the folder is known."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from selfalign.errors import RecipeError
from selfalign.grade_command.gold import Gold
from selfalign.grading.calibration import Agreement
from selfalign.grading.rubrics import Rubric
from selfalign.own_folder import OwnFolder, written_together
from selfalign.report.reasons import plain_cell
from selfalign.store import write_text
from selfalign.types import Chat, Grade, Source

NOTE, TABLE, LINES = "grading.json", "grades.csv", "grades.jsonl"
MADE_BY = "selfalign grade"
OWN = OwnFolder(note=NOTE, made_by=MADE_BY, holds="grading")
MOST_LETTERS = 300
# Three such parts, a reading and the dashes stay below the 255 bytes that a folder's name may have.
MOST_NAME_BYTES = 60


@dataclass(frozen=True, slots=True)
class Graded:
    """Rows with their grades, who graded them, and how far they agree with gold grades, if there were any."""

    chats: tuple[Chat, ...]
    grades: tuple[Grade, ...]
    rubric: Rubric
    threshold: float
    gold: Gold | None
    agreement: Agreement | None
    data: str
    graded_by: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Output:
    """Where everything lies."""

    folder: Path
    table: Path
    lines: Path
    note: Path


# ---------------------------------------------------------------------------------------------- the folder


def folder_of(source: Source, graded_by: Mapping[str, Any]) -> Path:
    """The folder of a grading for which none was named: `graded/<data>-<rubric>-<model>-<reading>`."""
    embedded = source.ref.startswith("embedded:")
    data = source.ref.removeprefix("embedded:") if embedded else source.format.partition(":")[2]
    model = Path(graded_by["model"].partition(":")[2]).name
    names = (data, graded_by["rubric"]["name"], model, graded_by["reading"])
    return Path("graded") / "-".join(map(plain_name, names))


def plain_name(text: str) -> str:
    """A text as part of a folder's name: letters, digits and dots; nothing in it can lead to another folder."""
    plain = re.sub(r"[^\w.]+", "-", text).strip("-.")
    return plain.encode("utf-8", "ignore")[:MOST_NAME_BYTES].decode("utf-8", "ignore") or "unnamed"


def check_folder(folder: Path, data: str, graded_by: Mapping[str, Any], *, named: bool) -> None:
    """Refuse a folder that others wrote, and one that nobody named and that has grades given otherwise.

    Raises:
        RecipeError: says what is in it, or in what the earlier grading differs.
    """
    OWN.check_free(folder, data, named=named)
    note = OWN.earlier_note(folder)
    # Data and weights that changed under their names are meant to replace what is there.
    other = [name for name, value in plain(graded_by).items() if name != "model_digest" and note.get(name) != value]
    if note and not named and other:
        raise RecipeError(
            f"{folder} holds a grading with another {', '.join(other)}: name another folder for this one with --output"
        )


def plain(value: Any) -> Any:
    """The same data as a reader of the note finds them."""
    return json.loads(json.dumps(value))


# ---------------------------------------------------------------------------------------------- its files


def write_output(graded: Graded, source: Source, folder: Path, asked: Mapping[str, str]) -> Output:
    """Write the folder's files out of sight, then move them to their names; other files stay.

    Raises:
        StoreError: the disk is full or not writable.
    """
    with written_together(folder, note=NOTE) as staged:
        write_text(staged / TABLE, table_text(graded))
        write_text(staged / LINES, "".join(f"{json.dumps(asdict(one))}\n" for one in graded.grades))
        write_text(staged / NOTE, note_text(graded, source, asked))
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
    """What was graded by whom, how far it agrees with which gold grades, and the calls that did it, for programs."""
    note = {
        "made_by": MADE_BY,
        "ref": graded.data,
        "digest": source.digest,
        **graded.graded_by,
        "threshold": graded.threshold,
        "rows": len(graded.grades),
        "unread": sum(one.value is None for one in graded.grades),
        "gold": None if graded.gold is None else gold_noted(graded.gold),
        "agreement": None if graded.agreement is None else asdict(graded.agreement),
        "calls": [{"stage": stage, "key": key} for key, stage in asked.items()],
    }
    return json.dumps(without_nan(note), indent=1) + "\n"


def gold_noted(gold: Gold) -> dict[str, Any]:
    """Where gold grades came from, and what met nothing; the grades themselves stay where they are."""
    return {name: value for name, value in asdict(gold).items() if name != "grades"}


def without_nan(value: Any) -> Any:
    """The same data, None for numbers that JSON has no way to write."""
    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
