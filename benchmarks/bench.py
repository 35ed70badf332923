"""Every stage beside its peer, in one run, on the real SmolLM2-135M: one table, written into docs/performance.md.

    python benchmarks/bench.py                                    # all rows, three interleaved repeats (make bench)
    python benchmarks/bench.py --only generation,scoring --repeats 5
    python benchmarks/bench.py --only generation --thread-policy default
    python benchmarks/bench.py --smoke                            # every row at the smallest size; writes nothing

Each topic runs in a process of its own, so that none inherits another's memory, threads or warm caches, and a topic
that fails costs only its own rows. To add a row, write a module with `rows(settings)` that yields `Row`s, and name it
in `TOPICS`; with `alone(role, settings)` it can be measured in fresh processes (`in_fresh_turns`).
"""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import page
from figures import ROW_MARK, TURN_MARK, Row, Settings, row_from, said
from machine import busy_seconds, facts, load_average

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
# Topic → module. A row's `id` begins with its topic; the table is in this order.
TOPICS = {
    "generation": "generation",
    "contention": "contention",
    "openvino": "openvino_yardstick",
    "checkpoint": "checkpoint",
    "grading": "grading",
    "scoring": "scoring",
    "training": "training",
    "round": "spin_round",
    "startup": "startup",
    "overhead": "overhead",
}
ROLES = {**TOPICS, "machine": "machine"}
ORDER = ("generation", "generation-spinning", *list(TOPICS)[1:])
ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}


def main() -> int:
    """Measure what was asked for; the exit code is 1 if a topic failed."""
    given = options().parse_args()
    settings = Settings(
        repeats=1 if given.smoke else given.repeats, smoke=given.smoke, threads=given.thread_policy, model=given.model
    )
    if given.alone:
        role, _, words = given.alone.partition(":")
        print(said(TURN_MARK, importlib.import_module(ROLES[role]).alone(words, settings)), flush=True)
        return 0
    if given.topic:
        for row in importlib.import_module(TOPICS[given.topic]).rows(settings):
            print(said(ROW_MARK, row), flush=True)
        return 0
    return drive(settings, topics_of(given), output=None if given.smoke and given.output == PAGE else given.output)


def options() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help=f"some of {','.join(TOPICS)}")
    parser.add_argument("--repeats", type=int, default=3, help="interleaved turns of each side")
    parser.add_argument("--smoke", action="store_true", help="one turn of everything at the smallest size")
    parser.add_argument("--thread-policy", choices=("passive", "default"), default="passive")
    parser.add_argument("--model", default="embedded:smollm2")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write into; others' rows stay")
    parser.add_argument("--topic", choices=tuple(TOPICS), help=argparse.SUPPRESS)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    return parser


def topics_of(given: argparse.Namespace) -> list[str]:
    """The topics asked for, in the table's order.

    Raises:
        SystemExit: an unknown topic, or another policy for threads where it has no row.
    """
    asked = [name for name in given.only.split(",") if name]
    if unknown := sorted(set(asked) - set(TOPICS)):
        raise SystemExit(f"no topic is called {', '.join(unknown)}; known are {', '.join(TOPICS)}")
    if given.thread_policy == "default" and asked != ["generation"]:
        raise SystemExit("torch's default threads have a row for generation alone: add --only generation")
    return [name for name in TOPICS if not asked or name in asked]


def drive(settings: Settings, topics: Sequence[str], *, output: Path | None) -> int:
    """Run the topics one by one, print rows as they come and the table at the end, and write the page."""
    set_environment(settings)
    when, before = time.strftime("%Y-%m-%d %H:%M"), load_average()
    described = facts(settings)
    print(described, flush=True)
    rows: list[Row] = []
    others: list[str] = []
    failed: list[str] = []
    for topic in topics:
        began, busy, own = time.perf_counter(), busy_seconds(), own_seconds()
        print(f"\n{topic}", flush=True)
        found, succeeded = measured(topic, settings)
        rows.extend(found)
        if not succeeded:
            failed.append(topic)
        seconds = time.perf_counter() - began
        share = max(0.0, busy_seconds() - busy - (own_seconds() - own)) / seconds / (os.cpu_count() or 1)
        others.append(f"{topic} {100 * share:.0f} %")
        print(f"  {topic}: {seconds:.0f} s, {100 * share:.0f} % of the machine's time was taken by others", flush=True)
    told = f"{described}; load average {before} before and {load_average()} after; others' share of the machine: "
    lines = [page.table_line(row, when) for row in rows]
    print("\n" + page.MARKED.sub("", page.table(lines)))
    if output is not None and rows:
        page.write(output, rows, facts=f"{told}{', '.join(others)}.", when=when, order=ORDER)
        print(f"written into {output}")
    if failed:
        print(f"failed: {', '.join(failed)}; their former rows stand", file=sys.stderr)
    return 1 if failed else 0


def measured(topic: str, settings: Settings) -> tuple[list[Row], bool]:
    """The rows of a topic, printed as they become known, and whether it came to its end."""
    command = [sys.executable, __file__, "--topic", topic, *settings.flags()]
    rows = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(ROW_MARK):
                rows.append(row_from(line.removeprefix(ROW_MARK)))
                print(f"  {rows[-1].line()}", flush=True)
            else:
                print(line, end="", file=sys.stderr)
    return rows, process.returncode == 0


def set_environment(settings: Settings) -> None:
    """One environment for every side; the policy for waiting threads is read when a tensor library is loaded."""
    os.environ.update(ENVIRONMENT)
    os.environ.pop("OMP_WAIT_POLICY", None)
    if settings.threads == "passive":
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def own_seconds() -> float:
    """Processor seconds of this process and of all it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    sys.exit(main())
