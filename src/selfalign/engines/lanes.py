"""Lanes: threads that each write rows of their own, instead of all of them sharing every operation.

A thread that is handed its part of each operation sleeps in between, and waking it for some hundred small operations a
step costs more than they do. In lanes nobody waits for anybody; what it costs is that each lane reads the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Event, Lock
from typing import Any

import torch

from selfalign.engines.products import Precision
from selfalign.ports import Advance

# With fewer rows a lane, reading the weights costs more than lanes save (measured with 135M weights on two cores).
ROWS_A_LANE = 16
# Such positions are computed from the longest row of a batch, in a buffer that lanes would share.
ROPES_OF_A_BATCH = {"dynamic", "longrope"}


def lanes_for(model: Any, rows: int, *, precision: Precision) -> int:
    """How many lanes so many rows are written in.

    Products of full precision need all rows at once to be worth the reading of the weights; rounded ones are so quick
    that the small operations between them are most of a step.
    """
    if model.device.type != "cpu" or precision == "exact" or ropes_of(model.config) & ROPES_OF_A_BATCH:
        return 1
    return max(1, min(torch.get_num_threads(), rows // ROWS_A_LANE))


def ropes_of(config: Any) -> set[str]:
    """The kinds of rotary positions a config names, for all layers or for some."""
    named = getattr(config, "rope_parameters", None) or {}
    return {str(one.get("rope_type")) for one in (named, *named.values()) if isinstance(one, dict)}


def side_by_side(lanes: int, work: Callable[[int, Event], None]) -> None:
    """Do `work(number of the lane, stopping)` in every lane; it should end soon once `stopping` is set.

    Lanes see the context variables of this thread (what hears of progress asks them whose it is).

    Raises:
        Exception: what a lane raised; the others are told to stop, as they are when this thread is interrupted.
    """
    stopping = Event()
    if lanes == 1:
        work(0, stopping)
        return
    threads = torch.get_num_threads()

    def lane(number: int) -> None:
        torch.get_num_threads()  # a thread's first question sets its number to what some thread asked for last
        torch.set_num_threads(max(1, threads // lanes))
        try:
            work(number, stopping)
        except BaseException:
            stopping.set()
            raise

    try:
        with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
            try:
                for done in [pool.submit(copy_context().run, lane, number) for number in range(lanes)]:
                    done.result()
            except BaseException:
                stopping.set()
                raise
    finally:
        torch.set_num_threads(threads)  # threads that are started later begin with what was set last


def one_at_a_time(advance: Advance) -> Advance:
    """Progress that several lanes may report."""
    lock = Lock()

    def heard(**told: Any) -> None:
        with lock:
            advance(**told)

    return heard
