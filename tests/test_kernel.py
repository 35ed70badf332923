"""The kernel: what a call leaves behind, how it goes on after a crash, and how it fails."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernel_stages import SHARD, failing, repeating, sharded, slow
from selfalign.engines.scripted import ScriptedEngine
from selfalign.errors import StageError
from selfalign.executors.local import FreshProcess, Here
from selfalign.ports import Executor
from selfalign.run import Run
from selfalign.stage import asking
from selfalign.store import Store
from selfalign.trainers.scripted import ScriptedTrainer


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def hear(self, event: Mapping[str, Any]) -> None:
        self.events.append(dict(event))

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]


def run_in(folder: Path, executor: Executor | None = None) -> tuple[Run, Heard]:
    """A run whose store lies in a folder, and who hears it."""
    heard = Heard()
    run = Run(Store(folder / "store"), executor or Here(), ScriptedEngine(), ScriptedTrainer(), (heard,))
    run.round = "round 7"
    return run, heard


def files(folder: Path, key: str) -> Any:
    return Store(folder / "store").record(key)["files"]


def marks(folder: Path) -> list[str]:
    return (folder / "marks").read_text().split()


def in_child(work: Any, *arguments: Any) -> int:
    """The wait status of a forked process that does some work."""
    child = os.fork()
    if child == 0:
        try:
            work(*arguments)
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1]


def make_sharded(folder: Path, dies_at: int) -> str:
    run, _ = run_in(folder)
    with asking(run):
        return sharded(str(folder), 18, str(dies_at)).key


@pytest.mark.parametrize("dies_at", [0, 5, 8, 17])
def test_a_finished_shard_is_never_computed_again_and_drops_survive(dies_at: int, tmp_path: Path) -> None:
    (tmp_path / "deadly").touch()
    assert in_child(make_sharded, tmp_path, dies_at) == 9
    (tmp_path / "deadly").unlink()
    key = make_sharded(tmp_path, dies_at)
    store = Store(tmp_path / "store")
    assert [row.id for row in store.rows(key)] == [f"row-{number}" for number in range(0, 18, 2)]
    assert [row.id for row in store.dropped(key)] == [f"row-{number}" for number in range(1, 18, 2)]
    assert store.record(key)["notes"] == {"halves": 9}
    assert store.record(key)["dropped"] == 9
    finished = dies_at // SHARD * SHARD
    twice = [str(number) for number in range(finished, dies_at)]
    assert sorted(marks(tmp_path)) == sorted([str(number) for number in range(18)] + twice)


def test_a_result_is_asked_for_once_and_then_reused(tmp_path: Path) -> None:
    run, heard = run_in(tmp_path)
    with asking(run):
        assert slow(str(tmp_path)) == slow(marks=str(tmp_path)), "how an argument is passed is no part of a call"
    assert heard.kinds() == ["started", "made"]
    again, heard = run_in(tmp_path)
    with asking(again):
        slow(str(tmp_path))
    assert heard.kinds() == ["reused"]
    assert marks(tmp_path) == ["worked"]


def test_two_rows_with_one_id_are_an_error(tmp_path: Path) -> None:
    run, _ = run_in(tmp_path)
    with asking(run):
        repeating(1)
        with pytest.raises(StageError, match="'same'; ids within a table must differ"):
            repeating(2)
    assert len(run.store.finished()) == 1


def test_a_stage_called_outside_a_run_says_where_it_belongs() -> None:
    with pytest.raises(StageError, match=r"stage 'repeating' was called outside a run.*play\(\)"):
        repeating(1)


def test_an_argument_that_bears_no_identity_is_refused_before_anything_runs(tmp_path: Path) -> None:
    run, heard = run_in(tmp_path)
    with asking(run), pytest.raises(TypeError, match="cannot take a"):
        slow(tmp_path)  # a Path is a place, not plain data
    assert heard.events == []


@pytest.mark.parametrize("executor", [Here(), FreshProcess()], ids=["here", "fresh process"])
def test_an_unexpected_error_says_where_what_is_kept_and_what_to_do(executor: Executor, tmp_path: Path) -> None:
    (tmp_path / "faulty").touch()
    run, heard = run_in(tmp_path, executor)
    with asking(run), pytest.raises(StageError) as caught:
        failing(str(tmp_path))
    key = heard.events[0]["key"]
    for part in ("round 7", "'failing'", key[:8], "ZeroDivisionError: nobody expected this", "run the same command"):
        assert part in str(caught.value)
    assert str(run.store.partial(key)) in str(caught.value)
    assert heard.kinds() == ["started", "failed"]
    assert run.store.finished() == []


def test_the_traceback_of_an_unexpected_error_is_kept_and_is_no_part_of_the_result(tmp_path: Path) -> None:
    (tmp_path / "faulty").touch()
    run, heard = run_in(tmp_path)
    with asking(run), pytest.raises(StageError, match=r"traceback in .*error\.txt"):
        failing(str(tmp_path))
    key = heard.events[0]["key"]
    assert "ZeroDivisionError" in (run.store.partial(key) / "error.txt").read_text()
    (tmp_path / "faulty").unlink()
    with asking(run):
        failing(str(tmp_path))
    assert set(files(tmp_path, key)) == {"rows-00000.parquet"}


def test_a_fresh_process_gives_the_same_bytes(tmp_path: Path) -> None:
    results = []
    for name, executor in (("here", Here()), ("fresh", FreshProcess())):
        run, heard = run_in(tmp_path / name, executor)
        with asking(run):
            key = sharded(str(tmp_path), 6, "never").key
        made = json.loads((run.store.made(key) / "call.json").read_text())
        results.append((key, {part: made[part] for part in ("rows", "dropped", "notes", "files", "arguments")}))
        assert heard.kinds()[0] == "started"
    assert results[0] == results[1]


def test_a_killed_fresh_process_is_reported_and_its_work_gone_on_from(tmp_path: Path) -> None:
    (tmp_path / "deadly").touch()
    run, _ = run_in(tmp_path, FreshProcess())
    with asking(run), pytest.raises(StageError, match=r"round 7, stage 'sharded'.*died \(exit code -9"):
        sharded(str(tmp_path), 18, "9")
    (tmp_path / "deadly").unlink()
    with asking(run):
        key = sharded(str(tmp_path), 18, "9").key
    assert len(list(run.store.rows(key))) == 9
    assert marks(tmp_path).count("3") == 1, "the first shards were not worked on again"


def make_slow(folder: Path, told: Any) -> None:
    run, heard = run_in(folder)
    with asking(run):
        slow(str(folder))
    told.put(heard.kinds())


def test_of_two_processes_that_want_one_result_one_works_and_the_other_reuses(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    racers = [context.Process(target=make_slow, args=(tmp_path, told)) for _ in range(2)]
    for racer in racers:
        racer.start()
    heard = sorted(told.get(timeout=20) for _ in racers)
    for racer in racers:
        racer.join()
    assert heard == [["reused"], ["started", "made"]]
    assert marks(tmp_path) == ["worked"]
