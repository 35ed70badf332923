"""What a person asks of `selfalign grade`, and whether it makes sense before any model is opened.

An option that would change nothing is refused. Knows settings and rubric files; it does not know the data, the store,
nor how an answer is graded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from selfalign.errors import RecipeError
from selfalign.grading.rubrics import RUBRICS, Rubric, rubric_named
from selfalign.place import Place
from selfalign.stages.grade import Grading
from selfalign.types import Rendering, Sampling

SUFFIXES = (".yaml", ".yml", ".json")
REASONED_ONLY = ("max_new_tokens", "temperature")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """The options of `selfalign grade` as given; None where an option was not."""

    data: str
    model: str
    rubric: str = "backtranslation"
    reading: Literal["reasoned", "reasoned-choice", "distribution"] = "reasoned"
    max_new_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    gold: str | None = None
    threshold: float | None = None
    gold_threshold: float | None = None
    prompt: Literal["chat", "instruction-response", "alpaca"] | None = None
    max_length: int | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16"] | None = None
    store: Path = Path("runs/.store")
    output: Path | None = None

    def check(self) -> None:
        """Refuse what cannot be done or would change nothing.

        Raises:
            RecipeError: says which option, why, and what to write instead.
        """
        idle = [name for name in REASONED_ONLY if getattr(self, name) is not None and self.reading == "distribution"]
        if idle:
            raise RecipeError(
                f"{option_of(idle[0])} has no effect with --reading distribution, which generates nothing: leave it out"
            )
        if self.seed is not None and not self.temperature:
            raise RecipeError("--seed has no effect without --temperature above 0: nothing is drawn; leave it out")
        if self.gold_threshold is not None and self.gold is None:
            raise RecipeError("--gold-threshold has no effect without --gold: leave it out")
        for name, low, high in (
            ("max_new_tokens", 1, math.inf), ("max_length", 128, math.inf), ("seed", 0, 2**64 - 1),
            ("temperature", 0, 100),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                most = f"from {low} to {high:,}" if high < math.inf else f"{low} or more"
                raise RecipeError(f"{option_of(name)} must be {most}, not {value}")
        for name in ("threshold", "gold_threshold"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise RecipeError(f"{option_of(name)} must be a finite number, not {value}")

    def grading(self) -> Grading:
        """How the rows are graded. Raises `RecipeError` for a rubric that is unknown or contradicts itself."""
        sampling = Sampling(
            max_new_tokens=self.max_new_tokens or 512,
            temperature=0.0 if self.temperature is None else self.temperature,
        )
        return Grading(rubric=rubric_of(self.rubric), reading=self.reading, sampling=sampling)

    def rendering(self) -> Rendering:
        """How a model reads the grading prompts."""
        return Rendering(**given({"prompt": self.prompt, "max_length": self.max_length}))

    def place(self) -> Place:
        """Where the model works; a scripted one has adapters of its own."""
        adapters: dict[str, Any] = {}
        if self.model.startswith("scripted:"):
            adapters = {"engine": "scripted", "trainer": "scripted"}
        return Place(**given({"device": self.device, "dtype": self.dtype}), store=str(self.store), **adapters)


def wish_of(options: Mapping[str, Any]) -> Wish:
    """The wish in the options of a command line, others left aside."""
    return Wish(**{item.name: options[item.name] for item in fields(Wish)})


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def option_of(name: str) -> str:
    """How a setting is written on the command line."""
    return f"--{name.replace('_', '-')}"


# ----------------------------------------------------------------------------------------------- rubrics


def rubric_of(text: str) -> Rubric:
    """A built-in rubric, or the one in a YAML or JSON file.

    Raises:
        RecipeError: no such rubric or file, or a file that does not hold a rubric (names every fault).
    """
    if text in RUBRICS:
        return RUBRICS[text]
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES and not is_file(path):
        return rubric_named(text)
    from pydantic import ValidationError

    from selfalign.edge import built, edge_model, faults

    found, shape = mapping_in(path), edge_model(Rubric)
    try:
        rubric: Rubric = built(Rubric, shape.model_validate(found))
    except ValidationError as error:
        raise RecipeError(faults(error, shape, text)) from None
    except RecipeError as error:
        raise RecipeError(f"{text}: {error}") from None
    return rubric


def is_file(path: Path) -> bool:
    """Whether there is such a file; nothing that no file can be called is one."""
    try:
        return path.expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def mapping_in(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file."""
    import yaml

    try:
        text = path.expanduser().read_text("utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except OSError as error:  # its text would name the file once more
        raise RecipeError(
            f"{path}: cannot be read as a rubric: {(error.strerror or 'no such file').lower()}"
        ) from error
    except (ValueError, RuntimeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: cannot be read as a rubric: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise RecipeError(f"{path}: a rubric is a mapping with name, lowest, highest, task, criteria, answer_format")
    return found
