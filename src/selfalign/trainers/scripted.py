"""A trainer without weights: it writes down that a scripted model has learned, by how much and from what.

Pairs of `ports.Trainer` and `engines.scripted`: what this writes, that opens. It knows nothing of methods.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from selfalign.engines.scripted import SCRIPT, Script, script_of
from selfalign.errors import EngineError
from selfalign.ports import Advance, Step, Tokenizer, TrainingOrder, unheard
from selfalign.store import write_text
from selfalign.trainers.schedule import steps_to_train
from selfalign.types import Model


@dataclass(slots=True, eq=False)
class WordTokenizer:
    """A tokenizer whose tokens are UTF-8 bytes; enough for rendering rows of scripted models."""

    eos_token: str | None = "<end>"  # noqa: S105 - a token of text
    eos_token_id: int | None = 256
    bos_token_id: int | None = None
    all_special_tokens: list[str] = field(default_factory=list)
    chat_template: Any = field(default="{role}: {content}")

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        """The bytes of a text."""
        return list(text.encode("utf-8", "replace"))

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> Any:
        """One line a message, then the line the assistant will write."""
        lines = [f"{message['role']}: {message['content']}" for message in conversation]
        return "\n".join([*lines, "assistant: "] if add_generation_prompt else lines)


@dataclass(frozen=True, slots=True)
class ScriptedTrainer:
    """Half of what is missing is learned per call, `learns` at most; a negative value makes models forget."""

    learns: float = 0.5

    def tokenizer(self, model: Model, folder: Path | None) -> Tokenizer:
        """A byte tokenizer."""
        return WordTokenizer()

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
        """Write a more skilled script; one step per batch, its progress kept in `scratch` as real trainers do."""
        if not order.examples:
            raise EngineError("there are no examples to train on; look at what was dropped and why")
        script = script_of(model, folder)
        done = scratch / "steps.json"
        steps = [Step(**step) for step in json.loads(done.read_text("utf-8"))] if done.exists() else []
        for number in range(len(steps), steps_to_train(order.optimisation, examples=len(order.examples))):
            steps.append(Step(number + 1, 0.7 / (number + 1), order.optimisation.learning_rate, 1.0))
            write_text(done, json.dumps([asdict(step) for step in steps]))
            advance(rows=order.optimisation.batch_size, step=number + 1)
        learned = Script(script.name, max(0.0, script.skill + (1 - script.skill) * self.learns))
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / SCRIPT, json.dumps(asdict(learned)))
        return steps
