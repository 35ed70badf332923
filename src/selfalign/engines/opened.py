"""A loaded model: how it gets into memory and how it answers what `ports.LM` asks.

Rendering is `render`'s, the decode loop is `decode`'s, scores are `scoring`'s; this file joins them and turns what
can go wrong into one message.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from selfalign.engines.choosing import Fork, choices, forked
from selfalign.engines.cpu_linear import fits_twice, quicken
from selfalign.engines.decode import Limits, Prompt, decode
from selfalign.engines.embedding import embeddings, sequences_to_read
from selfalign.engines.forms import form_of
from selfalign.engines.fused_layers import decoding, fused
from selfalign.engines.prefix import context_of
from selfalign.engines.scoring import answer_log_probabilities, head_is_plain, is_causal
from selfalign.engines.unsureness import uncertainties
from selfalign.errors import EngineError
from selfalign.ports import Advance, Continuation, unheard
from selfalign.processor import keep_freed_memory
from selfalign.render import (
    answer_ids,
    is_full,
    most_prompt_tokens,
    prompt_ids,
    rendered,
    rendered_together,
    whole_prompt_ids,
    written_ends,
)
from selfalign.types import AnswerScore, Chat, Embedding, Rendering, Sampling, Uncertainty
from selfalign.unpacking import quiet_transformers

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory with its tokenizer.

    `stop_ids` end an answer; `plain_head` says how logits are made; `decoder_only` is False for an encoder, or half of
    an encoder-decoder, which open as language models too.
    """

    name: str
    model: Any
    tokenizer: Any
    stop_ids: frozenset[int]
    plain_head: bool
    decoder_only: bool


# The last loaded model and what it was loaded from. One slot: two models at once is how memory runs out.
SLOT: dict[tuple[Any, ...], Loaded] = {}


def loaded(folder: Path, *, name: str, device: str, dtype: str) -> Loaded:
    """The model of a folder, from the slot if it was the last one and its files are unchanged.

    Raises:
        EngineError: see `checked_files`, `placed`; or transformers does not know the architecture.
    """
    keep_freed_memory()
    place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if dtype not in DTYPES:
        raise EngineError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    stamps = tuple((file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in checked_files(folder, name))
    slot = (folder.resolve(), stamps, place, dtype)
    if slot not in SLOT:
        release()
        with quiet_transformers():
            SLOT[slot] = load(folder, name=name, device=place, dtype=DTYPES[dtype])
    return SLOT[slot]


def release() -> None:
    """Let go of the loaded model, so that its memory can be used for something else."""
    if SLOT:
        SLOT.clear()
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def checked_files(folder: Path, name: str) -> list[Path]:
    """The files that are a model's weights and settings.

    Raises:
        EngineError: no config.json, no weights, or no tokenizer in the folder.
    """
    if not (folder / "config.json").is_file():
        raise EngineError(
            f"{name}: {folder} has no config.json, so it is no model folder; write it with save_pretrained"
        )
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise EngineError(f"{name}: {folder} has no *.safetensors weights; write them with save_pretrained")
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")):
        raise EngineError(f"{name}: {folder} has no tokenizer; save the tokenizer of the model it came from into it")
    return [*weights, *sorted(folder.glob("*.json")), *sorted(folder.glob("*.jinja"))]


def load(folder: Path, *, name: str, device: torch.device, dtype: torch.dtype) -> Loaded:
    """A folder's model and tokenizer in memory, ready for inference.

    Attention is the library's choice, sdpa wherever the architecture has it: to ask for it refuses Gemma 2 and Mamba.
    """
    source: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with explained(f"opening {name} from {folder}"):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **source)
        tokenizer.model_max_length = 1 << 62  # what is too long is refused or cut here; its own warning says otherwise
        model: Any = AutoModelForCausalLM.from_pretrained(str(folder), dtype=dtype, **source)
        model = model.to(device).eval().requires_grad_(False)
        form = form_of(folder, model)
        if device.type == "cpu" and dtype == torch.float32 and fits_twice(model):
            form.fused = fused(model, known=form.fused)
            quicken(model, but=model.base_model.layers if form.fused else ())
        if form.decoder_only is None:
            form.decoder_only = not form.encoder and is_causal(model)
        form.remember(model)
        return Loaded(
            name, model, tokenizer, stop_ids(model, tokenizer), head_is_plain(model), decoder_only=form.decoder_only
        )


