"""Tokens per second beside OpenVINO GenAI, an engine made for CPUs: `python benchmarks/bench.py --only openvino`.

The engine is installed apart (`pip install openvino-genai`): without it there is no row and nothing fails. It reads the
same weights from a GGUF file that is written for the occasion, rounded to f16, and gets the same prompts as ids; it
works as it does by default, with continuous batching. By default it also multiplies in bfloat16 where the processor
can, so each side of that choice has a row: the default one beside our exact weights and beside our bfloat16, and the
engine held to float32 beside our exact weights.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from figures import Demand, Row, Settings, Turn, by_rate, figure, in_turns, processor_ratio, timed
from generation import BFLOAT16, own_tokens, written_by_peer
from workloads import model_folder, peer_model, prompts, tokenizer_in

from selfalign import weights
from selfalign.engines.products import Precision
from selfalign.engines.transformers import TransformersEngine
from selfalign.render import prompt_ids
from selfalign.types import Rendering, Sampling

ENGINE, INSTALL = "openvino_genai", "pip install openvino-genai"
CHECKED = 4  # prompts whose greedy continuations are compared
F16_FILE = 1  # GGUF's general.file_type for "all matrices in f16"
NORMAL, CONTROL = 1, 3  # GGUF's token types
PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Engine:
    """OpenVINO GenAI with the model loaded; `seconds` is what loading took, `precision` what it multiplies in."""

    pipeline: Any
    eos: int
    precision: str
    seconds: float

    @property
    def name(self) -> str:
        """What its turns are called while they are measured."""
        return f"OpenVINO, {PRECISIONS[self.precision]}"

    def written(self, rows: Sequence[list[int]], sampling: Sampling, *, seed: int) -> list[list[int]]:
        """What the engine writes after each prompt, all prompts handed over at once, end token included."""
        openvino, genai = importlib.import_module("openvino"), importlib.import_module(ENGINE)
        how = []
        for number in range(len(rows)):
            config = genai.GenerationConfig(
                max_new_tokens=sampling.max_new_tokens, eos_token_id=self.eos, stop_token_ids={self.eos}
            )
            if sampling.temperature:
                config.do_sample, config.temperature, config.rng_seed = True, sampling.temperature, seed + number
            how.append(config)
        inputs = [openvino.Tensor(torch.tensor([row]).numpy()) for row in rows]
        results = self.pipeline.generate(inputs, how)
        return [list(result.m_generation_ids[0]) for result in results]


def opened_engine(file: Path, eos: int, *, precision: str | None) -> Engine:
    """The engine with a GGUF file loaded, multiplying in `precision` or in what it chooses itself."""
    openvino, genai = importlib.import_module("openvino"), importlib.import_module(ENGINE)
    properties = {} if precision is None else {"INFERENCE_PRECISION_HINT": precision}
    began = time.perf_counter()
    pipeline = genai.ContinuousBatchingPipeline(str(file), genai.SchedulerConfig(), "CPU", properties)
    seconds = time.perf_counter() - began
    return Engine(pipeline=pipeline, eos=eos, precision=precision or default_precision(openvino), seconds=seconds)


def default_precision(openvino: Any) -> str:
    """What the engine multiplies in on this processor unless told otherwise: f32, bf16 or f16."""
    return str(openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").to_string())


def write_gguf(model: Any, tokenizer: Any, file: Path) -> None:
    """A Llama model of transformers as GGUF with its matrices in f16.

    The vocabulary goes along because the engine wants to build a tokenizer; ids are what it is given.
    """
    import gguf

    config = model.config
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_file_type(F16_FILE)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(key_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    add_vocabulary(writer, tokenizer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if "q_proj" in name or "k_proj" in name:
            tensor = interleaved(tensor, heads if "q_proj" in name else key_heads)
        kind = torch.float16 if tensor.ndim > 1 else torch.float32
        inner = names.get_name(name, try_suffixes=(".weight",))
        assert inner is not None, f"GGUF has no name for {name}"
        writer.add_tensor(inner, tensor.to(kind).contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(matrix_OD: torch.Tensor, heads: int) -> torch.Tensor:
    """A projection's rows in the order of GGUF's Llama, which rotates neighbours; transformers rotates halves."""
    rows, columns = matrix_OD.shape
    return matrix_OD.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def add_vocabulary(writer: Any, tokenizer: Any, size: int) -> None:
    """The tokenizer's pieces, merges and end token."""
    pieces = tokenizer.convert_ids_to_tokens(list(range(size)))
    special = set(tokenizer.all_special_ids)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([piece or f"[unused{number}]" for number, piece in enumerate(pieces)])
    writer.add_token_types([CONTROL if number in special else NORMAL for number in range(size)])
    writer.add_token_merges(merges_of(tokenizer))
    writer.add_eos_token_id(tokenizer.eos_token_id)


def merges_of(tokenizer: Any) -> list[str]:
    """A byte-pair tokenizer's merges, each as two pieces with a space between."""
    return [" ".join(pair) for pair in json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]]


