"""A real provider without weights: deterministic, instant, and good exactly as far as its `skill` says.

A scripted model is a name (`scripted:novice`) or a folder with `script.json` that a scripted trainer wrote. It knows
the human answer with probability `skill` and babbles otherwise, so a loop over it learns, plateaus and can be tested
without a tensor library. It does not know tokens: its token is a word.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selfalign.errors import EngineError
from selfalign.keys import seed_of
from selfalign.ports import Advance, Continuation, unheard
from selfalign.types import AnswerScore, Chat, Model, Rendering, Sampling

SCRIPT = "script.json"
BABBLE = ("well", "perhaps", "stone", "river", "often", "blue", "seven", "and", "maybe", "so", "under", "light")


@dataclass(frozen=True, slots=True)
class Script:
    """All there is to a scripted model: a name and how much it knows, from 0 to 1."""

    name: str
    skill: float


def script_of(model: Model, folder: Path | None) -> Script:
    """The script of a model reference or of a trained folder.

    Raises:
        EngineError: the model is not a scripted one.
    """
    if folder is None and model.ref.startswith("scripted:"):
        return Script(name=model.ref.removeprefix("scripted:"), skill=0.2)
    if folder is not None and (folder / SCRIPT).exists():
        return Script(**json.loads((folder / SCRIPT).read_text("utf-8")))
    raise EngineError(
        f"the scripted engine cannot open {model.ref!r}; set place.engine to 'transformers' for real weights"
    )


@dataclass(frozen=True, slots=True)
class ScriptedEngine:
    """Opens scripted models."""

    @contextmanager
    def open(self, model: Model, folder: Path | None) -> Iterator[ScriptedLM]:
        """The scripted model of this reference or folder."""
        yield ScriptedLM(script_of(model, folder))

    def release(self) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class ScriptedLM:
    """An opened scripted model."""

    script: Script

    def generate(
        self,
        prompts: Sequence[Chat],
        *,
        sampling: Sampling,
        rendering: Rendering,
        seeds: Sequence[int],
        advance: Advance = unheard,
    ) -> list[Continuation]:
        """The human answer with probability `skill`, else babble; cut at `max_new_tokens` words."""
        made = []
        for chat, seed in zip(prompts, seeds, strict=True):
            draw = random.Random(0 if sampling.temperature == 0 else seed)
            made.append(self.continued(chat, draw, sampling.max_new_tokens))
            advance(rows=1, tokens=made[-1].tokens)
        return made

    def continued(self, chat: Chat, draw: random.Random, limit: int) -> Continuation:
        """One answer."""
        knows = draw.random() < self.script.skill and chat.answer is not None
        text = (
            chat.answer if knows and chat.answer is not None else " ".join(draw.choices(BABBLE, k=draw.randint(3, 12)))
        )
        words = text.split(" ")
        finished = len(words) < limit
        return Continuation(text=" ".join(words[:limit]), finished=finished, tokens=min(len(words) + 1, limit))

    def logprob(
        self, groups: Sequence[tuple[Chat, ...]], *, rendering: Rendering, advance: Advance = unheard
    ) -> list[tuple[AnswerScore, ...]]:
        """A fixed price a word, lower with more skill, with a spread that depends on the text alone."""
        advance(rows=len(groups), tokens=sum(len((chat.answer or "").split(" ")) for group in groups for chat in group))
        return [tuple(self.scored(chat) for chat in group) for group in groups]

    def scored(self, chat: Chat) -> AnswerScore:
        """The score of one answer."""
        if chat.answer is None:
            raise EngineError(f"row {chat.id!r} has no answer to score")
        tokens = len(chat.answer.split(" ")) + int(chat.finished)
        spread = (seed_of(chat.id, chat.answer) % 1000) / 1000
        return AnswerScore(
            id=chat.id, log_probability=-tokens * (3.0 - 2.0 * self.script.skill + spread), tokens=tokens
        )

    def answer_lengths(self, chats: Sequence[Chat], *, rendering: Rendering) -> list[int]:
        """Words of each answer, its end counted when it came."""
        return [len((chat.answer or "").split(" ")) + int(chat.finished) for chat in chats]
