"""Linear layers of a model that are quick for few rows on a CPU; what they compute with is in `products`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from selfalign.engines.products import Exact, Product, product_of

# The reordered weights are a second copy. A larger model keeps one copy and is slower: it would not fit twice.
COPIED_BYTES = 4 << 30


class PackedLinear(nn.Linear):
    """A linear layer with a second, reordered copy of its weight. For inference only: the copy does not follow it."""

    product: Product

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """`input` [..., in] times the weight, plus the bias: [..., out]."""
        if input.numel() <= self.in_features and isinstance(self.product, Exact):
            return nn.functional.linear(
                input, self.weight, self.bias
            )  # for one row, reading the weight is all the work
        return self.product(input)


def fits_twice(model: nn.Module) -> bool:
    """Whether this machine has the reordered products, and a model is small enough for second copies of its weights."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
    available: Any = torch.backends.mkldnn.is_available  # it has no annotations
    return size <= COPIED_BYTES and bool(available())


def quicken(model: nn.Module, *, but: Collection[nn.Module] = ()) -> None:
    """Make a model's linear layers quick for few rows, those of `but` excepted; weights and ties stay as they are."""
    left_out = {id(module) for one in but for module in one.modules()}
    for layer in model.modules():
        if type(layer) is nn.Linear and id(layer) not in left_out:
            quick: Any = layer
            quick.__class__ = PackedLinear
            quick.product = product_of(layer, precision="exact")
