"""Laws that every engine keeps, and what the transformers engine must agree on with the library it drives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from selfalign import weights
from selfalign.engines.scripted import ScriptedEngine
from selfalign.engines.transformers import TransformersEngine
from selfalign.errors import EngineError, RecipeError
from selfalign.ports import LM, Continuation, Engine
from selfalign.render import prompt_ids, rendered, rendered_together
from selfalign.types import Chat, Embedding, Message, Model, Rendering, Sampling

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEMPLATE = (
    "{%- for message in messages %}{{ '<|' ~ message['role'] ~ '|>' ~ message['content'] ~ '<|end|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}{%- endif %}"
)
WORDS = (
    "upper: river",
    "double: ab",
    "say a long thing about stones, rivers and the blue light",
    "x",
    "first: one two",
)
GREEDY = Sampling(max_new_tokens=12, temperature=0.0)
SAMPLED = Sampling(max_new_tokens=12, temperature=1.0)


@dataclass(frozen=True)
class Case:
    """An engine with a model it opens."""

    engine: Engine
    model: Model
    folder: Path | None

    def opened(self) -> Any:
        return self.engine.open(self.model, self.folder)


def tiny_folder(place: Path, *, seed: int = 0) -> Path:
    """A random Llama with a byte tokenizer: every text is a sentence of its language."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    marks = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|pad|>"]
    inner.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>", pad_token="<|pad|>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.2, eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None, pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=True,
    )  # fmt: skip
    LlamaForCausalLM(config).eval().save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session", params=["tiny", "embedded:toy"])
def model_folder(request: pytest.FixtureRequest, tiny: Path) -> Path:
    if request.param == "tiny":
        return tiny
    try:
        found = weights.folder(weights.pinned(request.param))
    except RecipeError as error:
        pytest.skip(str(error))
    assert found is not None
    return found


# (name, how to make the engine with its limits, the model it opens; None is the folder of the fixture)
ENGINES: list[tuple[str, Callable[..., Engine], str | None]] = [
    ("transformers", lambda **limits: TransformersEngine(device="cpu", **limits), None),
    ("scripted", lambda **_: ScriptedEngine(), "scripted:novice"),
]


@pytest.fixture(params=ENGINES, ids=[name for name, _, _ in ENGINES])
def make_case(request: pytest.FixtureRequest, tiny: Path) -> Callable[..., Case]:
    _, factory, ref = request.param
    model = weights.pinned(ref or f"path:{tiny}")
    return lambda **limits: Case(factory(**limits), model, weights.folder(model))


@pytest.fixture
def opened(model_folder: Path) -> Iterator[LM]:
    with TransformersEngine(device="cpu").open(Model(f"path:{model_folder}"), model_folder) as lm:
        yield lm


@pytest.fixture
def reference(model_folder: Path) -> tuple[Any, Any]:
    """The library's own model and tokenizer, untouched by the engine."""
    model = transformers.AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(model_folder)


def chat(text: str, *, id: str = "", answer: str | None = None, finished: bool = True) -> Chat:
    return Chat(
        id=id or text[:8], prompt=(Message(role="user", content=text),), answer=answer, finished=finished
    )  # fmt: skip


def chats() -> list[Chat]:
    return [chat(text, id=f"row-{number}") for number, text in enumerate(WORDS)]


def generated(lm: LM, rows: list[Chat], sampling: Sampling, *, seeds: list[int] | None = None) -> list[Continuation]:
    numbers = seeds if seeds is not None else [1000 + number for number in range(len(rows))]
    return lm.generate(rows, sampling=sampling, rendering=Rendering(), seeds=numbers)


# ------------------------------------------------------------------------------------- laws of every engine


def test_order_and_length_are_kept(make_case: Callable[..., Case]) -> None:
    rows, seeds = chats(), [7, 8, 9, 10, 11]
    with make_case().opened() as lm:
        forward = generated(lm, rows, SAMPLED, seeds=seeds)
        backward = generated(lm, rows[::-1], SAMPLED, seeds=seeds[::-1])
    assert len(forward) == len(rows)
    assert forward == backward[::-1]


