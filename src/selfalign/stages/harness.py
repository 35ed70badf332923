"""A model is measured with lm-evaluation-harness, a program of its own: its numbers come back item by item."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfalign.errors import RecipeError, StageError
from selfalign.harness.reading import read_output
from selfalign.harness.settings import LmEval
from selfalign.ports import Engine
from selfalign.stage import Size, stage
from selfalign.types import Model, Result, Table
from selfalign.work import for_another_program, note, scratch

MODULE = "lm_eval"
LAST_LINES = 12
READ_BYTES = 64_000
NOT_FOUND = "Tasks not found: "
NO_HUB = "Couldn't reach "


def measured_by_harness(model: Model, settings: LmEval) -> list[Table[Result]]:
    """The results of every task, each a call of its own: what one task found is kept when another fails."""
    return [lm_eval_results(model, settings=replace(settings, tasks=(task,))) for task in settings.tasks]


def results_size(size: Callable[[Any], Size], *, model: Model, settings: LmEval) -> Size:
    """As many rows as the limit, if there is one: how many items a task has is known to the harness alone.

    Raises:
        RecipeError: the harness is not installed, or the model has no weights it could load.
    """
    if importlib.util.find_spec(MODULE) is None:
        raise RecipeError(
            "lm_eval: needs the package lm-eval, which is not installed: pip install 'selfalign[lm-eval]'"
        )
    if model.ref.startswith("scripted:"):
        raise RecipeError(f"lm_eval: {model.ref} has no weights that lm-eval could load; leave lm_eval out")
    return Size(rows=settings.limit or 0)


@stage(version=1, needs="serve", expect=results_size)
def lm_eval_results(model: Model, *, settings: LmEval) -> Iterator[Result]:
    """What lm-evaluation-harness finds for every item of a task, in every metric that is a mean of items.

    It loads the model's folder itself, with the engine's device and precision; nothing of `rendering` reaches it.

    Raises:
        RecipeError: it knows no such task.
        StageError: it failed (with the end of what it said), took too long, or gave no value for single items.
    """
    folder, engine = for_another_program(model)
    if folder is None:
        raise StageError(f"{model.ref} has no weights that lm-eval could load")
    output, log = scratch() / "lm_eval", scratch() / "lm_eval.log"
    shutil.rmtree(output, ignore_errors=True)  # what an attempt left that was cut off
    with tempfile.TemporaryDirectory(prefix="selfalign-") as place:
        # Arguments are cut at commas: whatever the folder is called, this name has none.
        named = Path(place) / "model"
        named.symlink_to(folder.resolve(), target_is_directory=True)
        command = command_of(settings, named, output, engine)
        at = Path(settings.include_path.ref).expanduser() if settings.include_path else scratch()
        carry_out(command, at=at.resolve(), log=log, settings=settings)
    reading = read_output(output)
    note("lm_eval", reading.version)
    if reading.whole_only:
        note("whole_only", dict(reading.whole_only))
    yield from reading.results


def command_of(settings: LmEval, folder: Path, output: Path, engine: Engine) -> list[str]:
    """The command line of the harness."""
    device, dtype = getattr(engine, "device", "auto"), getattr(engine, "dtype", "float32")
    command = [
        # Not from the folder it works in, where a data.py of a task would stand for a module.
        sys.executable, "-P", "-m", "selfalign.harness.beside", MODULE, "run", "--model", "hf",
        f"--model_args=pretrained={folder},dtype={dtype}", f"--tasks={','.join(settings.tasks)}",
        f"--batch_size={settings.batch_size}", f"--output_path={output}", "--log_samples",
    ]  # fmt: skip
    if device != "auto":
        command.append(f"--device={device}")
    if settings.include_path is not None:
        command.append(f"--include_path={Path(settings.include_path.ref).expanduser().resolve()}")
    for name in ("limit", "num_fewshot"):
        if getattr(settings, name) is not None:
            command.append(f"--{name}={getattr(settings, name)}")
    return [*command, *(["--apply_chat_template"] if settings.apply_chat_template else [])]


def carry_out(command: list[str], *, at: Path, log: Path, settings: LmEval) -> None:
    """Run the harness to its end. The environment is passed on as it is, HF_HUB_OFFLINE included.

    Raises:
        RecipeError: it knows no such task.
        StageError: it failed or took too long; says how its output ended.
    """
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - no shell; arguments come from the recipe, never from a model
            command, cwd=at, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(timeout=60 * settings.time_limit_minutes)
        except subprocess.TimeoutExpired:
            raise StageError(
                f"lm-eval was stopped after {settings.time_limit_minutes} minutes: raise lm_eval.time_limit_minutes, "
                f"or set lm_eval.limit\n{tail(log)}"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if code:
        raise failure(code, log, settings)


def failure(code: int, log: Path, settings: LmEval) -> RecipeError | StageError:
    """Why the harness failed, as far as its output tells, with the remedy."""
    last = tail(log)
    name = ", ".join(settings.tasks)
    if NOT_FOUND in last:
        where = f", nor does {settings.include_path.ref} describe it" if settings.include_path else ""
        return RecipeError(
            f"lm_eval.tasks: lm-eval knows no task {name!r}{where}: 'python -m lm_eval ls tasks' lists all it knows; "
            "the folder of your own tasks is lm_eval.include_path"
        )
    remedy = ""
    if NO_HUB in last:
        remedy = "; its data are on the hub: connect to the network once, or describe a task over a local file"
    return StageError(f"lm-eval failed on {name} (exit code {code}){remedy}. It said last:\n{last}\n  all: {log}")


def tail(log: Path) -> str:
    """The last lines of a log, without progress bars and without what a terminal would obey."""
    with log.open("rb") as handle:
        handle.seek(max(0, log.stat().st_size - READ_BYTES))
        text = handle.read().decode("utf-8", "replace")
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip() and "%|" not in line]
    plain = ("".join(letter if letter.isprintable() else "?" for letter in line) for line in lines[-LAST_LINES:])
    return "\n".join(f"    {line}" for line in plain)
