"""What is asked of lm-evaluation-harness, and the folder of own tasks, pinned by content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfalign.errors import RecipeError
from selfalign.keys import changed_fields
from selfalign.weights import file_digest

# A folder of tasks is hashed whole; one with more in it was hardly meant.
MOST_FILES = 10_000
# They decide how long measuring takes, not what it finds.
AMBIENT = ("batch_size", "time_limit_minutes")


@dataclass(frozen=True, slots=True)
class TaskFolder:
    """A folder with task files and what they read, pinned by the content of every file in it."""

    ref: str
    digest: str

    def identity(self) -> Any:
        """What this folder contributes to a key: content, never a place."""
        return {"tasks": self.digest}


@dataclass(frozen=True, kw_only=True, slots=True)
class LmEval:
    """What lm-evaluation-harness measures: `tasks` by its own names, groups included.

    `include_path`: a folder with tasks of your own; relative `data_files` in them are looked for there. `limit`: the
    first so many items of every task. `num_fewshot`: else as each task says. `apply_chat_template`: prompts are the
    user's turn of a chat, as instruct models expect; tasks are usually published without. `batch_size` and
    `time_limit_minutes` (for one task) say how it is done and bear no identity.
    """

    tasks: tuple[str, ...]
    include_path: TaskFolder | None = None
    limit: int | None = None
    num_fewshot: int | None = None
    apply_chat_template: bool = False
    batch_size: int = 8
    time_limit_minutes: int = 720

    def identity(self) -> Any:
        """What these settings contribute to a key: all that can change a value."""
        told = {name: value for name, value in changed_fields(self).items() if name not in AMBIENT}
        return {"type": "LmEval", **told}


def pinned_tasks(ref: Any) -> TaskFolder:
    """The folder that a text names, pinned.

    Raises:
        RecipeError: there is no such folder, it has no task file, or far too many files to be one of tasks.
    """
    if not isinstance(ref, str):
        raise RecipeError("a folder is named by text, for example tasks/own")
    place = Path(ref).expanduser()
    if not place.is_dir():
        raise RecipeError(f"{ref}: there is no such folder; include_path is the folder in which your task files lie")
    files = []
    for file in place.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            files.append(file)
        if len(files) > MOST_FILES:
            raise RecipeError(f"{ref} holds more than {MOST_FILES:,} files: name a folder that holds tasks alone")
    if not any(file.suffix in (".yaml", ".yml") for file in files):
        raise RecipeError(f"{ref} holds no .yaml file: a task of lm-eval is described by one")
    total = hashlib.blake2b(digest_size=16)
    for name, file in sorted((file.relative_to(place).as_posix(), file) for file in files):
        total.update(f"{name}\0{file_digest(file)}\n".encode())
    return TaskFolder(ref, total.hexdigest())