def test_same_seeds_give_the_same_text(make_case: Callable[..., Case]) -> None:
    with make_case().opened() as lm:
        assert generated(lm, chats(), SAMPLED) == generated(lm, chats(), SAMPLED)


def test_other_seeds_give_other_texts(make_case: Callable[..., Case]) -> None:
    same = [chat("say something", id="one row")] * 16
    with make_case().opened() as lm:
        assert len({written.text for written in generated(lm, same, SAMPLED, seeds=list(range(16)))}) > 1


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(max_new_tokens=12, top_p=0.9, top_k=20)])
def test_neighbours_and_batch_size_change_nothing(make_case: Callable[..., Case], sampling: Sampling) -> None:
    rows, seeds = chats(), [1, 2, 3, 2**63 - 1, 0]
    with make_case().opened() as lm:
        together = generated(lm, rows, sampling, seeds=seeds)
        alone = [generated(lm, [row], sampling, seeds=[seed])[0] for row, seed in zip(rows, seeds, strict=True)]
    with make_case(rows_at_once=2, tokens_at_once=8).opened() as lm:
        in_pieces = generated(lm, rows, sampling, seeds=seeds)
    assert together == alone == in_pieces


def test_the_limit_is_kept_and_said(make_case: Callable[..., Case]) -> None:
    with make_case().opened() as lm:
        for written in generated(lm, chats(), Sampling(max_new_tokens=2)):
            assert written.tokens <= 2
            assert written.finished or written.tokens == 2


def test_no_prompts_give_no_texts(make_case: Callable[..., Case]) -> None:
    with make_case().opened() as lm:
        assert generated(lm, [], SAMPLED) == []
        assert lm.logprob([], rendering=Rendering()) == []
        assert lm.answer_lengths([], rendering=Rendering()) == []


def test_progress_adds_up(make_case: Callable[..., Case]) -> None:
    heard = {"rows": 0, "tokens": 0}

    def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        heard["rows"] += rows
        heard["tokens"] += tokens

    with make_case().opened() as lm:
        written = lm.generate(chats(), sampling=SAMPLED, rendering=Rendering(), seeds=[1] * 5, advance=advance)
    assert heard == {"rows": 5, "tokens": sum(continuation.tokens for continuation in written)}


def test_scores_keep_the_shape_of_the_groups(make_case: Callable[..., Case]) -> None:
    groups = [
        (chat("x", answer="one"),),
        (chat("y", answer="two"), chat("y", answer="three four")),
        (chat("z", answer="q"),),
    ]
    with make_case().opened() as lm:
        scores = lm.logprob(groups, rendering=Rendering())
        lengths = lm.answer_lengths([row for group in groups for row in group], rendering=Rendering())
    assert [[score.id for score in group] for group in scores] == [[row.id for row in group] for group in groups]
    assert [score.tokens for group in scores for score in group] == lengths
    assert all(score.log_probability < 0 for group in scores for score in group)


def answered() -> list[Chat]:
    """Prompts with answers, the last one equal to the first but for its id."""
    rows = [chat(text, id=f"row-{number}", answer=f"{text} is said") for number, text in enumerate(WORDS)]
    return [*rows, replace(rows[0], id="again")]


def heard_by(heard: dict[str, int]) -> Callable[..., None]:
    def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        heard["rows"] = heard.get("rows", 0) + rows
        heard["tokens"] = heard.get("tokens", 0) + tokens

    return advance


