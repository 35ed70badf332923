"""Where a stage body runs on this machine: in this process, or in a fresh one whose memory always comes back.

Knows processes only. What an order means is the kernel's business.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from selfalign.errors import SelfAlignError, StageError
from selfalign.ports import Advance, Order
from selfalign.work import carry_out, keep_traceback


@dataclass(frozen=True, slots=True)
class Here:
    """Runs orders in this process: the choice on a CPU, where opened models stay warm between stages."""

    def run(self, order: Order, *, advance: Advance) -> Mapping[str, Any]:
        """Carry the order out."""
        return carry_out(order, advance=advance)


@dataclass(frozen=True, slots=True)
class FreshProcess:
    """Runs each order in a process of its own: the choice on a GPU, whose memory is free again after every stage."""

    def run(self, order: Order, *, advance: Advance) -> Mapping[str, Any]:
        """Carry the order out in a spawned process, passing on its progress.

        Raises:
            StageError: the process died without a word (killed, out of memory).
            SelfAlignError: as the body raised it.
        """
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=work_for, args=(order, sender), daemon=True)
        process.start()
        sender.close()
        try:
            return heard(receiver, advance=advance)
        except EOFError:
            process.join()
            raise StageError(
                f"the process that worked on it died (exit code {process.exitcode}; -9 is usually a lack of memory)"
            ) from None
        finally:
            process.kill()
            process.join()


def heard(receiver: Connection, *, advance: Advance) -> Mapping[str, Any]:
    """Pass progress on until the result or the error arrives."""
    while True:
        kind, content = receiver.recv()
        if kind == "progress":
            advance(**content)
        elif kind == "failed":
            raise content
        else:
            facts: Mapping[str, Any] = content
            return facts


def work_for(order: Order, sender: Connection) -> None:
    """The spawned process: carry out, send progress, then the facts or the error."""
    # Ctrl-C reaches the whole group; the parent decides. And a child must not outlive the parent: the lock dies with
    # it, and the next run would share the folder with whoever still works in it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()

    def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        sender.send(("progress", {"rows": rows, "tokens": tokens, "step": step}))

    try:
        sender.send(("made", carry_out(order, advance=advance)))
    except SelfAlignError as error:
        sender.send(("failed", error))
    except Exception as error:
        trace = keep_traceback(order.scratch, traceback.format_exc())
        sender.send(("failed", StageError(f"unexpected {type(error).__name__}: {error} (traceback in {trace})")))


def die_with_parent() -> None:
    """Wait for the parent's end, and end at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
