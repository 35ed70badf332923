"""What a person asks of `selfalign select`, and whether it makes sense before anything is read.

An option that would change nothing is refused, so that nobody believes in a setting that was not used. Knows
settings; it does not know files, stages or the store.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from selfalign.errors import RecipeError
from selfalign.place import Place
from selfalign.stages.select import BY_UNCERTAINTY, BY_VECTORS, By, Metric, Selection
from selfalign.types import Embedding, Rendering

BY_VECTORS_TEXT = "k-center, farthest, k-means or facility-location"
FIELD = "field:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """The options of `selfalign select` as given; None where an option was not."""

    data: str
    n: str
    by: By = "k-center"
    model: str | None = None
    embeddings: str | None = None
    metric: Metric | None = None
    normalise: Literal["nothing", "unit"] | None = None
    whiten: int | None = None
    text: Literal["prompt-and-answer", "prompt"] | None = None
    pooling: Literal["all", "answer", "last"] | None = None
    layer: int | None = None
    quality: str | None = None
    quality_share: float | None = None
    low_percentile: float | None = None
    high_percentile: float | None = None
    uncertainty_of: Literal["logits", "probabilities"] | None = None
    uncertainty_over: Literal["all", "answer"] | None = None
    prompt: Literal["chat", "instruction-response", "alpaca"] | None = None
    max_length: int | None = None
    seed: int | None = None
    device: str | None = None
    dtype: Literal["float32", "bfloat16"] | None = None
    store: Path = Path("runs/.store")
    output: Path | None = None

    def embeds(self) -> bool:
        """Whether a model has to embed the rows."""
        return self.by in BY_VECTORS and self.embeddings is None

    def has_vectors(self) -> bool:
        """Whether there are vectors, from a model or a file."""
        return self.by in BY_VECTORS or self.embeddings is not None

    def reads_answers(self) -> bool:
        """Whether a model reads the answers, so that every row must have one."""
        return self.asks_model() and not (self.embeds() and self.text == "prompt" and self.quality != "ifd")

    def asks_model(self) -> bool:
        """Whether any part of the selection needs a model."""
        return self.embeds() or self.by in (*BY_UNCERTAINTY, "ifd", "perplexity") or self.quality == "ifd"

    def quality_field(self) -> str | None:
        """The field of the data that says how good a row is, if one was named."""
        named = self.quality is not None and self.quality.startswith(FIELD)
        return self.quality.removeprefix(FIELD) if self.quality is not None and named else None

    # -------------------------------------------------------------------------------------- as settings

    def selection(self) -> Selection:
        """How rows are chosen. Raises `RecipeError` for settings that contradict each other."""
        embedding = given(
            {"text": self.text, "pooling": self.pooling, "layer": self.layer, "whiten": self.whiten},
            normalise=self.normalise,
        )
        settings = given(
            {"metric": self.metric, "quality_share": self.quality_share, "uncertainty_of": self.uncertainty_of},
            uncertainty_over=self.uncertainty_over, low_percentile=self.low_percentile,
            high_percentile=self.high_percentile, quality="ifd" if self.quality == "ifd" else None,
        )  # fmt: skip
        return Selection(by=self.by, embedding=Embedding(**embedding), **settings)

    def rendering(self) -> Rendering:
        """How a model reads the rows."""
        return Rendering(**given({"prompt": self.prompt, "max_length": self.max_length}))

    def place(self) -> Place:
        """Where models work; scripted ones have adapters of their own, which also do where no model is asked."""
        scripted = not self.asks_model() or str(self.model).startswith("scripted:")
        adapters: dict[str, Any] = {"engine": "scripted", "trainer": "scripted"} if scripted else {}
        return Place(**given({"device": self.device, "dtype": self.dtype}), store=str(self.store), **adapters)

    # ---------------------------------------------------------------------------------------- refusals

    def check(self) -> None:
        """Refuse what cannot be done or would change nothing.

        Raises:
            RecipeError: says which option, why, and what to write instead.
        """
        self.check_quality()
        idle = [fault for fault in map(self.idle, USED) if fault]
        if idle:
            raise RecipeError("\n".join(idle))
        if self.asks_model() and self.model is None:
            offer = ", or ready vectors with --embeddings FILE.npy" if self.embeds() and self.quality != "ifd" else ""
            what = f"--by {self.by}" if self.by not in BY_VECTORS or self.embeds() else "--quality ifd"
            raise RecipeError(f"{what} needs a model: name one with --model, such as embedded:smollm2{offer}")
        self.check_numbers()
        self.selection()

    def check_quality(self) -> None:
        """Refuse a measure of quality that is not known, or that nothing would use."""
        if self.quality is None:
            return
        if self.quality != "ifd" and not self.quality_field():
            raise RecipeError(
                f"--quality {self.quality!r} is not known: write ifd, or field:NAME for a number that every row holds"
            )
        if self.by not in BY_VECTORS:
            raise RecipeError(
                f"--quality comes before a selector by vectors, and --by {self.by} is none: leave --quality out, or "
                f"select by {BY_VECTORS_TEXT}"
            )

    def idle(self, option: str) -> str:
        """Why an option would change nothing; empty when it is not given or is used."""
        used, where = USED[option]
        if getattr(self, option) is None or used(self):
            return ""
        here = f"--by {self.by}" + (" and --embeddings" if self.embeddings is not None else "")
        return f"--{option.replace('_', '-')} has no effect with {here}: leave it out; it is for {where}"

    def check_numbers(self) -> None:
        """Refuse numbers outside their range."""
        for option, low, high in (
            ("whiten", 1, math.inf), ("max_length", 2, math.inf), ("seed", 0, 2**64 - 1),
            ("low_percentile", 0, 100), ("high_percentile", 0, 100),
        ):  # fmt: skip
            value = getattr(self, option)
            if value is not None and not low <= value <= high:
                most = f"from {low} to {high:,}" if high < math.inf else f"{low} or more"
                raise RecipeError(f"--{option.replace('_', '-')} must be {most}, not {value}")
        if self.device is not None and not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", self.device):
            raise RecipeError(f"--device must be auto, cpu, cuda, cuda:0 … or mps, not {self.device!r}")
        if self.quality_share is not None and not 0 < self.quality_share <= 1:
            raise RecipeError(f"--quality-share must be above 0 and at most 1 (0.5 is half), not {self.quality_share}")


# Which options are used when, and how a message says so.
USED: Mapping[str, tuple[Any, str]] = {
    "model": (Wish.asks_model, "selectors that ask a model"),
    "prompt": (Wish.asks_model, "rows that a model reads"),
    "max_length": (Wish.asks_model, "rows that a model reads"),
    "device": (Wish.asks_model, "rows that a model reads"),
    "dtype": (Wish.asks_model, "rows that a model reads"),
    "text": (Wish.embeds, "rows that a model embeds"),
    "pooling": (Wish.embeds, "rows that a model embeds"),
    "layer": (Wish.embeds, "rows that a model embeds"),
    "normalise": (Wish.has_vectors, "vectors"),
    "whiten": (Wish.has_vectors, "vectors"),
    "metric": (lambda wish: wish.by in ("k-center", "farthest"), "--by k-center and farthest"),
    "quality_share": (lambda wish: wish.quality is not None, "--quality"),
    "low_percentile": (lambda wish: wish.by == "perplexity", "--by perplexity"),
    "high_percentile": (lambda wish: wish.by == "perplexity", "--by perplexity"),
    "uncertainty_of": (
        lambda wish: wish.by in ("least-confidence", "margin"),
        "--by least-confidence and margin",
    ),
    "uncertainty_over": (lambda wish: wish.by in BY_UNCERTAINTY, "--by least-confidence, margin and entropy"),
    "seed": (lambda wish: wish.by in ("random", "k-means"), "--by random and k-means; the others draw nothing"),
}


def wish_of(options: Mapping[str, Any]) -> Wish:
    """The wish in the options of a command line, others left aside."""
    return Wish(**{item.name: options[item.name] for item in fields(Wish)})


def given(options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in {**options, **more}.items() if value is not None}


def count_of(text: str, pool: int) -> int:
    """How many rows `--n` means: a number, or a percentage of the pool, rounded up.

    Raises:
        RecipeError: it is neither, or below one row.
    """
    match = re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(%?)\s*", text)
    value, percent = (Fraction(match[1]), bool(match[2])) if match else (Fraction(0), False)
    count = math.ceil(value * pool / 100) if percent else int(value)
    if value <= 0 or (percent and value > 100) or (not percent and value != count):
        raise RecipeError(
            f"--n {text!r} is no number of rows: write a whole number such as 500, or a share of all rows such as 5%"
        )
    return count