@pytest.mark.parametrize("pooling", ["all", "answer", "last"])
def test_a_row_has_one_vector_wherever_it_stands(make_case: Callable[..., Case], pooling: Any) -> None:
    numpy = pytest.importorskip("numpy")
    rows, heard = answered(), dict[str, int]()
    how: dict[str, Any] = {"rendering": Rendering(), "embedding": Embedding(pooling=pooling)}
    with make_case().opened() as lm:
        forward_ND = lm.embed(rows, advance=heard_by(heard), **how)
        backward_ND = lm.embed(rows[::-1], **how)
        alone_ND = numpy.concatenate([lm.embed([row], **how) for row in rows])
    assert forward_ND.dtype == numpy.float32
    assert forward_ND.shape[0] == len(rows)
    assert heard["rows"] == len(rows)
    assert heard["tokens"] > 0
    scale = float(numpy.abs(forward_ND).max())
    for other_ND in (backward_ND[::-1], alone_ND):
        assert numpy.allclose(forward_ND, other_ND, rtol=1e-4, atol=1e-5 * scale)
    assert (forward_ND[0] == forward_ND[-1]).all(), "equal rows have equal vectors"


def test_a_prompt_is_embedded_without_an_answer_where_that_is_asked_for(make_case: Callable[..., Case]) -> None:
    rendering, prompts = Rendering(), Embedding(text="prompt")
    with make_case().opened() as lm:
        vectors_ND = lm.embed(chats(), rendering=rendering, embedding=prompts)
        assert (vectors_ND == lm.embed(answered()[:-1], rendering=rendering, embedding=prompts)).all()
        assert (vectors_ND != lm.embed(answered()[:-1], rendering=rendering, embedding=Embedding())).any()
        with pytest.raises(EngineError, match=r"'row-0' has no answer to embed; set embedding\.text to 'prompt'"):
            lm.embed(chats(), rendering=rendering, embedding=Embedding())
        with pytest.raises(EngineError, match="pooling 'answer' needs an answer"):
            lm.embed(chats(), rendering=rendering, embedding=Embedding(text="prompt", pooling="answer"))


def test_uncertainty_keeps_order_and_its_bounds(make_case: Callable[..., Case]) -> None:
    rows, heard = answered(), dict[str, int]()
    with make_case().opened() as lm:
        for over in ("all", "answer"):
            forward = lm.uncertainty(rows, rendering=Rendering(), over=over, advance=heard_by(heard))
            backward = lm.uncertainty(rows[::-1], rendering=Rendering(), over=over)
            lengths = lm.answer_lengths(rows, rendering=Rendering())
            assert [row.id for row in forward] == [row.id for row in rows]
            for one, other, length in zip(forward, backward[::-1], lengths, strict=True):
                assert one.id == other.id
                assert one.entropy == pytest.approx(other.entropy, rel=1e-4)
                assert one.tokens == length if over == "answer" else one.tokens > length
                assert one.entropy >= 0
                assert one.logit_margin >= 0
                assert 0 <= one.probability_margin <= one.probability <= 1
        with pytest.raises(EngineError, match="'row-0' has no answer"):
            lm.uncertainty(chats(), rendering=Rendering(), over="answer")
    assert heard["rows"] == 2 * len(rows)


def test_without_its_prompt_an_answer_has_another_score_of_as_many_tokens(make_case: Callable[..., Case]) -> None:
    groups = [(row,) for row in answered()]
    with make_case().opened() as lm:
        after_prompt = lm.logprob(groups, rendering=Rendering())
        after_header = lm.logprob(groups, rendering=Rendering(context="header"))
    for (one,), (other,) in zip(after_prompt, after_header, strict=True):
        assert one.tokens == other.tokens
        assert one.log_probability != other.log_probability


# ------------------------------------------------------------------------------- agreement with the library


def greedy_ids(model: Any, ids: list[int], count: int) -> list[int]:
    inputs = torch.tensor([ids])
    output = model.generate(
        inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=count, pad_token_id=0
    )  # fmt: skip
    return output[0, len(ids) :].tolist()


def test_greedy_is_the_librarys_greedy(opened: LM, reference: tuple[Any, Any]) -> None:
    model, tokenizer = reference
    rows = chats()
    for row, written in zip(rows, generated(opened, rows, GREEDY), strict=True):
        ids = greedy_ids(model, prompt_ids(tokenizer, row, Rendering()), GREEDY.max_new_tokens)
        assert written.tokens == len(ids)
        assert written.finished == (ids[-1] == tokenizer.eos_token_id)
        assert written.text == tokenizer.decode(ids, skip_special_tokens=True)


