"""The process between us and a program: confines it with what the kernel offers, watches it, says how it ended.

Runs as a script in an isolated interpreter and imports nothing else of selfalign. It reads a job (JSON) from its
standard input, writes a report (JSON) to its standard output, and lives in a process tree that the program cannot see.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False  # importing `typing` would take as long as the interpreter
if TYPE_CHECKING:
    from typing import Any

    from selfalign.suites.sandbox_namespaces import SIGKILL, Confined, confine, give_up_rights
else:  # by its place: by its name, all of selfalign would come along
    sys.path.insert(0, __file__.rpartition("/")[0])
    from sandbox_namespaces import SIGKILL, Confined, confine, give_up_rights

    del sys.path[0]

REPORT_BYTES = 4096
POLL_SECONDS = 0.02


def limit(limits: dict[str, Any]) -> list[str]:
    """What the system agreed to bound, set for this process and its children."""
    held = []
    wished = {
        "CPU": (limits["cpu_seconds"], f"{limits['cpu_seconds']} s of CPU time"),
        "AS": (limits["memory_bytes"], f"{limits['memory_bytes']:,} bytes of memory"),
        "FSIZE": (limits["file_bytes"], f"{limits['file_bytes']:,} bytes a file"),
        "NOFILE": (64, "64 open files"),
        "CORE": (0, "no core dump"),
    }
    for name, (most, says) in wished.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
        except (OSError, ValueError):  # macOS bounds no memory
            continue
        held.append(says)
    return held


def become_program(job: dict[str, Any], descriptors: tuple[int, ...], setup: int, confined: Confined) -> None:
    """This process turned into a bare interpreter that runs the program.

    `descriptors` become 0, 1, 2 and so on. Tells `setup`, which closes when the interpreter starts, what is in force or
    went wrong. The environment holds nothing of ours, and strings of equal programs hash equally.
    """
    try:
        if confined.kind:
            os.setsid()  # without namespaces it stays in the warden's group, which is ended as a whole
        held = give_up_rights(confined, processes=job["limits"]["processes"])
        held["limits"] = "at most " + ", ".join(limit(job["limits"]))
        high = [os.dup2(number, 32 + place, inheritable=False) for place, number in enumerate(descriptors)]
        setup = os.dup2(setup, 32 + len(high), inheritable=False)
        for target, number in enumerate(high):
            os.dup2(number, target)
        os.write(setup, json.dumps(held).encode())
        environment = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"} | dict(os.environ)
        executable = job["executable"]
        command = [executable, "-s", "-S", "-P", "-B", "-c", job["inside"]]
        os.execve(executable, command, environment)  # noqa: S606  # a shell is what nobody wants here
    except BaseException as error:
        os.write(setup, f"\n{error}".encode())
        os._exit(127)


class Watch:
    """What came out of a program's pipes so far, each up to a bound."""

    def __init__(self, bounds: dict[int, int]) -> None:
        self.bounds, self.open = bounds, list(bounds)
        self.texts = dict.fromkeys(bounds, b"")

    def read(self, seconds: float) -> bool:
        """Whether anything came within so many seconds; what is beyond the bound is thrown away, so nobody blocks."""
        if not self.open:
            time.sleep(min(seconds, 0.001))  # as a rule it is ending
            return False
        ready = select.select(self.open, [], [], seconds)[0]
        for number in ready:
            piece = os.read(number, 1 << 16)
            self.texts[number] = (self.texts[number] + piece)[: self.bounds[number]]
            if not piece:
                self.open.remove(number)
        return bool(ready)


def watch_until_end(child: int, watch: Watch, seconds: float) -> dict[str, Any]:
    """How the child ended: exit status (negative: a signal), seconds of CPU, and whether we ended it for its time."""
    deadline, timed_out = time.monotonic() + seconds, False
    while True:
        watch.read(POLL_SECONDS)
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline and not timed_out:
            timed_out = True
            os.kill(child, SIGKILL)  # the first of a process namespace: all others end with it
    end_orphans()
    for _ in range(64):  # what is in the pipes; with a bound, should a process have escaped us
        if not watch.read(0):
            break
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return {"status": os.waitstatus_to_exitcode(status), "timed_out": timed_out, "cpu_seconds": cpu_seconds}


def end_orphans() -> None:
    """Ends what the child left behind and the kernel gave to us: nothing, where it had its own process namespace."""
    file = f"/proc/self/task/{os.getpid()}/children"
    while os.access(file, os.R_OK):
        with open(file) as handle:
            children = [int(word) for word in handle.read().split()]
        if not children:
            return
        for child in children:
            os.kill(child, SIGKILL)
            os.waitpid(child, 0)


def program_file(job: dict[str, Any]) -> int:
    """A descriptor of a file without a name that holds the program and its tests."""
    number = os.open("program", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.remove("program")  # noqa: PTH107  # importing pathlib takes as long as starting the interpreter
    with open(number, "wb", closefd=False) as file:
        file.write(f"{job['program']}\0{job['tests']}".encode("utf-8", "surrogatepass"))
    os.lseek(number, 0, os.SEEK_SET)
    return number


def main() -> None:
    """Runs one job."""
    os.umask(0o022)
    job = json.load(sys.stdin)
    job["executable"] = os.path.realpath(sys.executable)  # now: its links may lie outside of the new file tree
    limits, program = job["limits"], program_file(job)
    (token, token_out), (output, output_out), (report, report_out) = os.pipe(), os.pipe(), os.pipe()
    setup, setup_out = os.pipe()
    os.write(token_out, job["token"].encode())
    confined = confine(limits["file_bytes"])
    child = os.fork()
    if child == 0:
        become_program(job, (program, output_out, output_out, token, report_out), setup_out, confined)
    for number in (program, token, token_out, output_out, report_out, setup_out):
        os.close(number)
    with open(setup, encoding="utf-8") as file:
        held, _, error = file.read().partition("\n")
    watch = Watch({output: 4 * limits["output_characters"], report: REPORT_BYTES})
    ending = watch_until_end(child, watch, limits["seconds"])
    ending |= {"held": confined.held | json.loads(held or "{}"), "error": error}
    ending |= {"report": watch.texts[report].decode("utf-8", "replace")}
    ending |= {"output": watch.texts[output].decode("utf-8", "replace")}
    json.dump(ending, sys.stdout)
    sys.stdout.flush()
    if not confined.kind:
        os.kill(0, SIGKILL)  # our group, with all that is left of the program, and this process


if __name__ == "__main__":
    main()
