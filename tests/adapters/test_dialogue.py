"""Dialogues in text: an answer ends where a model writes the heading of the next turn, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from selfalign.engines.transformers import TransformersEngine
from selfalign.ports import Continuation
from selfalign.render import prompt_ids, prompt_text
from selfalign.types import Chat, Message, Model, Rendering, Sampling
from selfalign.weights import TOY_FOLDER

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

DIALOGUE, FREE = Rendering(prompt="dialogue"), Rendering(prompt="continued")
ENDS = ("\n### User\n", "\n### Assistant\n")
# Pieces of headings, so that random weights write whole ones often: in one token, in several, and other headings.
PIECES = ("\n### ", "User\n", "Assistant\n", "### User\n", "\n### User\n", "Step\n", "\n### Users")
ROWS = 160
SAMPLED = Sampling(max_new_tokens=40, temperature=1.0)


def heading_folder(place: Path) -> Path:
    """A random Llama of two dozen tokens, a third of which are pieces of headings."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = [*"ab?#UserAitn1", "Ġ", "Ċ"]
    inner = Tokenizer(
        models.BPE(vocab={letter: number for number, letter in enumerate(dict.fromkeys(letters))}, merges=[])
    )
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(mark, special=True) for mark in ("<|end|>", "<|pad|>")])
    inner.add_tokens([AddedToken(piece, special=False, normalized=False) for piece in PIECES])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=256, initializer_range=0.1, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).eval().save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return heading_folder(tmp_path_factory.mktemp("headings"))


def rows() -> list[Chat]:
    turns = (Message(role="user", content="a"), Message(role="assistant", content="b"))
    return [
        Chat(
            id=f"row-{number}",
            prompt=(*turns[: 2 * (number % 2)], Message(role="user", content="ab"[number % 3 :] + "?")),
        )
        for number in range(ROWS)
    ]


def as_text(tokenizer: Any, row: Chat) -> Chat:
    """The same prompt as one text that is continued, in which no heading ends anything."""
    text = prompt_text(tokenizer, row.prompt, DIALOGUE)
    alone = replace(row, prompt=(Message(role="user", content=text),))
    assert prompt_ids(tokenizer, alone, FREE) == prompt_ids(tokenizer, row, DIALOGUE)
    return alone


class Both:
    """What a model writes under headings, and what without regard to them, from the same seeds."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.folder = folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.heard = {"rows": 0, "tokens": 0}

    def advance(self, *, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        self.heard["rows"] += rows
        self.heard["tokens"] += tokens

    def written(
        self, asked: list[Chat], sampling: Sampling, rendering: Rendering, *, first_seed: int = 0
    ) -> list[Continuation]:
        self.heard = {"rows": 0, "tokens": 0}
        seeds = [first_seed + number for number in range(len(asked))]
        with TransformersEngine(device="cpu").open(Model(f"path:{self.folder}"), self.folder) as lm:
            return lm.generate(asked, sampling=sampling, rendering=rendering, seeds=seeds, advance=self.advance)

    def free(self, asked: list[Chat], sampling: Sampling, *, first_seed: int = 0) -> list[Continuation]:
        texts = [as_text(self.tokenizer, row) for row in asked]
        return self.written(texts, sampling, FREE, first_seed=first_seed)


def first_end(text: str) -> int | None:
    """Where an answer ends in a text that goes on, the line break before its heading left out; None: nowhere."""
    return min((place for end in ENDS if (place := f"\n{text}".find(end)) >= 0), default=None)


def test_an_answer_ends_at_the_next_heading_and_nothing_after_it_is_written(folder: Path) -> None:
    both = Both(folder)
    free = both.free(rows(), SAMPLED)
    answers = both.written(rows(), SAMPLED, DIALOGUE)
    assert both.heard == {"rows": ROWS, "tokens": sum(answer.tokens for answer in answers)}
    ended = [number for number in range(ROWS) if first_end(free[number].text) is not None]
    assert 20 < len(ended) < ROWS
    for answer, whole in zip(answers, free, strict=True):
        place = first_end(whole.text)
        if place is None:
            assert answer == whole, "what holds no heading is as it would be without the rule"
            continue
        assert answer.finished
        assert answer.text == f"\n{whole.text}"[1:place].rstrip()
        assert answer.tokens <= whole.tokens
    check_that_the_last_token_ended_it(both, answers, ended[:12])


def check_that_the_last_token_ended_it(both: Both, answers: list[Continuation], ended: list[int]) -> None:
    """With as many tokens as an answer took its heading is there, with one less it is not."""
    for number in ended:
        row, taken = rows()[number], answers[number].tokens
        for limit in range(max(1, taken - 1), taken + 1):
            (whole,) = both.free([row], replace(SAMPLED, max_new_tokens=limit), first_seed=number)
            assert (first_end(whole.text) is not None) == (limit == taken), row.id


def test_other_headings_are_part_of_an_answer(folder: Path) -> None:
    answers = Both(folder).written(rows(), SAMPLED, DIALOGUE)
    assert any("\n### Step" in answer.text for answer in answers)
    assert any("\n### Users" in answer.text for answer in answers)


def test_an_answer_that_begins_with_a_heading_is_empty(folder: Path) -> None:
    """The prompt ends in a line break, so the model wrote no answer but went on with the next turn."""
    both = Both(folder)
    free = both.free(rows(), SAMPLED)
    at_once = [number for number, whole in enumerate(free) if whole.text.startswith("### User\n")]
    assert at_once
    answers = both.written(rows(), SAMPLED, DIALOGUE)
    assert {(answers[number].text, answers[number].finished) for number in at_once} == {("", True)}


def test_the_toy_writes_under_headings_what_it_writes_after_the_same_text() -> None:
    both = Both(TOY_FOLDER)
    asked = rows()[:6]
    sampling = Sampling(max_new_tokens=8, temperature=1.0)
    assert both.written(asked, sampling, DIALOGUE) == both.free(asked, sampling)
