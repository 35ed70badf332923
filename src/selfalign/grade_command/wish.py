"""What a person asks of `selfalign grade`, and whether it makes sense before any model is opened.

An option that would change nothing is refused. Knows settings, rubric files and gold grades; it does not know the
store, nor how an answer is graded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from selfalign.data.numbers import number_at, read_numbers
from selfalign.data.sources import numbered, pinned, read_chats
from selfalign.data.turns import Misfit
from selfalign.errors import RecipeError
from selfalign.grading.rubrics import RUBRICS, Rubric, rubric_named
from selfalign.place import Place
from selfalign.stages.grade import Grading
from selfalign.types import Rendering, Sampling, Source

FIELD = "field:"
GOLD_FIELDS = ("grade", "quality")
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
            ("temperature", 0, 100), ("threshold", -1e9, 1e9), ("gold_threshold", -1e9, 1e9),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                most = f"from {low} to {high:,}" if high < math.inf else f"{low} or more"
                raise RecipeError(f"{option_of(name)} must be {most}, not {value}")

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
    path = Path(text).expanduser()
    if text in RUBRICS or (path.suffix.lower() not in (".yaml", ".yml", ".json") and not path.is_file()):
        return rubric_named(text)
    from pydantic import ValidationError

    from selfalign.edge import built, edge_model, faults

    shape = edge_model(Rubric)
    try:
        rubric: Rubric = built(Rubric, shape.model_validate(mapping_in(path)))
    except ValidationError as error:
        raise RecipeError(faults(error, shape, str(path))) from None
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    return rubric


def mapping_in(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file."""
    import yaml

    try:
        text = path.read_text("utf-8")
        found = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: cannot be read as a rubric: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise RecipeError(f"{path}: a rubric is a mapping with name, lowest, highest, task, criteria, answer_format")
    return found


# -------------------------------------------------------------------------------------------- gold grades


def gold_of(text: str, data: Source) -> dict[str, float]:
    """The gold grades under the ids of the data's rows: from one of its fields, or from another file by id.

    Raises:
        RecipeError: no such file or field, a row without a number, or no row that the data have, too.
    """
    ids = [chat.id for chat in read_chats(data)]
    if text.startswith(FIELD):
        return dict(zip(ids, read_numbers(data, text.removeprefix(FIELD)), strict=True))
    source = pinned(text)
    found: dict[str, float] = {}
    for place, row in numbered(source):
        try:
            if isinstance(row, Misfit):
                raise row
            name = str(row.get("id", ""))
            field = next((field for field in GOLD_FIELDS if field in row), GOLD_FIELDS[0])
            if not name or name in found:
                raise Misfit("needs an 'id' of its own, by which it is matched with the data")
            found[name] = number_at(row, field)
        except Misfit as misfit:
            raise RecipeError(f"{source.ref}: row {place}: {misfit}") from None
    shared = {name: found[name] for name in ids if name in found}
    if not shared:
        raise RecipeError(f"{source.ref}: none of its ids is one of the rows of {data.ref}: gold grades go by id")
    return shared