def agreeing(texts: Sequence[list[int]], others: Sequence[list[int]]) -> int:
    """How many tokens two sets of continuations share before the first that differs, added up over the rows."""
    together = [list(zip(text, other, strict=False)) for text, other in zip(texts, others, strict=True)]
    return sum(next((n for n, (one, two) in enumerate(row) if one != two), len(row)) for row in together)


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """Engines that hold the folder's model, as they are by default first and held to float32 last (which may be the
    same one); `told` says of each what its making took and how far it writes what transformers writes."""

    engines: list[Engine]
    told: list[str]


def prepared(model: Any, tokenizer: Any, ids: Sequence[list[int]], sampling: Sampling) -> Prepared:
    """Convert and load the model, and compare greedy continuations.

    Raises:
        SystemExit: held to float32 the engine writes something else: then the conversion is wrong.
    """
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "model-f16.gguf"
        began = time.perf_counter()
        write_gguf(model, tokenizer, file)
        converting = time.perf_counter() - began
        engines = [opened_engine(file, tokenizer.eos_token_id, precision=None)]
        if engines[0].precision != "f32":
            engines.append(opened_engine(file, tokenizer.eos_token_id, precision="f32"))
    greedy = replace(sampling, temperature=0.0)
    expected = written_by_peer(model, tokenizer, ids[:CHECKED], greedy, batch=CHECKED)
    shared = [agreeing(engine.written(ids[:CHECKED], greedy, seed=0), expected) for engine in engines]
    tokens = sum(map(len, expected))
    if shared[-1] <= tokens / 2:
        raise SystemExit(f"the converted model agrees with the original in {shared[-1]} of {tokens} tokens only")
    told = [
        f"greedy continuations of {CHECKED} prompts agree with transformers' in {same} of {tokens} tokens before the "
        f"first that differs; writing the file took {figure(converting)} s, loading it {figure(engine.seconds)} s"
        for engine, same in zip(engines, shared, strict=True)
    ]
    return Prepared(engines=engines, told=told)


def rows(settings: Settings) -> Iterator[Row]:
    """All sides in turns, in this process."""
    if any(importlib.util.find_spec(module) is None for module in (ENGINE, "gguf")):
        print(f"  no row for OpenVINO GenAI: it is not installed ({INSTALL})", file=sys.stderr)
        return
    folder = model_folder(settings)
    tokenizer, model = tokenizer_in(folder), peer_model(folder)
    if model.config.model_type != "llama":
        print(f"  no row for OpenVINO GenAI: {settings.model} is no Llama model", file=sys.stderr)
        return
    chats = prompts(settings.size(64, 4))
    ids = [prompt_ids(tokenizer, chat, Rendering()) for chat in chats]
    sampling = Sampling(max_new_tokens=settings.size(64, 4), temperature=1.0)
    made = prepared(model, tokenizer, ids, sampling)
    del model
    default, told = made.engines[0], made.told[0]
    rounded = default.precision == "bf16" and "bfloat16" in BFLOAT16

    def theirs_by(engine: Engine) -> Callable[[int], Turn]:
        return lambda turn: timed(lambda: sum(map(len, engine.written(ids, sampling, seed=turn * 1000))))

    def ours_in(precision: Precision) -> Callable[[int], Turn]:
        how = replace(sampling, precision=precision)
        return lambda turn: timed(lambda: own_tokens(opened, chats, how, turn=turn))

    def row(own: str, engine: Engine, *, id: str, stage: str, note: str) -> Row:
        ours, theirs = found[own], found[engine.name]
        lengths = [figure(sum(turn.amount for turn in side) / len(side) / len(chats)) for side in (ours, theirs)]
        return by_rate(
            ours,
            theirs,
            demand=Demand(must=1, side="least"),
            unit="tokens/s",
            id=id,
            stage=f"{stage} (yardstick)",
            peer=f"OpenVINO GenAI, GGUF f16, continuous batching, multiplying in {PRECISIONS[engine.precision]}"
            + (" (its default)" if engine is default else ""),
            note=f"mean answer {lengths[0]} tokens (peer {lengths[1]}); {processor_ratio(ours, theirs)}; {note}.",
        )

    with TransformersEngine(device="cpu").open(weights.pinned(settings.model), folder) as opened:
        precisions: list[Precision] = ["exact", *(BFLOAT16 if rounded else ())]
        for precision in precisions:
            own_tokens(opened, chats[:CHECKED], Sampling(max_new_tokens=4, precision=precision), turn=0)
        sides = {name: ours_in(name) for name in precisions}
        found = in_turns(sides | {engine.name: theirs_by(engine) for engine in made.engines}, settings.repeats)
    sizes = (
        f"{len(chats)} prompts as token ids, all at once, at most {sampling.max_new_tokens} new tokens, temperature 1"
    )
    versions = f"openvino-genai {importlib.import_module(ENGINE).__version__.partition('-')[0]}, default scheduler"
    exact, rounding = "generate, exact weights", "generate, bfloat16 by choice"
    yield row("exact", default, id="openvino", stage=exact, note=f"{sizes}; {versions}; {told}")
    if rounded:
        yield row("bfloat16", default, id="openvino/bfloat16", stage=rounding, note="the same turns of the peer")
    if len(made.engines) > 1:
        yield row("exact", made.engines[1], id="openvino/float32", stage=exact, note=made.told[1])
