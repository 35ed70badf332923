"""The folder of a selection: the chosen rows, why each was chosen, a page, and a note by which the folder is known.

Files are prepared out of sight and then moved to their names, so a crash leaves the earlier selection or this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from selfalign.data.writing import unit_of, write_chosen
from selfalign.own_folder import OwnFolder, written_together
from selfalign.report.reasons import why_text
from selfalign.report.selection import Seen, selection_page
from selfalign.selecting.wish import Wish
from selfalign.store import write_text
from selfalign.types import Source

NOTE, WHY, PAGE = "selection.json", "why.csv", "report.html"
MADE_BY = "selfalign select"
OWN = OwnFolder(note=NOTE, made_by=MADE_BY, holds="selection")


@dataclass(frozen=True, slots=True)
class Output:
    """Where everything lies."""

    folder: Path
    chosen: Path
    why: Path
    report: Path


def folder_of(wish: Wish, source: Source, count: int) -> Path:
    """The folder that was asked for, else `selected/<data>-<selector>-<rows>`."""
    if wish.output is not None:
        return wish.output
    name = source.format.partition(":")[2]
    if source.ref.startswith("embedded:"):
        name = source.ref.removeprefix("embedded:").replace("#", "-")
    return Path("selected") / f"{name}-{wish.by}-{count}"


def write_output(seen: Seen, source: Source, folder: Path, asked: Mapping[str, str]) -> Output:
    """Write the folder's files; an earlier selection in it is replaced, other files stay.

    Raises:
        RecipeError: the data changed while the command worked.
        StoreError: the disk is full or not writable.
    """
    numbers = {chat.id: number for number, chat in enumerate(seen.pool)}
    with written_together(folder, note=NOTE) as staged:
        chosen = write_chosen(source, [numbers[choice.id] for choice in seen.choices], staged)
        places = [f"{unit_of(source)} {place:,}" for place in chosen.places]
        write_text(staged / WHY, why_text(seen, chosen.places, unit=unit_of(source)))
        write_text(staged / PAGE, selection_page(seen, places))
        write_text(staged / NOTE, note_text(seen, source, chosen.path.name, asked))
        before = OWN.earlier_note(folder).get("file")
    for stale in folder.glob("chosen.*"):
        if stale.name == before != chosen.path.name:
            stale.unlink(missing_ok=True)
    return Output(folder, folder / chosen.path.name, folder / WHY, folder / PAGE)


def note_text(seen: Seen, source: Source, chosen: str, asked: Mapping[str, str]) -> str:
    """What was selected and the calls that did it, for programs."""
    note = {
        "made_by": MADE_BY,
        "ref": seen.data,
        "digest": source.digest,
        "by": seen.by,
        "rows": len(seen.pool),
        "chosen": len(seen.choices),
        "file": chosen,
        "facts": dict(seen.facts),
        "measures": {one.id: {"says": one.says, "chosen": one.chosen, "pool": one.pool} for one in seen.measures},
        "calls": [{"stage": stage, "key": key} for key, stage in asked.items()],
    }
    return json.dumps(note, indent=1) + "\n"
