"""The probability of a few continuations: exact with and without a shared beginning, and a probability at all."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.test_engines import ARCHITECTURES, scripted, tiny_folder
from selfalign import weights
from selfalign.engines.scripted import BABBLE, ScriptedEngine
from selfalign.engines.transformers import TransformersEngine
from selfalign.errors import EngineError, RecipeError
from selfalign.render import prompt_ids
from selfalign.types import Chat, Message, Model, Rendering

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SCALE = tuple(f" {number}" for number in range(1, 11))
TEXTS = ("a river", "stones and the blue light, a long text about nothing", "x", "a river", "one two")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(params=["tiny", "embedded:toy", pytest.param("embedded:smollm2", marks=pytest.mark.slow)])
def folder(request: pytest.FixtureRequest, tiny: Path) -> Path:
    if request.param == "tiny":
        return tiny
    try:
        found = weights.folder(weights.pinned(request.param))
    except RecipeError as error:
        pytest.skip(str(error))
    assert found is not None
    return found


def asked(written: str | None = "Score:") -> list[Chat]:
    return [
        Chat(id=f"row-{number}", prompt=(Message(role="user", content=f"Grade this text, please: {text}"),),
             answer=written)
        for number, text in enumerate(TEXTS)
    ]  # fmt: skip


def opened(place: Path, **limits: int) -> Any:
    return TransformersEngine(device="cpu", **limits).open(Model(f"path:{place}"), place)


def chosen(lm: Any, rows: list[Chat], options: tuple[str, ...] = SCALE) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = lm.choice(rows, options=options, rendering=Rendering())
    return found


def path_value(model: Any, before: list[int], ids: list[int]) -> float:
    """The definition: the sum over tokens, one plain pass."""
    with torch.inference_mode():
        logs_TV = model(torch.tensor([[*before, *ids]])).logits[0].float().log_softmax(-1)
    return sum(float(logs_TV[len(before) - 1 + place, token]) for place, token in enumerate(ids))


def by_definition(model: Any, tokenizer: Any, row: Chat, options: tuple[str, ...]) -> list[float]:
    written = row.answer or ""
    before = [*prompt_ids(tokenizer, row, Rendering()), *tokenizer.encode(written, add_special_tokens=False)]
    tails = []
    for option in options:
        ids = tokenizer.encode(written + option, add_special_tokens=False)
        tails.append(ids[len(tokenizer.encode(written, add_special_tokens=False)) :])
    values = []
    for tail in tails:
        longer = {tuple(other[: len(tail) + 1]) for other in tails if other[: len(tail)] == tail and other != tail}
        whole = math.exp(path_value(model, before, tail))
        values.append(math.log(whole - sum(math.exp(path_value(model, before, list(other))) for other in longer)))
    return values


def test_an_option_has_the_probability_of_its_tokens_less_that_of_longer_options(folder: Path) -> None:
    library = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with opened(folder) as lm:
        found = chosen(lm, asked())
    for row, values in zip(asked()[:2], found, strict=False):
        assert values == pytest.approx(by_definition(library, tokenizer, row, SCALE), abs=2e-4)


def test_probabilities_sum_to_at_most_one(folder: Path) -> None:
    with opened(folder) as lm:
        for options in (SCALE, ("4", "44", "444", "5"), ("yes", "yes, it is", "no")):
            for written in ("Score:", None, "Score: ", "It has 4"):
                for values in chosen(lm, asked(written), options):
                    assert 0 < sum(math.exp(value) for value in values) <= 1 + 1e-6


@pytest.mark.parametrize("kind", ["Llama", *ARCHITECTURES])
def test_a_shared_beginning_and_neighbours_change_nothing(tiny: Path, tmp_path: Path, kind: str) -> None:
    place = tiny
    if kind != "Llama":
        tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
        name, settings = ARCHITECTURES[kind]
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**settings)).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        place = tmp_path
    with opened(place) as lm:
        together = chosen(lm, asked())
        alone = [chosen(lm, [row])[0] for row in asked()]  # one row shares nothing
        backward = chosen(lm, asked()[::-1])[::-1]
    with opened(place, rows_at_once=2, tokens_at_once=64) as lm:
        in_pieces = chosen(lm, asked())
    for one, other, turned, pieces in zip(together, alone, backward, in_pieces, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
        assert one == pytest.approx(turned, abs=1e-4)
        assert one == pytest.approx(pieces, abs=1e-4)
    assert together[0] == together[3], "equal prompts are equal"


def test_the_shared_beginning_is_read_once(tiny: Path) -> None:
    with opened(tiny) as lm:
        heard = {"rows": 0, "tokens": 0}

        def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
            heard["rows"] += rows
            heard["tokens"] += tokens

        lm.choice(asked(), options=SCALE, rendering=Rendering(), advance=advance)
    assert heard["rows"] == len(TEXTS)
    assert heard["tokens"] < sum(len(text) + 20 for text in TEXTS)


def test_options_may_change_the_tokens_before_them() -> None:
    from selfalign.engines.choosing import forked

    fork = forked((1, 2, 3), [(1, 2, 30), (1, 2, 31), (1, 2, 3, 9)])
    assert fork.base == (1, 2)
    assert fork.turns == ((((), 30),), (((), 31),), (((), 3), ((3,), 9)))


@pytest.mark.parametrize("options", [("4", "4"), ("", "4")])
def test_options_that_cannot_be_told_apart_are_refused(tiny: Path, options: tuple[str, ...]) -> None:
    with opened(tiny) as lm, pytest.raises(EngineError, match="options"):
        chosen(lm, asked(), options)


def test_a_prompt_beyond_the_context_is_named(tiny: Path) -> None:
    row = Chat(id="long", prompt=(Message(role="user", content="y" * 300),))
    with opened(tiny) as lm, pytest.raises(EngineError, match=r"row 'long'.*context 256"):
        chosen(lm, [*asked(), row])


def test_no_prompts_give_nothing(tiny: Path) -> None:
    with opened(tiny) as lm:
        assert chosen(lm, []) == []


# ------------------------------------------------------------------------------------ the scripted engine


@pytest.fixture
def scripted_models(tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    with (
        scripted(tmp_path / "novice", skill=0.2) as novice,
        scripted(tmp_path / "master", skill=1.0) as master,
    ):
        yield novice, master


def graded(text: str) -> Chat:
    return Chat(id=text[:9], prompt=(Message(role="user", content=f"Grade this.\n{text}\nThat was it."),))


def expected_place(values: tuple[float, ...]) -> float:
    total = sum(math.exp(value) for value in values)
    return sum(number * math.exp(value) for number, value in enumerate(values)) / total


def test_a_scripted_grader_tells_babble_as_far_as_it_is_skilled(scripted_models: tuple[Any, Any]) -> None:
    good = [graded(f"the answer to question {number}") for number in range(60)]
    bad = [graded(" ".join(BABBLE[number % 7 : number % 7 + 4]) + f"\nitem {number}") for number in range(60)]
    leads = []
    for lm in scripted_models:
        high, low = ([expected_place(one) for one in chosen(lm, rows, SCALE[:5])] for rows in (good, bad))
        leads.append((sum(high) - sum(low)) / 60)
    assert leads[1] > 3
    assert leads[0] < leads[1] / 2


def test_a_scripted_choice_is_a_probability_and_always_the_same() -> None:
    with ScriptedEngine().open(Model("scripted:novice"), None) as lm:
        found = chosen(lm, asked())
        assert found == chosen(lm, asked())
    assert all(sum(map(math.exp, values)) == pytest.approx(0.9) for values in found)
