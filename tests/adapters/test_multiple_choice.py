"""Many answers to one prompt on real weights: the prompt read once, and the same numbers as one by one."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from adapters.test_engines import ARCHITECTURES, plain_score, tiny_folder
from selfalign.engines.transformers import TransformersEngine
from selfalign.render import rendered
from selfalign.types import Chat, Message, Model, Rendering

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PROMPTS = {
    "What grows on trees?": ("Apples, and with luck pears too.", "Salt.", "No one knows", "Iron, in autumn"),
    "Is it late?": ("Yes.", "No."),
    "How many legs has a spider, and how many has an ant? Tell me both.": ("Eight and six.", "Six", "Four, five, six"),
    "And a fly?": ("Six of them, as an ant has.",),
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def group(prompt: str, options: tuple[str, ...]) -> tuple[Chat, ...]:
    asked = (Message(role="user", content=prompt),)
    return tuple(Chat(id=prompt, prompt=asked, answer=option) for option in options)


GROUPS = [group(*one) for one in PROMPTS.items()]


def values(lm: Any, groups: list[tuple[Chat, ...]], rendering: Rendering = Rendering()) -> list[list[float]]:
    return [[one.log_probability for one in scored] for scored in lm.logprob(groups, rendering=rendering)]


def opened(place: Path, **limits: int) -> Any:
    return TransformersEngine(device="cpu", **limits).open(Model(f"path:{place}"), place)


@pytest.mark.parametrize("kind", ["tiny", *ARCHITECTURES])
def test_options_together_get_what_each_gets_alone(tiny: Path, tmp_path: Path, kind: str) -> None:
    place = tiny
    if kind != "tiny":
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
        name, settings = ARCHITECTURES[kind]
        special = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**settings, **special))
        place = tmp_path
        model.eval().save_pretrained(place)
        tokenizer.save_pretrained(place)
    model = transformers.AutoModelForCausalLM.from_pretrained(place).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(place)
    with opened(place) as lm:
        together = values(lm, GROUPS)
        for chats, found in zip(GROUPS, together, strict=True):
            for chat, value in zip(chats, found, strict=True):
                sequence = rendered(tokenizer, chat, Rendering())
                expected = plain_score(model, sequence.ids, sequence.loss, sequence.attention)
                assert value == pytest.approx(expected, abs=1e-4)
                assert values(lm, [(chat,)])[0][0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("tokens_at_once", [64, 4096])
def test_small_passes_and_another_form_of_prompts_change_nothing(tiny: Path, tokens_at_once: int) -> None:
    for rendering in (Rendering(), Rendering(prompt="alpaca"), Rendering(answer_end="official-double")):
        with opened(tiny) as lm:
            expected = [values(lm, [(chat,)], rendering)[0][0] for chats in GROUPS for chat in chats]
        with opened(tiny, tokens_at_once=tokens_at_once) as lm:
            found = [value for scored in values(lm, GROUPS, rendering) for value in scored]
        assert found == pytest.approx(expected, abs=1e-4)


def test_the_order_of_options_changes_no_value(tiny: Path) -> None:
    prompt, options = next(iter(PROMPTS.items()))
    with opened(tiny) as lm:
        expected = dict(zip(options, values(lm, [group(prompt, options)])[0], strict=True))
        for order in permutations(options):
            found = dict(zip(order, values(lm, [group(prompt, order)])[0], strict=True))
            assert found == pytest.approx(expected, abs=1e-5)


def test_the_tokens_of_a_shared_prompt_are_read_once(tiny: Path) -> None:
    """Counted in what passes through the embedding, which every token read does."""
    groups = [group(prompt, ("Apples", "Grapes", "Citrus")) for prompt in ("What is red?", "Any on sale?")]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    (sequence, *_), _ = ([rendered(tokenizer, chat, Rendering()) for chat in chats] for chats in groups)
    read: list[int] = []
    with opened(tiny) as lm:
        watch = lm.loaded.model.get_input_embeddings().register_forward_hook(
            lambda module, given, made: read.append(given[0].numel())
        )
        try:
            lm.logprob(groups, rendering=Rendering())
        finally:
            watch.remove()
    prompt, answer = sequence.prompt_length, sum(sequence.loss)
    # The prompt's last token is read with each answer: the first token of the answer is predicted there.
    assert sum(read) == 2 * (prompt - 1) + 6 * (1 + answer)