def test_generation_scoring_and_training_see_one_prompt(opened: LM, reference: tuple[Any, Any]) -> None:
    model, tokenizer = reference
    for row, written in zip(chats(), generated(opened, chats(), GREEDY), strict=True):
        learned = rendered(tokenizer, chat(row.prompt[0].content, answer=written.text), Rendering())
        prompt = list(learned.ids[: learned.prompt_length])
        assert prompt == prompt_ids(tokenizer, row, Rendering())
        assert tokenizer.decode(greedy_ids(model, prompt, 12), skip_special_tokens=True) == written.text


@torch.no_grad()
def plain_score(model: Any, ids: tuple[int, ...], loss: tuple[bool, ...], attention: tuple[bool, ...]) -> float:
    """Token by token, one prefix at a time, float64: the definition."""
    total = 0.0
    for place in range(1, len(ids)):
        if loss[place]:
            logits = model(
                input_ids=torch.tensor([ids[:place]]),
                attention_mask=torch.tensor([attention[:place]]).long(),
                position_ids=torch.arange(place)[None],
            ).logits[0, -1]
            total += float(torch.log_softmax(logits.double(), dim=-1)[ids[place]])
    return total


ANSWERS = [
    chat("upper: river", id="a", answer="RIVER"),
    chat("x", id="b", answer=""),
    chat("say a long thing about stones and rivers", id="c", answer="cut in the mid", finished=False),
    chat("double: ab", id="d", answer="abab it is, and here are some more words to make it long"),
]


@pytest.mark.parametrize("answer_end", ["natural", "official-double"])
def test_scores_equal_the_definition(opened: LM, reference: tuple[Any, Any], answer_end: Any) -> None:
    model, tokenizer = reference
    rendering = Rendering(answer_end=answer_end)
    for row, (score,) in zip(ANSWERS, opened.logprob([(row,) for row in ANSWERS], rendering=rendering), strict=True):
        sequence = rendered(tokenizer, row, rendering)
        assert score.tokens == sum(sequence.loss)
        expected = plain_score(model, sequence.ids, sequence.loss, sequence.attention)
        assert score.log_probability == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("prompt", ["chat", "instruction-response", "alpaca"])
def test_a_direct_score_is_that_of_the_answer_after_the_header_alone(
    opened: LM, reference: tuple[Any, Any], prompt: Any
) -> None:
    model, tokenizer = reference
    rendering = Rendering(prompt=prompt, context="header")
    if prompt == "chat":
        turn = [{"role": "user", "content": "any"}]
        texts = [
            tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=asked) for asked in (True, False)
        ]
        header = texts[0].removeprefix(texts[1])
    else:
        header = "### Response: " if prompt == "instruction-response" else "### Response:"
    begin = [tokenizer.bos_token_id] if prompt == "alpaca" and tokenizer.bos_token_id is not None else []
    before = (*begin, *tokenizer.encode(header, add_special_tokens=False))
    for row, (score,) in zip(ANSWERS, opened.logprob([(row,) for row in ANSWERS], rendering=rendering), strict=True):
        assert row.answer is not None
        ending = [tokenizer.eos_token_id] if row.finished else []
        answer = (*tokenizer.encode(row.answer, add_special_tokens=False), *ending)
        ids, loss = (*before, *answer), (*(False for _ in before), *(True for _ in answer))
        assert score.tokens == len(answer)
        assert score.log_probability == pytest.approx(plain_score(model, ids, loss, (True,) * len(ids)), abs=1e-4)


