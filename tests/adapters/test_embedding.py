"""Vectors and uncertainties of the transformers engine: what the library's own full pass gives, whatever the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest

from adapters.test_engines import (
    ANSWERS,
    ARCHITECTURES,
    SHORT,
    SMALL,
    chat,
    tiny_folder,
)
from selfalign import weights
from selfalign.engines.transformers import TransformersEngine
from selfalign.errors import EngineError
from selfalign.ports import LM, Rendered
from selfalign.render import prompt_ids, rendered
from selfalign.types import Chat, Embedding, Model, Rendering

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROWS = [
    *ANSWERS,
    chat("one more, of some length", id="e", answer="so that every batch has padding"),
    chat("y", id="f", answer="z"),
]
MORE = {
    "biases by distance": ("BloomConfig", {"vocab_size": 261, "hidden_size": 48, "n_layer": 3, "n_head": 4}),
    "experts as many as blocks": (
        "MixtralConfig",
        {**SMALL, **SHORT, "num_local_experts": 2, "num_experts_per_tok": 1, "sliding_window": None},
    ),
    "a decoder inside": (
        "OPTConfig",
        {"vocab_size": 261, "hidden_size": 48, "ffn_dim": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
         "word_embed_proj_dim": 48, "max_position_embeddings": 256},
    ),
}  # fmt: skip
KINDS = {**ARCHITECTURES, **MORE}


def close(own: Any, expected: Any) -> bool:
    """Equal to four digits, or to a hundred-thousandth of the largest value: float32 sums taken in another order."""
    return numpy.allclose(own, expected, rtol=1e-4, atol=1e-5 * float(numpy.abs(expected).max()))


def small_folder(place: Path, tokenizer_from: Path, kind: str) -> Path:
    """A random model of an architecture, with the byte tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tokenizer_from)
    name, settings = KINDS[kind]
    special = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": None, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(getattr(transformers, name)(**settings, **special))
    model.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session", params=["tiny", "embedded:toy", *KINDS])
