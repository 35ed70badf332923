"""The one seam: what selfalign asks of an engine, a trainer and an executor.

Nothing here names an adapter or imports a tensor library. An adapter is a frozen, picklable dataclass that satisfies
one of these protocols; `config` is the only module that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from selfalign.types import (
    AnswerScore,
    Chat,
    Embedding,
    Lora,
    Model,
    Objective,
    Optimisation,
    Rendering,
    Sampling,
    Uncertainty,
)


class Advance(Protocol):
    """Called by whoever works, so that whoever waits can see rates and remaining time."""

    def __call__(self, *, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        """Say that `rows` more rows and `tokens` more tokens are done; `step` names a finished optimiser step."""


def unheard(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
    """An `Advance` to which nobody listens."""


# ------------------------------------------------------------------------------------ tokens (see render)


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that rendering uses."""

    eos_token: str | None
    eos_token_id: int | None
    bos_token_id: int | None
    all_special_tokens: list[str]
    chat_template: Any

    def __hash__(self) -> int:
        """By identity: what is known of a tokenizer is kept beside it."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """The template applied to messages: text when `tokenize` is False."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The exact sequence a model sees. The three tuples have one length T.

    `loss` marks the answer tokens (targets); `attention` is False at tokens no other token may
    look at.
    """

    ids: tuple[int, ...]
    loss: tuple[bool, ...]
    attention: tuple[bool, ...]

    @property
    def prompt_length(self) -> int:
        """How many tokens come before the first answer token."""
        return self.loss.index(True) if True in self.loss else len(self.ids)


# ----------------------------------------------------------------------------------------------- engines


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a model wrote. `finished` is False when the token limit cut it; `tokens` counts its end token if it came."""

    text: str
    finished: bool
    tokens: int


class LM(Protocol):
    """An opened model. Every method keeps order and length: one item out for one item in."""

    def generate(
        self,
        prompts: Sequence[Chat],
        *,
        sampling: Sampling,
        rendering: Rendering,
        seeds: Sequence[int],
        advance: Advance = unheard,
    ) -> list[Continuation]:
        """Continue each prompt. Row i draws only from `seeds[i]` (64-bit): no neighbour or batch changes its draws."""

    def logprob(
        self, groups: Sequence[tuple[Chat, ...]], *, rendering: Rendering, advance: Advance = unheard
    ) -> list[tuple[AnswerScore, ...]]:
        """Log-probability of each answer given its prompt: fp32, summed over answer tokens (the end token included).

        A group holds answers to one prompt, rendered together (`render.rendered_together`); most groups have one.
        `advance` counts groups as rows.
        """

    def choice(
        self,
        prompts: Sequence[Chat],
        *,
        options: Sequence[str],
        rendering: Rendering,
        advance: Advance = unheard,
    ) -> list[tuple[float, ...]]:
        """The log-probability (nats) of each option, for each prompt, as what the model would write next.

        An option continues what is already written of the answer (`answer`; nothing when it is None) and is scored
        without an end token. What prompts begin with together is computed once.
        """

    def answer_lengths(self, chats: Sequence[Chat], *, rendering: Rendering) -> list[int]:
        """How many tokens each answer has as rendered (its end token included)."""

    def prompt_room(self, chats: Sequence[Chat], *, rendering: Rendering) -> list[int]:
        """How many tokens each whole prompt leaves, of `max_length` and of the model's context; below 0 it is cut."""

    def embed(
        self, chats: Sequence[Chat], *, rendering: Rendering, embedding: Embedding, advance: Advance = unheard
    ) -> Any:
        """One vector for each chat: a float32 array (N, D), the row of a chat the same whatever its neighbours.

        `whiten` and `normalise` are not its business. Raises `EngineError` when the model has no such layer.
        """

    def uncertainty(
        self,
        chats: Sequence[Chat],
        *,
        rendering: Rendering,
        over: Literal["all", "answer"],
        advance: Advance = unheard,
    ) -> list[Uncertainty]:
        """How unsure the model is of the tokens after `all` positions of each chat, or before those of its `answer`."""


class Engine(Protocol):
    """Opens models for inference."""

    def open(self, model: Model, folder: Path | None) -> AbstractContextManager[LM]:
        """An opened model. `folder` holds its weights and tokenizer; None when the engine resolves `model.ref` itself.

        Raises `EngineError` when the model cannot be loaded or lacks what rendering needs.
        """

    def release(self) -> None:
        """Let go of whatever is kept open between stages: a trainer is about to need the memory."""


# ---------------------------------------------------------------------------------------------- trainers


@dataclass(frozen=True, slots=True)
class AnswerExample:
    """One sequence to learn by maximum likelihood."""

    id: str
    sequence: Rendered


@dataclass(frozen=True, slots=True)
class PairExample:
    """Two sequences and what the frozen reference gave them (nats, summed over answer tokens)."""

    id: str
    chosen: Rendered
    rejected: Rendered
    reference_chosen: float
    reference_rejected: float


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """All that decides the outcome of a training, as plain data; examples are all of one kind."""

    examples: Sequence[AnswerExample] | Sequence[PairExample]
    objective: Objective
    optimisation: Optimisation
    lora: Lora | None
    seed: int


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step.

    `margin` (mean log-ratio of chosen over rejected, nats, not times beta) and `accuracy` (share of pairs with a
    positive margin) are None for SFT.
    """

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float
    margin: float | None = None
    accuracy: float | None = None


class Trainer(Protocol):
    """Fits weights to token ids. Blind to methods: it sees sequences, an objective and a schedule."""

    def tokenizer(self, model: Model, folder: Path | None) -> Tokenizer:
        """The tokenizer rendering should use for this model."""

    def fit(
        self,
        order: TrainingOrder,
        *,
        model: Model,
        folder: Path | None,
        out: Path,
        scratch: Path,
        advance: Advance = unheard,
    ) -> list[Step]:
        """Train and write a complete model folder to `out` (weights, config, tokenizer); give every step's numbers.

        `scratch` survives a crash of this call: checkpoints go there, and a call that finds one continues from it
        with the same final weights. Raises `EngineError` with the remedy when the model or the examples do not fit.
        """


# --------------------------------------------------------------------------------------------- executors


@dataclass(frozen=True, slots=True)
class Order:
    """A stage call to be carried out, as picklable plain data: which body, which arguments, with which adapters."""

    key: str
    module: str
    name: str
    arguments: Mapping[str, Any]
    store: Path
    scratch: Path
    engine: Engine
    trainer: Trainer


class Executor(Protocol):
    """Decides in which process an order runs, never what it gives."""

    def run(self, order: Order, *, advance: Advance) -> Mapping[str, Any]:
        """Carry the order out; what it made lies in `order.scratch`, and the returned record describes it."""


class Observer(Protocol):
    """Hears what a run does: the journal, the progress display, a test."""

    def hear(self, event: Mapping[str, Any]) -> None:
        """One event, as plain data with an `event` name."""


def each(observers: Sequence[Observer], event: Mapping[str, Any]) -> None:
    """Tell every observer one event."""
    for observer in observers:
        observer.hear(event)