def stop_ids(model: PreTrainedModel, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer: those of the generation settings, and the tokenizer's own."""
    settings = model.generation_config
    listed = settings.eos_token_id if settings is not None else None
    ids = listed if isinstance(listed, list) else [listed]
    return frozenset(int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None)


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn what torch and transformers raise into one `EngineError` that says what was done, and the remedy."""
    try:
        yield
    except EngineError:
        raise
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"{doing}: the device ran out of memory; lower place.rows_at_once or "
            "place.tokens_at_once, or set place.dtype to bfloat16"
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        if "can't allocate memory" in reason:
            reason = "there is not enough memory; lower place.rows_at_once or place.tokens_at_once"
        raise EngineError(f"{doing}: {reason}") from error


@dataclass(frozen=True, slots=True)
class OpenedModel:
    """A loaded model, serving `ports.LM`."""

    loaded: Loaded
    rows_at_once: int
    tokens_at_once: int

    def generate(
        self,
        prompts: Sequence[Chat],
        *,
        sampling: Sampling,
        rendering: Rendering,
        seeds: Sequence[int],
        advance: Advance = unheard,
    ) -> list[Continuation]:
        """Continue each prompt; see `ports.LM` and `decode`."""
        tokenizer = self.loaded.tokenizer
        asked = [
            Prompt(id=chat.id, ids=tuple(prompt_ids(tokenizer, chat, rendering)), seed=seed)
            for chat, seed in zip(prompts, seeds, strict=True)
        ]
        limits = Limits(rows_at_once=self.rows_at_once, tokens_at_once=self.tokens_at_once)
        with explained(f"generating with {self.loaded.name}"), decoding(self.loaded.model, sampling.precision):
            written = decode(
                self.loaded.model,
                asked,
                sampling=sampling,
                stop_ids=self.loaded.stop_ids,
                limits=limits,
                plain_head=self.loaded.plain_head,
                advance=advance,
                ended_by=self.ended_by(written_ends(rendering)),
            )
        return [self.continuation(ids, written_ends(rendering)) for ids in written]

    def ended_by(self, ends: tuple[str, ...]) -> Callable[[list[int]], bool] | None:
        """Whether tokens have just written a text that ends an answer; None where no text does."""
        if not ends:
            return None
        # Every token that has a part in such a text writes at least one of its characters, or is a control token.
        window = 2 * max(len(end) for end in ends)

        def ended(ids: list[int]) -> bool:
            text = self.text(ids[-window:])
            return any(end in (text if len(ids) > window else f"\n{text}") for end in ends)

        return ended

    def continuation(self, ids: list[int], ends: tuple[str, ...]) -> Continuation:
        """What a model wrote as text, its end token, or the text that ends it and what follows, left out."""
        finished = bool(ids) and ids[-1] in self.loaded.stop_ids
        text = self.text(ids[:-1] if finished else ids)
        places = [place for end in ends if (place := f"\n{text}".find(end)) >= 0]
        if places:
            text, finished = text[: max(0, min(places) - 1)].rstrip(), True
        return Continuation(text=text, finished=finished, tokens=len(ids))

    def text(self, ids: list[int]) -> str:
        """What tokens say, control tokens left out."""
        return str(self.loaded.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def logprob(
        self, groups: Sequence[tuple[Chat, ...]], *, rendering: Rendering, advance: Advance = unheard
    ) -> list[tuple[AnswerScore, ...]]:
        """Score each answer; see `ports.LM` and `scoring`."""
        chats = [chat for group in groups for chat in group]
        sequences = [
            sequence for group in groups for sequence in rendered_together(self.loaded.tokenizer, group, rendering)
        ]
        owner = [number for number, group in enumerate(groups) for _ in group]
        left = [len(group) for group in groups]

        def done(rows: list[int], tokens: int) -> None:
            """A group counts as a row once its last sequence is scored."""
            for row in rows:
                left[owner[row]] -= 1
            advance(rows=sum(left[number] == 0 for number in {owner[row] for row in rows}), tokens=tokens)

        with explained(f"scoring with {self.loaded.name}"):
            sums = answer_log_probabilities(
                self.loaded.model,
                sequences,
                names=[chat.id for chat in chats],
                tokens_at_once=self.tokens_at_once,
                plain_head=self.loaded.plain_head,
                done=done,
            )
        scores = iter(
            AnswerScore(id=chat.id, log_probability=value, tokens=sum(sequence.loss), cut=is_full(sequence, rendering))
            for chat, sequence, value in zip(chats, sequences, sums, strict=True)
        )
        return [tuple(next(scores) for _ in group) for group in groups]

    def choice(
        self, prompts: Sequence[Chat], *, options: Sequence[str], rendering: Rendering, advance: Advance = unheard
    ) -> list[tuple[float, ...]]:
        """The log-probability of each option as what comes next; see `ports.LM` and `choosing`."""
        tokenizer = self.loaded.tokenizer
        forks: dict[str, Fork] = {}  # most rows of a call go on from the same words
        for written in {chat.answer or "" for chat in prompts}:
            texts = (written, *(written + option for option in options))
            ids, *continued = (tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts)
            forks[written] = forked(ids, continued)
        with explained(f"choosing with {self.loaded.name}"):
            return choices(
                self.loaded.model,
                [tuple(prompt_ids(tokenizer, chat, rendering)) for chat in prompts],
                [forks[chat.answer or ""] for chat in prompts],
                names=[chat.id for chat in prompts],
                rows_at_once=self.rows_at_once,
                tokens_at_once=self.tokens_at_once,
                plain_head=self.loaded.plain_head,
                done=lambda rows, tokens: advance(rows=rows, tokens=tokens),
            )

    def answer_lengths(self, chats: Sequence[Chat], *, rendering: Rendering) -> list[int]:
        """How many tokens each answer has as rendered."""
        return [len(answer_ids(self.loaded.tokenizer, chat, rendering)) for chat in chats]

    def prompt_room(self, chats: Sequence[Chat], *, rendering: Rendering) -> list[int]:
        """How many tokens each whole prompt leaves; see `ports.LM`."""
        most = min(most_prompt_tokens(rendering), context_of(self.loaded.model) - 1)
        return [most - len(whole_prompt_ids(self.loaded.tokenizer, chat, rendering)) for chat in chats]

    def embed(
        self, chats: Sequence[Chat], *, rendering: Rendering, embedding: Embedding, advance: Advance = unheard
    ) -> Any:
        """One vector for each chat, float32 (N, D); see `ports.LM` and `embedding`."""
        self.check_decoder_only()
        sequences = sequences_to_read(self.loaded.tokenizer, chats, rendering=rendering, embedding=embedding)
        with explained(f"embedding with {self.loaded.name}"):
            return embeddings(
                self.loaded.model,
                sequences,
                names=[chat.id for chat in chats],
                embedding=embedding,
                tokens_at_once=self.tokens_at_once,
                done=lambda rows, tokens: advance(rows=rows, tokens=tokens),
            )

    def uncertainty(
        self,
        chats: Sequence[Chat],
        *,
        rendering: Rendering,
        over: Literal["all", "answer"],
        advance: Advance = unheard,
    ) -> list[Uncertainty]:
        """How unsure the model is of each chat's tokens; see `ports.LM` and `unsureness`."""
        self.check_decoder_only()
        sequences = [rendered(self.loaded.tokenizer, chat, rendering) for chat in chats]
        with explained(f"measuring uncertainty with {self.loaded.name}"):
            return uncertainties(
                self.loaded.model,
                sequences,
                names=[chat.id for chat in chats],
                over=over,
                tokens_at_once=self.tokens_at_once,
                plain_head=self.loaded.plain_head,
                done=lambda rows, tokens: advance(rows=rows, tokens=tokens),
            )

    def check_decoder_only(self) -> None:
        """Refuse a model whose states are not those of a reader from left to right."""
        if not self.loaded.decoder_only:
            raise EngineError(
                f"{self.loaded.name} is not a decoder-only language model: its states depend on later tokens or on an "
                "encoder's; name another with a decoder alone (Llama, Qwen, GPT-2 and their like)"
            )
