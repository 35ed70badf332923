"""What a person asks of `selfalign eval`, and whether it makes sense before any file or model is opened.

An option that would change nothing is refused. Knows settings and suites; it does not know files, models or the store.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from selfalign.errors import RecipeError
from selfalign.grade_command.wish import given, option_of
from selfalign.references import nearest
from selfalign.stages.multiple_choice import ChoiceForm
from selfalign.suites import SUITES, ChoiceSuite
from selfalign.types import Rendering


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """The options of `selfalign eval` as given; None where an option was not. A suite without a file has None, too."""

    model: str
    suites: tuple[tuple[str, str | None], ...] = ()
    held_out: str | None = None
    limit: int | None = None
    max_new_tokens: int | None = None
    form: ChoiceForm | None = None
    allow_code: tuple[str, ...] = ()
    seed: int | None = None
    prompt: Literal["chat", "instruction-response", "alpaca"] | None = None
    max_length: int | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16"] | None = None
    store: Path | None = None
    output: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be done or would change nothing.

        Raises:
            RecipeError: says which option, why, and what to write instead.
        """
        if not self.suites and self.held_out is None:
            raise RecipeError(
                f"name what to measure with: --suite NAME, or --held-out FILE; suites are {', '.join(SUITES)}"
            )
        self.check_suites()
        idle = next(self.idle(), None)
        if idle:
            raise RecipeError(f"{idle}: leave it out")
        for name, low, high in (
            ("limit", 1, math.inf), ("max_new_tokens", 1, math.inf), ("max_length", 128, math.inf),
            ("seed", 0, 2**63 - 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                most = f"from {low} to {high:,}" if high < math.inf else f"{low} or more"
                raise RecipeError(f"{option_of(name)} must be {most}, not {value}")

    def check_suites(self) -> None:
        """Refuse suites that nobody knows, that are named twice, or that run code nobody allowed; see `check`."""
        names = [name for name, _ in self.suites]
        for place, name in enumerate(names):
            if name not in SUITES:
                raise RecipeError(f"no suite is called {name!r}{nearest(name, SUITES)}; known: {', '.join(SUITES)}")
            if name in names[:place]:
                raise RecipeError(f"--suite {name} is given twice: join its files, or evaluate them one by one")
            if runs_code(name) and name not in self.allow_code:
                raise RecipeError(
                    f"suite {name!r} runs code that a model wrote, in a locked-down process (see docs/sandbox.md); "
                    f"allow it by name: --allow-code {name}"
                )
        for name in self.allow_code:
            if not (name in names and runs_code(name)):
                known = ", ".join(filter(runs_code, names)) or "none"
                raise RecipeError(f"--allow-code {name}: of the suites named here, those that run code are: {known}")

    def idle(self) -> Iterator[str]:
        """Every option that has no effect, and why."""
        judged = [name for name, _ in self.suites if not isinstance(SUITES[name], ChoiceSuite)]
        if self.form is not None and len(judged) == len(self.suites):
            yield "--form has no effect without a suite of choices"
        if self.max_new_tokens is not None and not judged and self.held_out is None:
            yield "--max-new-tokens has no effect where only choices are weighed: no reply is written"
        if self.seed is not None and self.held_out is None and "letters" not in self.forms():
            yield "--seed has no effect where nothing is drawn: replies are greedy, and no options stand under letters"

    def forms(self) -> list[ChoiceForm]:
        """The forms in which options of the suites of choices are weighed."""
        found = (SUITES[name] for name, _ in self.suites)
        return [self.form or suite.form for suite in found if isinstance(suite, ChoiceSuite)]

    def rendering(self) -> Rendering:
        """How a model reads prompts."""
        return Rendering(**given({"prompt": self.prompt, "max_length": self.max_length}))


def runs_code(name: str) -> bool:
    """Whether judging a suite's replies runs code in them."""
    return bool(getattr(SUITES[name], "runs_code", False))


def wish_of(options: Mapping[str, Any]) -> Wish:
    """The wish in the options of a command line, others left aside; lists become tuples."""
    named: dict[str, Any] = {item.name: options[item.name] for item in fields(Wish)}
    return Wish(**{**named, "suites": tuple(named["suites"]), "allow_code": tuple(named["allow_code"])})
