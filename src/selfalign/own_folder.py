"""A folder that a command may write again: only one that is empty or that the same command wrote before.

Such a folder is known by its note, a JSON file. Knows nothing of what else lies in it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfalign.errors import RecipeError
from selfalign.tables import disk_error

STAGED, LOCK = ".writing", ".lock"


@contextmanager
def written_together(folder: Path, *, note: str) -> Iterator[Path]:
    """A folder out of sight to write files into; at the end they are moved to their places, and other files stay.

    The note comes first: half a folder must be known as its command's.

    Raises:
        StoreError: the disk is full or not writable.
    """
    staged = folder / STAGED
    try:
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        yield staged
        for name in sorted((path.name for path in staged.iterdir()), key=lambda name: (name != note, name)):
            os.replace(staged / name, folder / name)
        staged.rmdir()
    except OSError as error:
        raise disk_error(folder, error) from error


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnFolder:
    """What a command's folders are known by: the note's file name, who made it, and what one holds, in a word."""

    note: str
    made_by: str
    holds: str

    def earlier_note(self, folder: Path) -> dict[str, Any]:
        """What the command noted in a folder before; empty where it did not."""
        try:
            note = json.loads((folder / self.note).read_text("utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return note if isinstance(note, dict) and note.get("made_by") == self.made_by else {}

    def check_free(self, folder: Path, data: str, *, named: bool) -> None:
        """Refuse a folder that holds what the command did not write, and one that nobody named and other data has.

        Raises:
            RecipeError: it is a file, cannot be read, or holds such a thing.
        """
        try:
            if not folder.exists():
                return
            if not folder.is_dir():
                raise RecipeError(f"{folder} is a file: name another folder with --output")
            names = sorted(path.name for path in folder.iterdir() if path.name not in (STAGED, LOCK))
        except OSError as error:
            raise RecipeError(
                f"{folder}: cannot be read: {error.strerror}; name another folder with --output"
            ) from error
        if not names:
            return
        note = self.earlier_note(folder)
        if not note:
            held = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            raise RecipeError(
                f"{folder} holds {held} and no earlier {self.holds}; only a folder this command wrote is written "
                "again: name another folder with --output"
            )
        if not named and note.get("ref") != data:
            raise RecipeError(
                f"{folder} holds a {self.holds} from {note.get('ref')}: name another folder for this one with --output"
            )