def folder(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "tiny":
        return tiny
    if request.param == "embedded:toy":
        found = weights.folder(weights.pinned("embedded:toy"))
        assert found is not None
        return found
    return small_folder(tmp_path_factory.mktemp("small"), tiny, request.param)


def engine(**limits: Any) -> TransformersEngine:
    return TransformersEngine(device="cpu", **limits)


@pytest.fixture
def opened(folder: Path) -> Iterator[LM]:
    with engine().open(Model("path:x"), folder) as lm:
        yield lm


def reference(folder: Path) -> tuple[Any, Any]:
    """The library's own model and tokenizer, untouched by the engine."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def full_pass(model: Any, sequence: Rendered) -> Any:
    """All hidden states and logits of one sequence alone: the definition."""
    return model(
        input_ids=torch.tensor([sequence.ids]),
        attention_mask=torch.tensor([sequence.attention]).long(),
        position_ids=torch.arange(len(sequence.ids))[None],
        output_hidden_states=True,
        use_cache=False,
    )


def listed_states(model: Any, sequence: Rendered) -> list[Any]:
    """What each block is given, [T, D] each, and what leaves the final norm."""
    states = [states_NTD[0] for states_NTD in full_pass(model, sequence).hidden_states]
    if model.config.model_type != "mamba":
        return states
    # its list begins after the first block and has the last block twice, without the norm and with it
    return [model.get_input_embeddings()(torch.tensor(sequence.ids)).detach(), *states[:-2], states[-1]]


def pooled(states_TD: Any, sequence: Rendered, pooling: str) -> Any:
    if pooling == "last":
        return states_TD[-1].numpy()
    chosen_T = torch.tensor(sequence.loss) if pooling == "answer" else torch.ones(len(sequence.ids), dtype=torch.bool)
    return states_TD[chosen_T].double().mean(dim=0).float().numpy()


# --------------------------------------------------------------------------------------------- embeddings


def test_every_layer_and_pooling_is_the_librarys(folder: Path, opened: LM) -> None:
    model, tokenizer = reference(folder)
    sequences = [rendered(tokenizer, row, Rendering()) for row in ROWS]
    passes = [listed_states(model, sequence) for sequence in sequences]
    layers = len(passes[0])
    for layer in range(-layers, layers):
        for pooling in ("all", "answer", "last"):
            own_ND = opened.embed(ROWS, rendering=Rendering(), embedding=Embedding(layer=layer, pooling=pooling))
            expected_ND = [pooled(states[layer], one, pooling) for states, one in zip(passes, sequences, strict=True)]
            assert own_ND.dtype == numpy.float32
            assert close(own_ND, numpy.stack(expected_ND)), (layer, pooling)


def test_a_layer_out_of_range_is_refused_with_the_range(folder: Path, opened: LM) -> None:
    layers = reference(folder)[0].config.num_hidden_layers
    for layer in (layers + 1, -layers - 2):
        with pytest.raises(EngineError, match=rf"layer \(--layer\) {layer} is not in {-layers - 1} … {layers}"):
            opened.embed(ROWS, rendering=Rendering(), embedding=Embedding(layer=layer))


@pytest.mark.parametrize("layer", [-1, 1])
def test_neighbours_order_and_batches_hardly_move_a_vector(folder: Path, layer: int) -> None:
    many = [
        chat(f"row {number} " * (number % 7 + 1), id=str(number), answer="an answer " * (number % 5))
        for number in range(40)
    ]
    how: dict[str, Any] = {"rendering": Rendering(), "embedding": Embedding(layer=layer)}
    with engine().open(Model("path:x"), folder) as lm:
        together_ND, backward_ND = lm.embed(many, **how), lm.embed(many[::-1], **how)
        one_by_one_ND = numpy.concatenate([lm.embed([row], **how) for row in many])
    with engine(tokens_at_once=100).open(Model("path:x"), folder) as lm:
        in_pieces_ND = lm.embed(many, **how)
    for other_ND in (backward_ND[::-1], one_by_one_ND, in_pieces_ND):
        assert close(together_ND, other_ND)
    distances = numpy.linalg.norm(together_ND[:, None] - together_ND[None], axis=-1)
    assert (distances[~numpy.eye(40, dtype=bool)] > 1e-3).all(), "or the rows are too alike to tell"


def test_equal_rows_have_equal_vectors_and_are_computed_once(tiny: Path) -> None:
    heard = {"rows": 0, "tokens": 0}

    def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        heard["rows"] += rows
        heard["tokens"] += tokens

    copies = [replace(row, id=f"{row.id}-{number}") for number in range(3) for row in ROWS]
    with engine(tokens_at_once=64).open(Model("path:x"), tiny) as lm:
        vectors_ND = lm.embed(copies, rendering=Rendering(), embedding=Embedding(), advance=advance)
    assert (vectors_ND[: len(ROWS)] == vectors_ND[len(ROWS) : 2 * len(ROWS)]).all()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny)
    read = sum(len(rendered(tokenizer, row, Rendering()).ids) for row in ROWS)
    assert heard == {"rows": len(copies), "tokens": read}


def test_prompts_alone_are_read_as_a_generator_sees_them(tiny: Path) -> None:
    model, tokenizer = reference(tiny)
    embedding = Embedding(text="prompt", layer=2)
    unanswered = [replace(row, answer=None) for row in ROWS]
    with engine().open(Model("path:x"), tiny) as lm:
        own_ND = lm.embed(unanswered, rendering=Rendering(), embedding=embedding)
        assert (own_ND == lm.embed(ROWS, rendering=Rendering(), embedding=embedding)).all()
    for row, own_D in zip(ROWS, own_ND, strict=True):
        ids = tuple(prompt_ids(tokenizer, row, Rendering()))
        alone = Rendered(ids=ids, loss=(False,) * len(ids), attention=(True,) * len(ids))
        assert close(own_D, full_pass(model, alone).hidden_states[2][0].mean(dim=0).numpy())


def test_hidden_end_tokens_are_hidden_from_vectors_too(tiny: Path) -> None:
    model, tokenizer = reference(tiny)
    rendering = Rendering(answer_end="official-double")
    with engine().open(Model("path:x"), tiny) as lm:
        own_ND = lm.embed(ROWS, rendering=rendering, embedding=Embedding())
    for row, own_D in zip(ROWS, own_ND, strict=True):
        sequence = rendered(tokenizer, row, rendering)
        assert not all(sequence.attention)
        assert close(own_D, full_pass(model, sequence).hidden_states[-1][0].mean(dim=0).numpy())


def test_means_of_narrow_weights_are_taken_in_float32(tiny: Path) -> None:
    _, tokenizer = reference(tiny)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).eval()
    with engine(dtype="bfloat16").open(Model("path:x"), tiny) as lm:
        (own_D,) = lm.embed(ROWS[:1], rendering=Rendering(), embedding=Embedding())
    states_TD = full_pass(model, rendered(tokenizer, ROWS[0], Rendering())).hidden_states[-1][0]
    wide, narrow = states_TD.float().mean(dim=0).numpy(), states_TD.mean(dim=0).float().numpy()
    assert own_D.dtype == numpy.float32
    assert numpy.abs(own_D - wide).max() < 0.1 * numpy.abs(narrow - wide).max()


def test_no_head_and_no_later_block_is_computed(tiny: Path) -> None:
    from selfalign.engines.opened import loaded

    ran: list[str] = []
    with engine().open(Model("path:x"), tiny) as lm:
        model = loaded(tiny, name="x", device="cpu", dtype="float32").model
        for name, part in [("head", model.lm_head), *((str(n), block) for n, block in enumerate(model.model.layers))]:
            part.register_forward_hook(lambda *_, name=name: ran.append(name))
        for layer, blocks in ((0, []), (1, ["0"]), (2, ["0", "1"]), (3, ["0", "1", "2"]), (-1, ["0", "1", "2"])):
            ran.clear()
            lm.embed(ROWS[:1], rendering=Rendering(), embedding=Embedding(layer=layer))
            assert ran == blocks
    engine().release()


def test_no_rows_give_an_empty_matrix(tiny: Path) -> None:
    with engine().open(Model("path:x"), tiny) as lm:
        assert lm.embed([], rendering=Rendering(), embedding=Embedding()).shape == (0, 48)
        assert lm.uncertainty([], rendering=Rendering(), over="all") == []


# ---------------------------------------------------------------------------------------------- uncertainty


def expected_means(logits_TV: Any, sequence: Rendered, over: str) -> list[float]:
    """The five means, from the logits of all places, in float64."""
    if over == "answer":
        before = [place - 1 for place, target in enumerate(sequence.loss) if target]
        logits_TV = logits_TV[before]
    logits_TV = logits_TV.double()
    probabilities_TV = logits_TV.softmax(dim=-1)
    entropy_T = torch.special.entr(probabilities_TV).sum(dim=-1)
    top_T2, likely_T2 = logits_TV.topk(2).values, probabilities_TV.topk(2).values
    columns = (top_T2[:, 0], top_T2[:, 0] - top_T2[:, 1], likely_T2[:, 0], likely_T2[:, 0] - likely_T2[:, 1], entropy_T)
    return [float(column.mean()) for column in columns]


@pytest.mark.parametrize("over", ["all", "answer"])
def test_uncertainty_is_that_of_the_full_logits(folder: Path, opened: LM, over: Any) -> None:
    model, tokenizer = reference(folder)
    many_places = [chat("x", id="long", answer=f"{number} so that places come in chunks; " * 6) for number in "ab"]
    rows = [*ROWS, *many_places]
    for row, own in zip(rows, opened.uncertainty(rows, rendering=Rendering(), over=over), strict=True):
        sequence = rendered(tokenizer, row, Rendering())
        assert own.id == row.id
        assert own.tokens == (sum(sequence.loss) if over == "answer" else len(sequence.ids))
        found = [own.logit, own.logit_margin, own.probability, own.probability_margin, own.entropy]
        assert found == pytest.approx(
            expected_means(full_pass(model, sequence).logits[0], sequence, over), rel=1e-4, abs=1e-4
        )


# ---------------------------------------------------------------------------------------------- what is refused


def test_a_row_without_answer_says_what_to_set(tiny: Path) -> None:
    rows = [ROWS[0], chat("x", id="bare")]
    with engine().open(Model("path:x"), tiny) as lm:
        with pytest.raises(EngineError, match=r"'bare' has no answer.*set embedding\.text to 'prompt'"):
            lm.embed(rows, rendering=Rendering(), embedding=Embedding())
        with pytest.raises(EngineError, match="'bare' has no answer"):
            lm.uncertainty(rows, rendering=Rendering(), over="all")
        with pytest.raises(EngineError, match=r"pooling 'answer' needs an answer"):
            lm.embed(rows, rendering=Rendering(), embedding=Embedding(text="prompt", pooling="answer"))


def test_an_answer_without_tokens_is_named(tiny: Path) -> None:
    rows = [ROWS[0], chat("x", id="empty", answer="", finished=False)]
    with engine().open(Model("path:x"), tiny) as lm:
        with pytest.raises(EngineError, match="'empty' has no tokens to average"):
            lm.embed(rows, rendering=Rendering(), embedding=Embedding(pooling="answer"))
        with pytest.raises(EngineError, match="'empty' has no answer tokens"):
            lm.uncertainty(rows, rendering=Rendering(), over="answer")
        assert len(lm.embed(rows, rendering=Rendering(), embedding=Embedding())) == 2


def test_states_that_are_no_numbers_name_the_row(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    model, tokenizer = reference(folder)
    (letter,) = tokenizer.encode("q", add_special_tokens=False)
    with torch.no_grad():
        model.model.embed_tokens.weight[letter] = float("nan")
    model.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.lm_head.weight))
    model.config.tie_word_embeddings = False
    model.save_pretrained(folder)
    rows: list[Chat] = [*ROWS, chat("a q here", id="broken", answer="x")]
    with engine().open(Model("path:x"), folder) as lm:
        with pytest.raises(EngineError, match=r"row 'broken'.*not finite"):
            lm.embed(rows, rendering=Rendering(), embedding=Embedding())
        with pytest.raises(EngineError, match=r"row 'broken'.*not finite"):
            lm.uncertainty(rows, rendering=Rendering(), over="all")


ENCODERS = {
    "bert": ("BertConfig", {**SMALL, "max_position_embeddings": 256}, "BertLMHeadModel"),
    "bart": (
        "BartConfig",
        {"vocab_size": 261, "d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "max_position_embeddings": 256},
        "BartForConditionalGeneration",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENCODERS)
def test_a_model_with_an_encoder_is_refused(tiny: Path, tmp_path: Path, kind: str) -> None:
    config, settings, architecture = ENCODERS[kind]
    torch.manual_seed(0)
    getattr(transformers, architecture)(getattr(transformers, config)(**settings)).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    with engine().open(Model("path:it"), tmp_path) as lm:
        with pytest.raises(EngineError, match=r"path:it is not a decoder-only language model.*name another"):
            lm.embed(ROWS, rendering=Rendering(), embedding=Embedding())
        with pytest.raises(EngineError, match="not a decoder-only"):
            lm.uncertainty(ROWS, rendering=Rendering(), over="all")


def test_blocks_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    from selfalign.engines.opened import loaded

    folder = tiny_folder(tmp_path / "model")
    with engine().open(Model("path:x"), folder) as lm:
        model = loaded(folder, name="x", device="cpu", dtype="float32").model
        model.model.twin = torch.nn.ModuleList(torch.nn.Identity() for _ in range(3))
        assert len(lm.embed(ROWS, rendering=Rendering(), embedding=Embedding())) == len(ROWS)
        with pytest.raises(EngineError, match=r"blocks of LlamaForCausalLM cannot be told apart.*to -1"):
            lm.embed(ROWS, rendering=Rendering(), embedding=Embedding(layer=1))
    engine().release()
