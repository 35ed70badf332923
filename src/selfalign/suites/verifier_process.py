"""Verifiers in a process of their own: what they load, seed and break stays there, and what blows one up ends it.

Verifiers of others search hostile texts with expressions whose cost may grow with a power of the length, and Python
cannot stop one from within. So a judge has a fixed time of the processor (not of the clock, which other work shares)
for every job, the kernel ends the process that exceeds it, and the jobs after that one go to a fresh process. This is
no sandbox: judges that execute what a model wrote must not be run by it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from selfalign.errors import StageError

PROCESSOR_SECONDS = 5
MEMORY_BYTES = 8 << 30
MOST_REASON_CHARACTERS = 200
READY = "ready"
FAILED = "failed"

Job = Mapping[str, Any]


# ------------------------------------------------------------------------------------------- the asking side


def judged(module: str, jobs: Sequence[Job]) -> Iterator[dict[str, Any]]:
    """What a judge says of every job, in order; `{"failed": why}` where it raised, or was ended.

    Raises:
        StageError: the judge does not start.
    """
    waiting = [json.dumps(job) for job in jobs]
    while waiting:
        said, why = session(module, waiting)
        yield from said
        waiting = waiting[len(said) :]
        if waiting:
            yield {FAILED: why}
            waiting = waiting[1:]


def session(module: str, lines: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """What one process says of jobs until it ends, and why it ended."""
    source = str(Path(__file__).parents[2])
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH")))),
        "PYTHONHASHSEED": "0",  # a verifier that walks over a set must do so alike every time
        "OMP_NUM_THREADS": "1",
    }
    ended = subprocess.run(  # noqa: S603 - our own module; what the model wrote goes in as data
        [sys.executable, "-P", "-m", module],
        input="\n".join(lines),
        capture_output=True,
        env=environment,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    first, *said = ended.stdout.split("\n")
    if first != READY:
        raise StageError(f"the judge {module} did not start: {ended.stderr.strip()[-1000:] or ended.returncode}")
    why = f"its process ended with {ended.returncode}"
    if ended.returncode == -signal.SIGXCPU:
        why = f"it took more than {PROCESSOR_SECONDS} seconds of the processor"
    # What comes after the last line break is nothing, or was cut when the process ended.
    return [json.loads(line) for line in said[:-1]], why


# ------------------------------------------------------------------------------------------ the judging side


def serve(judge: Callable[[Job], Mapping[str, Any]]) -> None:
    """Judge the jobs on standard input, a line each; verifiers that print, print into nothing."""
    import resource  # which only the judging side needs, and not every system has

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    print(READY, file=answers, flush=True)
    for line in sys.stdin.buffer:
        until = int(time.process_time()) + 1 + PROCESSOR_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try:
            said = dict(judge(json.loads(line)))
        except Exception as error:  # whatever a verifier of others does
            said = {FAILED: reason_of(error)}
        print(json.dumps(said), file=answers, flush=True)


def reason_of(error: Exception) -> str:
    """An error in one short line."""
    text = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
    return text[:MOST_REASON_CHARACTERS]
