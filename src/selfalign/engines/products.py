"""Linear maps on reordered weights, for few rows on a CPU, in three precisions.

A decode step multiplies 1 to 64 rows by every weight, and `F.linear` reorders the weight anew each time; here that is
done once. `exact` differs from it in the last bits only, as batches of other sizes do. `bfloat16` and `int8` round
weights and inputs: another sampler, never used where a loss or a score is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import nn

from selfalign.errors import EngineError

Precision = Literal["exact", "bfloat16", "int8"]
ROWS_HINT = 64
LARGEST_INT8 = 127


class Product(Protocol):
    """A linear map."""

    def __call__(self, input_: torch.Tensor) -> torch.Tensor:
        """`input_` [..., in] → [..., out], float32."""

    def in_own_type(self, input_: torch.Tensor) -> torch.Tensor:
        """The product in the type that it was computed in, for what is multiplied again."""

    def added(self, input_: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        """The product plus `to` [..., out], float32."""


def product_of(*layers: nn.Linear, precision: Precision) -> Product:
    """The maps of several layers over one input, side by side.

    Raises:
        EngineError: this processor has no products of that precision, or some layers have a bias and others none.
    """
    weight = torch.cat([layer.weight.detach() for layer in layers]) if len(layers) > 1 else layers[0].weight.detach()
    biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
    if biases and len(biases) != len(layers):
        raise EngineError("some of the joined projections have a bias and others have none")
    kinds: dict[str, Callable[..., Product]] = {"exact": Exact.of, "bfloat16": Bfloat16.of, "int8": Int8.of}
    return kinds[precision](weight, torch.cat(biases) if biases else None)


@dataclass(frozen=True, slots=True)
class Exact:
    """A float32 product; `bias` [out] or None."""

    weight: Any
    bias: torch.Tensor | None

    @staticmethod
    def of(weight: torch.Tensor, bias: torch.Tensor | None) -> Exact:
        """The product with a weight [out, in]."""
        return Exact(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS_HINT), bias)

    def __call__(self, input_: torch.Tensor) -> torch.Tensor:
        """`input_` [..., in] → [..., out]."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(input_, self.weight, self.bias, "none", [], "")
        return product

    def in_own_type(self, input_: torch.Tensor) -> torch.Tensor:
        """The product."""
        return self(input_)

    def added(self, input_: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        """The product plus `to` [..., out]."""
        total: torch.Tensor = torch.ops.mkldnn._linear_pointwise.binary(input_, to, self.weight, self.bias, "add")
        return total


@dataclass(frozen=True, slots=True)
class Bfloat16:
    """A product of weights and inputs rounded to bfloat16, as is its result."""

    weight: Any
    bias: torch.Tensor | None

    @staticmethod
    def of(weight: torch.Tensor, bias: torch.Tensor | None) -> Bfloat16:
        """The product with a weight [out, in]. Raises `EngineError` on processors that would do it in float32."""
        supported: Any = torch.ops.mkldnn._is_mkldnn_bf16_supported
        if not supported():
            raise EngineError("this processor has no bfloat16 products; set sampling.precision to 'int8' or 'exact'")
        reordered = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16().contiguous(), ROWS_HINT)
        return Bfloat16(reordered, None if bias is None else bias.bfloat16())

    def __call__(self, input_: torch.Tensor) -> torch.Tensor:
        """`input_` [..., in] → [..., out]."""
        return self.in_own_type(input_).float()

    def in_own_type(self, input_: torch.Tensor) -> torch.Tensor:
        """The product in bfloat16."""
        product: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            input_.bfloat16(), self.weight, self.bias, "none", [], ""
        )
        return product

    def added(self, input_: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        """The product plus `to` [..., out]."""
        return self(input_).add_(to)


@dataclass(frozen=True, slots=True)
class Int8:
    """A product of int8 numbers: weights with a scale for each output, inputs with one for each row."""

    weight: Any
    scale: torch.Tensor
    zero: torch.Tensor
    bias: torch.Tensor | None

    @staticmethod
    def of(weight: torch.Tensor, bias: torch.Tensor | None) -> Int8:
        """The product with a weight [out, in]."""
        scale = weight.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / LARGEST_INT8
        rounded = (weight / scale[:, None]).round().to(torch.int8)
        reordered = torch.ops.onednn.qlinear_prepack(rounded, [ROWS_HINT, weight.shape[1]])
        return Int8(reordered, scale, torch.zeros(len(scale), dtype=torch.long), bias)

    def __call__(self, input_: torch.Tensor) -> torch.Tensor:
        """`input_` [..., in] → [..., out]."""
        rows = input_.reshape(-1, input_.shape[-1])
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_min_(torch.finfo(torch.float32).tiny) / LARGEST_INT8
        rounded = (rows / scale).round_().to(torch.int8)
        product = torch.ops.onednn.qlinear_pointwise(
            rounded, 1.0, 0, self.weight, self.scale, self.zero, None, 1.0, 0, torch.float32, "none", [], ""
        ).mul_(scale)
        if self.bias is not None:
            product.add_(self.bias)
        whole: torch.Tensor = product.view(*input_.shape[:-1], -1)
        return whole

    def in_own_type(self, input_: torch.Tensor) -> torch.Tensor:
        """The product in float32: its int8 sums have a scale for each row."""
        return self(input_)

    def added(self, input_: torch.Tensor, to: torch.Tensor) -> torch.Tensor:
        """The product plus `to` [..., out]."""
        return self(input_).add_(to)
