"""Runs code that a model wrote, with its tests, where it can do little harm, and says whether the tests passed.

Every program gets an isolated interpreter in a process of its own, an empty folder, bounded time, memory and output.
On Linux the kernel takes network, files, other processes and the rights of root away, where it allows that to whoever
runs us; everywhere an audit hook ends the program at the first event it has no business with. `check_sandbox` says
which of these are in force.

This is not perfect isolation. Without the kernel's part, hostile code that knows holes of the interpreter passes the
hook. With it, what remains is the kernel itself. And code that shares a process with its tests can answer to their
liking: an object that equals everything passes `==`. Run models you do not trust in a container or virtual machine.
See docs/sandbox.md.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from selfalign.corpus.words import excerpt
from selfalign.errors import RecipeError, StageError

WARDEN = Path(__file__).with_name("sandbox_warden.py")
INSIDE = Path(__file__).with_name("sandbox_inside.py")
GRACE_SECONDS = 20.0
"""How much longer than the program the warden may take, on a busy machine, before it counts as lost."""
REASON_CHARACTERS = 300
SPOKEN = ("failed: ", "refused: ", "out of memory", "exited before its tests ended")
"""How a reason from inside begins. Programs can write there too, so no other reason is theirs to give."""
KERNELS = {
    "network": "the kernel does not keep programs from the network",
    "processes": "the kernel does not hide other processes from programs",
    "files": "the kernel does not hide files from programs",
}
"""What to say where a part of the kernel's protection is not granted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one program may use.

    `seconds` of wall clock; `cpu_seconds` of each process; `memory_bytes` of address space, of which the interpreter
    takes about 20 MB; `file_bytes` of a file, and where files are in memory, of all; `processes` with their threads;
    `output_characters` that are kept.
    """

    seconds: float = 10.0
    cpu_seconds: int = 10
    memory_bytes: int = 1 << 30
    file_bytes: int = 16 << 20
    processes: int = 32
    output_characters: int = 2000

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise RecipeError(f"sandbox limit {field.name} is {getattr(self, field.name)}: give a positive number")


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """Code of a model, and the tests that run after it in the same namespace; both may be any text."""

    text: str
    tests: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How a program ended: passed only if it and its tests ran to their ends.

    `why` is one line without control characters. `output` is what it printed, bounded but otherwise as it is: hostile
    text, to be escaped where it is shown.
    """

    passed: bool
    why: str
    output: str


DEFAULT_LIMITS: Final = Limits()


def run_program(program: str, tests: str = "", *, limits: Limits = DEFAULT_LIMITS) -> Outcome:
    """Whether a program's tests pass, in a sandbox of its own that is gone when this returns.

    Raises StageError if no sandbox can be made: a failure of ours is not the program's.
    """
    token = secrets.token_hex(16)
    ending = confined(Program(text=program, tests=tests), limits, token)
    passed = ending["report"] == token + "passed" and not ending["timed_out"]
    output = ending["output"][: limits.output_characters]
    return Outcome(passed=passed, why="passed" if passed else why(ending, limits), output=output)


def run_programs(
    programs: Sequence[Program], *, limits: Limits = DEFAULT_LIMITS, workers: int | None = None
) -> tuple[Outcome, ...]:
    """The outcome of each program, in order; so many at a time, as many as there are CPUs for us if not said."""
    ours = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(workers or ours, thread_name_prefix="sandbox") as pool:
        return tuple(pool.map(lambda one: run_program(one.text, one.tests, limits=limits), programs))


def check_sandbox(limits: Limits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """The protections on this machine, the kernel's first, found out by running an empty program.

    A part of the kernel's that this machine or its container does not grant is listed as "MISSING: …".
    Raises StageError if there is no sandbox here.
    """
    token = secrets.token_hex(16)
    ending = confined(Program(text=""), limits, token)
    if ending["report"] != token + "passed":
        raise StageError(
            f"the sandbox cannot run an empty program: {why(ending, limits)} {excerpt(ending['output'], 300)}"
        )
    missing = [f"MISSING: {says}" for part, says in KERNELS.items() if part not in ending["held"]]
    return (
        *ending["held"].values(),
        *missing,
        "audit hook: ends a program that opens, starts or connects what it should not",
    )


def why(ending: dict[str, Any], limits: Limits) -> str:
    """Why a program did not pass, on one line."""
    said, status = str(ending["report"]), int(ending["status"])
    if ending["timed_out"]:
        return f"timed out after {limits.seconds:g} s"
    if status == -signal.SIGKILL and ending["cpu_seconds"] >= limits.cpu_seconds - 0.5:
        return f"used up its {limits.cpu_seconds} s of CPU time"
    if said.startswith(SPOKEN):
        return excerpt(said, REASON_CHARACTERS)
    if status < 0:
        return f"ended by signal {-status} before its tests ended"
    return f"exited before its tests ended (exit code {status})"


def confined(program: Program, limits: Limits, token: str, *, inside: Path = INSIDE) -> dict[str, Any]:
    """What the warden reports of one program, run by the script `inside`; its folder is removed, whatever happens."""
    if os.name == "nt":
        raise StageError(
            "code of models is not executed on Windows, which has no sandbox here: use Linux, WSL or macOS"
        )
    job = {"program": program.text, "tests": program.tests, "limits": asdict(limits), "token": token}
    job["inside"] = inside.read_text(encoding="utf-8")
    folder = tempfile.mkdtemp(prefix="selfalign-sandbox-")
    try:
        ending = asked(json.dumps(job), folder, limits.seconds + GRACE_SECONDS)
    finally:
        remove(folder)
    if ending["error"]:
        raise StageError(
            f"the sandbox could not start a program: {ending['error']}; `selfalign doctor` says what it has"
        )
    return ending


def asked(job: str, folder: str, seconds: float) -> dict[str, Any]:
    """The warden's report on a job that it carries out in a folder.

    The job is a file, not a pipe, so nothing waits for anything. Whatever interrupts us ends the warden, and the kernel
    ends the program with it.
    """
    command = [sys.executable, "-s", "-S", "-P", "-B", str(WARDEN)]
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    with tempfile.TemporaryFile() as file:
        file.write(job.encode("ascii"))
        file.seek(0)
        warden = subprocess.Popen(  # noqa: S603  # our own script in our own interpreter; the program is in the file
            command,
            cwd=folder,
            env=environment,
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            report, complaints = warden.communicate(timeout=seconds)
        except BaseException as error:
            os.killpg(warden.pid, signal.SIGKILL)
            warden.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise StageError(
                    f"the sandbox did not end within {seconds:g} s: is this machine overloaded?"
                ) from error
            raise
    try:
        return dict(json.loads(report))
    except ValueError:
        last = excerpt(complaints.decode("utf-8", "replace")[-300:], 300)
        raise StageError(f"the sandbox broke down (exit code {warden.returncode}): {last}") from None


def remove(folder: str) -> None:
    """A folder gone with all in it, however deep: a program may nest more folders than Python calls.

    Each folder's folders are moved up before it is removed. With a kernel's sandbox there is nothing in it.
    """
    top, prefix, moved = Path(folder), secrets.token_hex(8), 0
    while folders := [path for path in top.iterdir() if path.is_dir() and not path.is_symlink()]:
        for one in folders:
            one.chmod(0o700)
            for path in list(one.iterdir()):
                moved += 1
                path.rename(top / f"{prefix}-{moved}")
            one.rmdir()
    shutil.rmtree(folder, ignore_errors=True)
