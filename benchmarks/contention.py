"""What is left of the decode loop's speed when two other programs keep every core busy.

A machine is rarely alone: parallel tests, a second run, a browser. Threads that spin while they wait lose most of their
speed then. Two busy processes beside ours on two cores leave it half of the machine, so half is a fair share.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from figures import Demand, Row, Settings, Turn, by_rate, in_turns, timed
from generation import ROUNDED, own_tokens
from workloads import model_folder, prompts

from selfalign import weights
from selfalign.engines.products import Precision
from selfalign.engines.transformers import TransformersEngine
from selfalign.types import Sampling


def rows(settings: Settings) -> Iterator[Row]:
    """Generation alone and beside busy processes, in turns."""
    chats = prompts(settings.size(64, 4))
    sampling = Sampling(max_new_tokens=settings.size(64, 4), temperature=1.0)
    cores = len(os.sched_getaffinity(0))
    with TransformersEngine(device="cpu").open(weights.pinned(settings.model), model_folder(settings)) as opened:
        precisions: tuple[Precision, ...] = ("exact", ROUNDED[0])
        for precision in precisions:
            how = replace(sampling, precision=precision)
            own_tokens(opened, chats[:4], replace(how, max_new_tokens=4), turn=0)

            def quiet(turn: int, how: Sampling = how) -> Turn:
                return timed(lambda: own_tokens(opened, chats, how, turn=turn))

            def busy(turn: int, how: Sampling = how) -> Turn:
                with neighbours(cores):
                    return timed(lambda: own_tokens(opened, chats, how, turn=turn))

            found = in_turns({f"{precision}, alone": quiet, f"{precision}, beside others": busy}, settings.repeats)
            alone, beside = found.values()
            yield by_rate(
                beside,
                alone,
                demand=Demand(must=0.5, side="least"),
                unit="tokens/s",
                id=f"contention/{precision}",
                stage=f"generate beside {cores} busy processes, {precision} weights",
                peer="the same, alone",
                note=f"{len(chats)} prompts, at most {sampling.max_new_tokens} new tokens; one process for each core "
                "counts in a loop meanwhile.",
            )


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Processes that use as much of a core as they get."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()