def test_holes_in_the_attention_count(opened: LM, reference: tuple[Any, Any]) -> None:
    """The released code hides earlier end tokens; ignoring that would give another score."""
    model, tokenizer = reference
    rendering = Rendering(answer_end="official-double")
    sequence = rendered(tokenizer, ANSWERS[0], rendering)
    assert not all(sequence.attention)
    ((score,),) = opened.logprob([(ANSWERS[0],)], rendering=rendering)
    unheeded = plain_score(model, sequence.ids, sequence.loss, (True,) * len(sequence.ids))
    assert abs(score.log_probability - unheeded) > 1e-3


def test_a_group_shares_its_prompt_when_it_is_cut(opened: LM, reference: tuple[Any, Any]) -> None:
    model, tokenizer = reference
    rendering = Rendering(max_length=40)
    group = (chat("a prompt that is too long for forty", answer="short"), chat("", answer="a longer answer than that"))
    scores = opened.logprob([group], rendering=rendering)[0]
    for score, sequence in zip(scores, rendered_together(tokenizer, group, rendering), strict=True):
        expected = plain_score(model, sequence.ids, sequence.loss, sequence.attention)
        assert score.log_probability == pytest.approx(expected, abs=1e-4)


def test_batch_composition_hardly_moves_a_score(model_folder: Path) -> None:
    model = Model(f"path:{model_folder}")
    many = [(chat(f"row {number} " * (number % 7 + 1), answer="an answer " * (number % 5)),) for number in range(40)]
    with TransformersEngine(device="cpu").open(model, model_folder) as lm:
        together = lm.logprob(many, rendering=Rendering())
    with TransformersEngine(device="cpu", tokens_at_once=1).open(model, model_folder) as lm:
        alone = lm.logprob(many, rendering=Rendering())
    for (one,), (other,) in zip(together, alone, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


SMALL = {
    "vocab_size": 261,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SHORT = {"num_key_value_heads": 2, "head_dim": 12, "max_position_embeddings": 256, "initializer_range": 0.2}
ARCHITECTURES = {
    "sliding windows": ("MistralConfig", {**SMALL, **SHORT, "sliding_window": 8}),
    "capped logits": ("Gemma2Config", {**SMALL, **SHORT, "sliding_window": 8, "final_logit_softcapping": 3.0}),
    "scaled logits": ("CohereConfig", {**SMALL, "max_position_embeddings": 256, "initializer_range": 0.2}),
    "biased projections": ("Qwen2Config", {**SMALL, "num_key_value_heads": 2, "initializer_range": 0.2}),
    "normed queries": ("Qwen3Config", {**SMALL, **SHORT}),
    "learned positions": (
        "GPT2Config",
        {"vocab_size": 261, "n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 256},
    ),
    "recurrent states": ("MambaConfig", {"vocab_size": 261, "hidden_size": 48, "num_hidden_layers": 2}),
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_other_architectures_agree_with_the_library(tiny: Path, tmp_path: Path, kind: str) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    name, settings = ARCHITECTURES[kind]
    special = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**settings, **special)).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with TransformersEngine(device="cpu").open(Model("path:x"), tmp_path) as lm:
        written = generated(lm, chats(), GREEDY)
        scores = lm.logprob([(row,) for row in ANSWERS], rendering=Rendering())
    for row, own in zip(chats(), written, strict=True):
        ids = greedy_ids(model, prompt_ids(tokenizer, row, Rendering()), GREEDY.max_new_tokens)
        assert own.text == tokenizer.decode(ids, skip_special_tokens=True)
    for row, (score,) in zip(ANSWERS, scores, strict=True):
        sequence = rendered(tokenizer, row, Rendering())
        expected = plain_score(model, sequence.ids, sequence.loss, sequence.attention)
        assert score.log_probability == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "common"),
    [("LlamaConfig", True), ("MistralConfig", True), ("Qwen2Config", True), ("Qwen3Config", True),
     ("CohereConfig", False), ("Gemma2Config", False)],
)  # fmt: skip
def test_layers_of_the_common_form_are_fused_and_compute_the_same(name: str, common: bool) -> None:
    from selfalign.engines.fused_layers import fused

    torch.manual_seed(1)
    config = getattr(transformers, name)(**{**SMALL, **SHORT}, pad_token_id=0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.randint(0, 261, (3, 20))
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        assert fused(model) is common
        torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
    assert type(model.base_model.layers[0]).__name__.startswith("Fused") is common


PRECISIONS: list[Any] = ["int8", "bfloat16"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_answers_are_written_in_another_precision_and_scored_in_the_models_own(
    model_folder: Path, reference: tuple[Any, Any], precision: Any
) -> None:
    from selfalign.engines.fused_layers import decoding

    if precision == "bfloat16" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 products")
    library, _ = reference
    ids = torch.arange(40).view(2, 20) % 200
    with TransformersEngine(device="cpu").open(Model("path:x"), model_folder) as lm:
        before = lm.logprob([(row,) for row in ANSWERS], rendering=Rendering())
        written = generated(lm, chats(), replace(SAMPLED, precision=precision))
        again = generated(lm, chats(), replace(SAMPLED, precision=precision))
        assert lm.logprob([(row,) for row in ANSWERS], rendering=Rendering()) == before
        model = lm.loaded.model
        with torch.inference_mode():
            exact = library(input_ids=ids).logits.log_softmax(dim=-1)
            with decoding(model, precision):
                rounded = model(input_ids=ids).logits.log_softmax(dim=-1)
            torch.testing.assert_close(model(input_ids=ids).logits.log_softmax(dim=-1), exact, rtol=1e-4, atol=1e-4)
    assert written == again
    assert len(written) == len(chats())
    assert 0 < float((rounded - exact).abs().mean()) < 0.25


def test_a_model_that_cannot_be_rounded_says_so(tiny: Path, tmp_path: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    name, settings = ARCHITECTURES["learned positions"]
    special = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**settings, **special)).save_pretrained(
        tmp_path
    )
    tokenizer.save_pretrained(tmp_path)
    with (
        TransformersEngine(device="cpu").open(Model("path:x"), tmp_path) as lm,
        pytest.raises(EngineError, match=r"sampling.precision 'int8' needs .* set it to 'exact'"),
    ):
        generated(lm, chats(), replace(SAMPLED, precision="int8"))


@pytest.mark.slow
def test_greedy_of_a_grown_model_is_the_librarys_greedy() -> None:
    try:
        model = weights.pinned("embedded:smollm2")
    except RecipeError as error:
        pytest.skip(str(error))
    folder = weights.folder(model)
    assert folder is not None
    library = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = ("What is the capital of France?", "List three fruits.", "Name a colour.", "Explain rain to a small child.")
    rows = [chat(text) for text in texts]
    with TransformersEngine(device="cpu").open(model, folder) as lm:
        written = generated(lm, rows, Sampling(max_new_tokens=20, temperature=0.0))
    for row, own in zip(rows, written, strict=True):
        ids = greedy_ids(library, prompt_ids(tokenizer, row, Rendering()), 20)
        assert own.text == tokenizer.decode(ids, skip_special_tokens=True)


# ------------------------------------------------------------------------------------ the scripted engine


def scripted(place: Path, *, skill: float) -> Any:
    place.mkdir()
    (place / "script.json").write_text(json.dumps({"name": "it", "skill": skill}))
    return ScriptedEngine().open(Model("path:x"), place)


def scattered() -> list[Chat]:
    return [chat(f"question {number}", id=str(number), answer="words " * (number % 5 + 1)) for number in range(300)]


def test_scripted_answers_are_mostly_harder_without_their_prompt(tmp_path: Path) -> None:
    groups = [(row,) for row in scattered()]
    with scripted(tmp_path / "a", skill=0.2) as lm:
        with_prompt, without = (
            lm.logprob(groups, rendering=Rendering()),
            lm.logprob(groups, rendering=Rendering(context="header")),
        )
    ratios = [
        one.log_probability / other.log_probability for (one,), (other,) in zip(with_prompt, without, strict=True)
    ]
    assert 0.02 < sum(ratio > 1 for ratio in ratios) / len(ratios) < 0.25
    assert max(ratios) - min(ratios) > 0.3


def test_a_trained_scripted_model_sees_other_neighbours_and_doubts_less(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    rows, how = scattered(), {"rendering": Rendering(), "embedding": Embedding()}
    with scripted(tmp_path / "a", skill=0.2) as novice, scripted(tmp_path / "b", skill=0.6) as trained:
        ours_ND, theirs_ND = novice.embed(rows, **how), trained.embed(rows, **how)
        ours, theirs = (lm.uncertainty(rows, rendering=Rendering(), over="all") for lm in (novice, trained))
    distances = [numpy.linalg.norm(each_ND[:, None] - each_ND[None], axis=-1) for each_ND in (ours_ND, theirs_ND)]
    assert (distances[0].argmax(axis=1) != distances[1].argmax(axis=1)).any(), "the farthest row is another one"
    assert all(one.entropy > other.entropy for one, other in zip(ours, theirs, strict=True))


def test_scripted_texts_that_share_words_lie_near(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    rows = [chat("the blue river flows", answer="slowly"), chat("the blue river runs", answer="slowly"),
            chat("count seven stones", answer="done quickly")]  # fmt: skip
    with scripted(tmp_path / "a", skill=0.5) as lm:
        one_D, near_D, far_D = lm.embed(rows, rendering=Rendering(), embedding=Embedding())
    assert numpy.linalg.norm(one_D - near_D) < numpy.linalg.norm(one_D - far_D)


# ----------------------------------------------------------------------------------- where a model ends


def test_a_row_ends_where_the_models_context_ends(tiny: Path) -> None:
    with TransformersEngine(device="cpu").open(Model(f"path:{tiny}"), tiny) as lm:
        (written,) = generated(lm, [chat("y" * 240)], Sampling(max_new_tokens=100))
        assert written.finished or written.tokens < 20
        with pytest.raises(EngineError, match=r"row 'full'.*context 256"):
            generated(lm, [chat("y" * 300, id="full")], SAMPLED)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("config.json", "no config.json"), ("*.safetensors", "no .*weights"), ("token*", "tokenizer")],
)
def test_what_a_folder_lacks_is_named(tmp_path: Path, missing: str, message: str) -> None:
    folder = tiny_folder(tmp_path / "model")
    for file in folder.glob(missing):
        file.unlink()
    with pytest.raises(EngineError, match=message), TransformersEngine(device="cpu").open(Model("path:x"), folder):
        pass


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace('"llama"', '"nonesuch"'))
    with pytest.raises(EngineError, match="nonesuch"), TransformersEngine(device="cpu").open(Model("path:x"), folder):
        pass


def test_logits_that_are_no_numbers_name_the_row(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    with TransformersEngine(device="cpu").open(Model("path:x"), folder) as lm:
        with pytest.raises(EngineError, match=r"row-0.*not finite"):
            generated(lm, chats()[:1], SAMPLED)
        with pytest.raises(EngineError, match=r"'a'.*not finite"):
            lm.logprob([(ANSWERS[0],)], rendering=Rendering())


def test_a_model_without_template_is_refused(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with TransformersEngine(device="cpu").open(Model("path:x"), folder) as lm:
        with pytest.raises(EngineError, match="no chat template"):
            generated(lm, chats(), SAMPLED)
        wrapped = Rendering(prompt="instruction-response")
        assert len(lm.generate(chats(), sampling=SAMPLED, rendering=wrapped, seeds=[0] * 5)) == 5


def test_a_folder_that_changed_is_read_again(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    row = [(chat("x", answer="y"),)]
    with TransformersEngine(device="cpu").open(Model("path:x"), folder) as lm:
        before = lm.logprob(row, rendering=Rendering())
    tiny_folder(folder, seed=1)
    with TransformersEngine(device="cpu").open(Model("path:x"), folder) as lm:
        assert lm.logprob(row, rendering=Rendering()) != before
