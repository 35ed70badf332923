"""What a run's folder holds about its controls: a folder each, with `control.json` beside what every run has.

Knows files, neither methods nor how a control is played.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from selfalign.folder import RunFolder
from selfalign.store import write_text

NOTE = "control.json"
State = Literal["begun", "played", "skipped", "failed"]
STATES: tuple[State, ...] = ("begun", "played", "skipped", "failed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Noted:
    """What is written down about a control: what it is, how it ended and why, and for which models of the run."""

    name: str
    called: str
    says: str
    equal: str
    state: State
    why: str = ""
    place: int = 0
    of: tuple[str, ...] = ()
    changes: tuple[tuple[str, Any, Any], ...] = ()


def folder_of(run: RunFolder, name: str) -> RunFolder:
    """The folder of one control of a run."""
    return RunFolder(run.path / "controls" / name)


def note(run: RunFolder, noted: Noted) -> None:
    """Write down how far a control is.

    Raises:
        StoreError: the disk is full or not writable.
    """
    place = folder_of(run, noted.name).path
    place.mkdir(parents=True, exist_ok=True)
    write_text(place / NOTE, json.dumps(asdict(noted), indent=1, ensure_ascii=False) + "\n")


def noted_in(run: RunFolder) -> list[Noted]:
    """What is written down about the controls of a run, in their order; what cannot be read is left out."""
    found = [read for path in sorted((run.path / "controls").glob(f"*/{NOTE}")) if (read := noted_at(path))]
    return sorted(found, key=lambda one: (one.place, one.name))


def noted_at(path: Path) -> Noted | None:
    """What one file says; None if it is not a file as `note` writes it."""
    try:
        found = json.loads(path.read_text("utf-8"))
        return noted_from(found, name=path.parent.name)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def noted_from(found: Mapping[str, Any], *, name: str) -> Noted:
    """Plain data as a note; its name is that of its folder, wherever that was copied to."""
    texts = {key: str(found[key]) for key in ("called", "says", "equal", "why")}
    if found["state"] not in STATES:
        raise ValueError(found["state"])
    return Noted(
        name=name, state=found["state"], place=int(found["place"]), of=tuple(map(str, found["of"])),
        changes=tuple((str(path), before, after) for path, before, after in found["changes"]), **texts,
    )  # fmt: skip


def models_of(rounds: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The models of a run's rounds, without the base's."""
    return tuple(str(event["model"]) for event in rounds[1:])
