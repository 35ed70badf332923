"""What the machine could reach at best: fp32 matrix products at the model's shapes, memory bandwidth; and its facts.

A limit counts only the products that exact fp32 work cannot do without, at the best rate measured here; attention,
norms, sampling and the optimiser are free in it, so no program reaches it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any

from figures import Settings, Turn, figure, in_fresh_process

DECODING_ROWS, READING_ROWS = 64, 512
BANDWIDTH_BYTES = 512 << 20
PACKAGES = ("torch", "transformers", "trl", "peft")


@dataclass(frozen=True, slots=True)
class Shapes:
    """The matrices of a decoder-only model: those of one layer as (outputs, inputs), and the head."""

    layers: int
    layer: tuple[tuple[int, int], ...]
    head: tuple[int, int]

    @property
    def layer_flops(self) -> float:
        """Operations a token costs in all layers."""
        return 2.0 * self.layers * sum(outputs * inputs for outputs, inputs in self.layer)

    @property
    def head_flops(self) -> float:
        """Operations that the logits of one position cost."""
        return 2.0 * self.head[0] * self.head[1]

    def flops(self, *, tokens: float, logits: float) -> float:
        """Operations of a forward pass over so many tokens with logits at so many positions."""
        return tokens * self.layer_flops + logits * self.head_flops

    @property
    def weight_bytes(self) -> float:
        """Bytes of all matrices in fp32."""
        return 2 * (self.layer_flops + self.head_flops)


def shapes_of(folder: Path) -> Shapes:
    """The matrices of the model in a folder (Llama's form), projections of one input taken as one matrix."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    width = config.get("head_dim") or hidden // heads
    layer = (
        ((heads + 2 * kv_heads) * width, hidden), (hidden, heads * width), (2 * inner, hidden), (hidden, inner),
    )  # fmt: skip
    return Shapes(config["num_hidden_layers"], layer, (config["vocab_size"], hidden))


@dataclass(frozen=True, slots=True)
class Rates:
    """Measured here and now: floating-point operations per second at few and at many rows, bytes per second."""

    decoding: float
    reading: float
    bandwidth: float

    def told(self) -> str:
        """The rates in words."""
        return (
            f"fp32 matrix products at the model's shapes {figure(self.decoding / 1e9)} GFLOP/s at {DECODING_ROWS} rows "
            f"and {figure(self.reading / 1e9)} at {READING_ROWS}, memory read at {figure(self.bandwidth / 1e9)} GB/s"
        )


def rates(folder: Path) -> Rates:
    """Measure the machine for the model of a folder: some ten seconds."""
    import torch

    shapes = shapes_of(folder)
    one = torch.randn
    every = [one(size) for _ in range(shapes.layers) for size in shapes.layer] + [one(shapes.head)]
    with torch.inference_mode():
        decoding = product_rate(every, DECODING_ROWS, passes=4)
        reading = product_rate(every, READING_ROWS, passes=2)
        numbers = torch.ones(BANDWIDTH_BYTES // 4)
        seconds = min(seconds_of(lambda: numbers.sum()) for _ in range(5))
    return Rates(decoding, reading, BANDWIDTH_BYTES / seconds)


def product_rate(weights: list[Any], rows: int, *, passes: int) -> float:
    """The best rate at which all matrices are multiplied with so many rows, over three ways to ask for it."""
    import torch
    from torch.nn.functional import linear

    inputs = {weight.shape[1]: torch.randn(rows, weight.shape[1]) for weight in weights}
    forms: list[tuple[Callable[[Any, Any], Any], list[Any]]] = [
        (linear, weights),
        (lambda x, weight: weight @ x.T, weights),
    ]
    available: Any = torch.backends.mkldnn.is_available
    if available():
        packed = [torch.ops.mkldnn._reorder_linear_weight(weight, rows) for weight in weights]
        forms.append((lambda x, weight: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""), packed))
    best = float("inf")
    for product, operands in forms:
        once = partial(multiplied, product, [(inputs[weight.shape[1]], weight) for weight in operands])
        best = min(best, *(seconds_of(once) for _ in range(passes)))
    operations = 2.0 * rows * sum(weight.numel() for weight in weights)
    return float(operations / best)


def multiplied(product: Callable[[Any, Any], Any], work: list[tuple[Any, Any]]) -> None:
    """Every product once."""
    for rows, weight in work:
        product(rows, weight)


def seconds_of(work: Callable[[], object]) -> float:
    """How long the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# -------------------------------------------------------------------------------------------------- facts


def alone(_role: str, settings: Settings) -> Turn:
    """The machine's rates, measured in a process of its own."""
    import torch
    from workloads import model_folder

    began = time.perf_counter()
    found = rates(model_folder(settings))
    facts = {"decoding": found.decoding, "reading": found.reading, "bandwidth": found.bandwidth}
    return Turn(seconds=time.perf_counter() - began, facts={**facts, "threads": torch.get_num_threads()})


def facts(settings: Settings) -> str:
    """Processor, cores, instruction sets, versions, thread policy and measured rates: one paragraph."""
    measured = in_fresh_process("machine:rates", settings).facts
    threads = int(measured.pop("threads"))
    policy = {
        "passive": "OMP_WAIT_POLICY=PASSIVE on both sides (what the command line sets)",
        "default": "torch's default spinning threads on both sides",
    }[settings.threads]
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return (
        f"{processor()}, {os.cpu_count()} cores, {instruction_sets()}; {versions}; {threads} threads, {policy}; "
        f"{Rates(**measured).told()}"
    )


@cache
def processor_lines() -> dict[str, str]:
    """The first processor's description."""
    lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def processor() -> str:
    """The processor's name, with family, model and clock where the name hides which it is."""
    told = processor_lines()
    numbers = f"family {told.get('cpu family', '?')} model {told.get('model', '?')}"
    return f"{told.get('model name', 'unknown processor')} ({numbers}, {float(told.get('cpu MHz', 0)) / 1000:.1f} GHz)"


def instruction_sets() -> str:
    """Whether the processor has the wide products: AVX-512, VNNI, AMX."""
    flags = processor_lines().get("flags", "").split()
    known = {"AVX-512": "avx512f", "VNNI": "avx512_vnni", "AMX-BF16": "amx_bf16", "AMX-INT8": "amx_int8"}
    return ", ".join(f"{'' if flag in flags else 'no '}{name}" for name, flag in known.items())


def load_average() -> str:
    """The load average over one minute."""
    return f"{os.getloadavg()[0]:.2f}"


def busy_seconds() -> float:
    """Processor seconds spent by everybody since the machine started."""
    user, nice, system, _idle, _wait, *rest = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK")
