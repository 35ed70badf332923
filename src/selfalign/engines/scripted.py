"""A real provider without weights: deterministic, instant, and good exactly as far as its `skill` says.

A scripted model is a name (`scripted:novice`) or a folder with `script.json` that a scripted trainer wrote. It knows
the human answer with probability `skill` and babbles otherwise, so a loop over it learns, plateaus and can be tested
without a tensor library. It does not know tokens: its token is a word.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from selfalign.errors import EngineError
from selfalign.keys import seed_of
from selfalign.ports import Advance, Continuation, unheard
from selfalign.render import with_system
from selfalign.types import AnswerScore, Chat, Embedding, Model, Rendering, Sampling, Uncertainty

SCRIPT = "script.json"
BABBLE = ("well", "perhaps", "stone", "river", "often", "blue", "seven", "and", "maybe", "so", "under", "light")
# How a grading prompt says where its scale begins and ends.
ASKS_FOR_SCORE = re.compile(r"Score: .*?(\d+) to (\d+)")
# How a list of tasks ends that is to be continued.
ASKS_FOR_TASKS = re.compile(r"(\d+)\. Instruction:\Z")
# How a list of topics ends that is to be continued, and a request for a question.
ASKS_FOR_TOPICS = re.compile(r"\nTopics:\n(?:.*\n)*\d+\.\Z")
ASKS_FOR_QUESTION = re.compile(r"\nQuestion:\Z")
SYLLABLES = ("ka", "lo", "mi", "ru", "ten", "vas", "pir", "dob", "nu", "sel", "gar", "hin")
DIMENSIONS = 16
# How much of an embedding is the model's own sense of a word, at full skill; the rest is the same for every model.
OWN_SENSE = 0.5


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
        """The human answer with probability `skill`, else babble; cut at `max_new_tokens` words.

        A prompt that asks for a line `Score:` between two numbers gets its opinion, and a list of tasks is continued;
        both are readable more often with skill.
        """
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
        if chat.answer is None and chat.prompt and (asked := ASKS_FOR_SCORE.search(chat.prompt[-1].content)):
            text = self.graded(chat, int(asked[1]), int(asked[2]))
        elif chat.answer is None and chat.prompt and (asked := ASKS_FOR_TASKS.search(chat.prompt[-1].content)):
            text = self.tasks(draw, int(asked[1]))
        elif chat.answer is None and chat.prompt and ASKS_FOR_TOPICS.search(chat.prompt[-1].content):
            text = "".join(f" {made_up(draw)}\n{place}." for place in range(3, 7))
        elif chat.answer is None and chat.prompt and ASKS_FOR_QUESTION.search(chat.prompt[-1].content):
            text = f" Why does the {' '.join(made_up(draw) for _ in range(5))}?\n"
        elif any(turn.role == "assistant" and "Answer: " in turn.content for turn in chat.prompt):
            # It was shown how to think first, and does so more often with skill.
            shown = draw.random() < (1 + self.script.skill) / 2
            text = f"Thought: {draw.choice(BABBLE)}.\nAnswer: {text}" if shown else text
        words = text.split(" ")
        finished = len(words) < limit
        return Continuation(text=" ".join(words[:limit]), finished=finished, tokens=min(len(words) + 1, limit))

    def graded(self, chat: Chat, lowest: int, highest: int) -> str:
        """A reply to somebody who wants a score."""
        if spread(self.script.name, "writes", chat.prompt[-1].content) > (1 + self.script.skill) / 2:
            return "perhaps so"
        return f"perhaps so\nScore: {round(lowest + self.opinion(chat) * (highest - lowest))}"

    def tasks(self, draw: random.Random, number: int) -> str:
        """Four tasks in words of its own making, from the middle of the first one on; some lack what makes a task."""
        text = ""
        for place in range(number, number + 4):
            words = [made_up(draw) for _ in range(draw.randint(6, 12))]
            text += f"{place}. Instruction: " if text else " "
            text += " ".join(words)
            if draw.random() < (1 + self.script.skill) / 2:
                text += f"\n{place}. Input:\n{draw.choice(('<noinput>', ' '.join(words[::-1])))}"
            else:
                text += f"\n{draw.choice(BABBLE)}"
            text += "\n###\n"
        return text

    def logprob(
        self, groups: Sequence[tuple[Chat, ...]], *, rendering: Rendering, advance: Advance = unheard
    ) -> list[tuple[AnswerScore, ...]]:
        """A fixed price a word, lower with more skill, with a spread that depends on the text alone.

        Without its prompt (`context` `header`) most answers are dearer, by up to twice; a few are cheaper.
        """
        advance(rows=len(groups), tokens=sum(len((chat.answer or "").split(" ")) for group in groups for chat in group))
        return [tuple(self.scored(chat, rendering) for chat in group) for group in groups]

    def scored(self, chat: Chat, rendering: Rendering) -> AnswerScore:
        """The score of one answer."""
        if chat.answer is None:
            raise EngineError(f"row {chat.id!r} has no answer to score")
        tokens = len(chat.answer.split(" ")) + int(chat.finished)
        price = 3.0 - 2.0 * self.script.skill + spread(chat.id, chat.answer)
        if rendering.context == "header":
            price *= 0.9 + spread("header", chat.id, chat.answer)
        return AnswerScore(id=chat.id, log_probability=-tokens * price, tokens=tokens)

    def choice(
        self, prompts: Sequence[Chat], *, options: Sequence[str], rendering: Rendering, advance: Advance = unheard
    ) -> list[tuple[float, ...]]:
        """Later options for prompts without babble, earlier ones for those with it, as far as its skill tells them.

        It cannot know quality; it knows its own babble when it reads a line of it. The options have nine tenths of
        the probability.
        """
        advance(rows=len(prompts), tokens=len(prompts))
        return [self.leaning(chat, len(options)) for chat in prompts]

    def leaning(self, chat: Chat, count: int) -> tuple[float, ...]:
        """The log-probabilities of so many options, falling on both sides of the one it leans to."""
        peak = self.opinion(chat) * (count - 1)
        heights = [-(1 + 3 * self.script.skill) * abs(number - peak) for number in range(count)]
        total = math.log(sum(math.exp(height) for height in heights)) - math.log(0.9)
        return tuple(height - total for height in heights)

    def opinion(self, chat: Chat) -> float:
        """What it thinks of a prompt, from 0 to 1: right with probability `skill`, else a fixed prejudice."""
        text = "\n".join(message.content for message in chat.prompt)
        if spread(self.script.name, "sees", text) >= self.script.skill:
            return spread("prejudice", text)
        lines = [line.split() for line in text.splitlines()]
        return 0.0 if any(line and all(word in BABBLE for word in line) for line in lines) else 1.0

    def answer_lengths(self, chats: Sequence[Chat], *, rendering: Rendering) -> list[int]:
        """Words of each answer, its end counted when it came."""
        return [len((chat.answer or "").split(" ")) + int(chat.finished) for chat in chats]

    def prompt_room(self, chats: Sequence[Chat], *, rendering: Rendering) -> list[int]:
        """Words that each prompt leaves of `max_length`."""
        return [rendering.max_length - 1 - len(prompt_words(chat, rendering)) for chat in chats]

    def embed(
        self, chats: Sequence[Chat], *, rendering: Rendering, embedding: Embedding, advance: Advance = unheard
    ) -> Any:
        """The mean of a vector for each word: equal texts are equal, texts that share words are near.

        What this model makes of a word grows with its skill, so that a trained one sees other neighbours. Layers are
        all the same to it.
        """
        import numpy

        vectors_ND = numpy.zeros((len(chats), DIMENSIONS), dtype=numpy.float32)
        for row, chat in enumerate(chats):
            words = words_to_embed(chat, rendering, embedding)
            own = [word_vector(self.script.name, word) for word in words]
            common = [word_vector("", word) for word in words]
            vectors_ND[row] = numpy.mean(common, axis=0) + OWN_SENSE * self.script.skill * numpy.mean(own, axis=0)
            advance(rows=1, tokens=len(words))
        return vectors_ND

    def uncertainty(
        self,
        chats: Sequence[Chat],
        *,
        rendering: Rendering,
        over: Literal["all", "answer"],
        advance: Advance = unheard,
    ) -> list[Uncertainty]:
        """Numbers that depend on the text, and on the skill: who knows more doubts less."""
        measured = [self.doubts(chat, rendering, over) for chat in chats]
        advance(rows=len(chats), tokens=sum(row.tokens for row in measured))
        return measured

    def doubts(self, chat: Chat, rendering: Rendering, over: Literal["all", "answer"]) -> Uncertainty:
        """The uncertainty of one row."""
        words = answer_words(chat) if over == "answer" else [*prompt_words(chat, rendering), *answer_words(chat)]
        if not words:
            raise EngineError(f"row {chat.id!r} has no answer tokens to be unsure of; drop it or measure over 'all'")
        doubt = (1 - 0.8 * self.script.skill) * (0.2 + 0.8 * spread(*words))
        return Uncertainty(
            id=chat.id,
            tokens=len(words),
            logit=20 - 10 * doubt,
            logit_margin=5 * (1 - doubt) * (0.5 + spread("margin", *words)),
            probability=1 - 0.9 * doubt,
            probability_margin=(1 - doubt) * (1 - 0.5 * spread("margin", *words)),
            entropy=4 * doubt,
        )


def made_up(draw: random.Random) -> str:
    """A word of its own making."""
    return "".join(draw.choices(SYLLABLES, k=2))


def spread(*parts: str) -> float:
    """A number from 0 to 1 that depends on texts alone."""
    return (seed_of(*parts) % 1000) / 1000


def prompt_words(chat: Chat, rendering: Rendering) -> list[str]:
    """The words a scripted model reads before an answer: the header alone, or what was said and by whom."""
    said = with_system(chat.prompt, rendering) if rendering.context == "prompt" else ()
    return [*(word for message in said for word in (message.role, *message.content.split())), "assistant"]


def answer_words(chat: Chat) -> list[str]:
    """The words of an answer, its end among them if it came."""
    if chat.answer is None:
        raise EngineError(f"row {chat.id!r} has no answer to read; generate one or leave the row out")
    return [*chat.answer.split(), *(["<end>"] if chat.finished else [])]


def words_to_embed(chat: Chat, rendering: Rendering, embedding: Embedding) -> list[str]:
    """The words whose vectors are averaged."""
    if embedding.text == "prompt":
        if embedding.pooling == "answer":
            raise EngineError("embedding.pooling 'answer' needs an answer to read: embedding.text 'prompt-and-answer'")
        words = prompt_words(chat, rendering)
    elif chat.answer is None:
        raise EngineError(f"row {chat.id!r} has no answer to embed; set embedding.text to 'prompt'")
    else:
        words = answer_words(chat)
        if embedding.pooling != "answer":
            words = [*prompt_words(chat, rendering), *words]
    if not words:
        raise EngineError(f"row {chat.id!r} has no answer to average over; set embedding.pooling to 'all'")
    return words[-1:] if embedding.pooling == "last" else words


def word_vector(name: str, word: str) -> Any:
    """The vector of a word as the model `name` sees it, values from -1 to 1."""
    import numpy

    digest = hashlib.blake2b(f"{name} {word}".encode("utf-8", "replace"), digest_size=4 * DIMENSIONS).digest()
    return numpy.frombuffer(digest, dtype="<u4").astype(numpy.float32) / 2**31 - 1
