"""The store: a result is there as a whole or not at all, whoever dies when."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from selfalign.errors import StoreError
from selfalign.store import Store, write_text
from selfalign.tables import write_rows
from selfalign.types import Dropped

KEY, OTHER = "ab" * 16, "ac" * 16
RECORD: dict[str, Any] = {"stage": "s", "version": 1, "arguments": {}, "rows": 1, "row_type": "Dropped"}


def make(store: Store, key: str = KEY, text: str = "because") -> None:
    """Make a small finished result."""
    with store.claim(key) as folder:
        (folder / "scratch").mkdir()
        (folder / "scratch" / "rest").write_text("rest")
        write_rows(folder / "rows-00000.parquet", [Dropped(id="one", reason=text)], Dropped)
        store.seal(key, RECORD)


def test_sealing_makes_a_result_visible_and_nothing_before_it_does(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.claim(KEY) as folder:
        write_rows(folder / "rows-00000.parquet", [Dropped(id="one", reason="x")], Dropped)
        assert not store.has(KEY)
        assert store.finished() == []
        with pytest.raises(StoreError, match="no result"):
            store.record(KEY)
        store.seal(KEY, RECORD)
    assert store.has(KEY)
    assert store.finished() == [KEY]
    assert [row.reason for row in store.rows(KEY)] == ["x"]
    assert list(store.dropped(KEY)) == []
    assert not store.partial(KEY).exists()


def test_what_is_only_scratch_is_no_part_of_a_result(tmp_path: Path) -> None:
    make(Store(tmp_path))
    assert set(Store(tmp_path).record(KEY)["files"]) == {"rows-00000.parquet"}


def test_a_crash_leaves_nothing_visible_and_what_was_begun_is_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    child = os.fork()
    if child == 0:
        with store.claim(KEY) as folder:
            (folder / "begun").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert not store.has(KEY)
    assert store.finished() == []
    with store.claim(KEY) as folder:  # the lock died with its holder
        assert (folder / "begun").read_text() == "half"


def holding(root: Path, held: Any) -> None:
    """Another process: take the key, take its time, finish."""
    store = Store(root)
    with store.claim(KEY) as folder:
        held.set()
        time.sleep(0.3)
        write_rows(folder / "rows-00000.parquet", [Dropped(id="one", reason="by the first")], Dropped)
        store.seal(KEY, RECORD)


def test_who_comes_second_waits_and_finds_the_result(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=holding, args=(tmp_path, held))
    other.start()
    assert held.wait(10)
    store = Store(tmp_path)
    assert not store.has(KEY)
    with store.claim(KEY):
        assert store.has(KEY), "claimed only after the other was done"
        assert [row.reason for row in store.rows(KEY)] == ["by the first"]
        assert not store.partial(KEY).exists()
    other.join()
    assert other.exitcode == 0


def test_a_changed_a_missing_and_a_cut_file_are_found(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    assert store.broken(KEY) == []
    path = store.made(KEY) / "rows-00000.parquet"
    whole = path.read_bytes()
    for damage in (whole[:50] + bytes([whole[50] ^ 1]) + whole[51:], whole[:-1], whole + b"\0"):
        path.write_bytes(damage)
        assert store.broken(KEY) == ["rows-00000.parquet"]
    path.unlink()
    assert store.broken(KEY) == ["rows-00000.parquet"]


def test_a_key_is_found_by_its_start_if_no_other_starts_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    make(store, OTHER)
    assert store.find("ab") == KEY
    assert store.find(OTHER) == OTHER
    for prefix, part in (("a", "2 results"), ("", "2 results"), ("b", "no result"), ("*", "no result")):
        with pytest.raises(StoreError, match=part):
            store.find(prefix)


def test_an_empty_or_missing_store_has_no_results(tmp_path: Path) -> None:
    assert Store(tmp_path).finished() == []
    assert Store(tmp_path / "nowhere").finished() == []
    assert not Store(tmp_path / "nowhere").has(KEY)


def test_a_text_is_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_text(path, "first é")
    write_text(path, "second")
    assert path.read_text() == "second"
    assert [item.name for item in tmp_path.iterdir()] == ["text"]
    with pytest.raises(StoreError, match="cannot write"):
        write_text(tmp_path / "nowhere" / "text", "x")


def test_a_damaged_record_says_what_to_delete(tmp_path: Path) -> None:
    store = Store(tmp_path)
    make(store)
    for text in ("", "[]", "{}", "null"):
        (store.made(KEY) / "call.json").write_text(text)
        with pytest.raises(StoreError, match=f"delete .*{KEY}"):
            store.record(KEY)


def test_a_result_whose_maker_died_between_record_and_rename_is_not_made_again(tmp_path: Path) -> None:
    store, key = Store(tmp_path), "d" * 32
    with store.claim(key) as folder:
        (folder / "scratch").mkdir()
        (folder / "call.json").write_text('{"stage": "train", "files": {}, "rows": 0}')
    assert not store.has(key)
    with store.claim(key):
        assert store.has(key)
    assert not (store.made(key) / "scratch").exists()
