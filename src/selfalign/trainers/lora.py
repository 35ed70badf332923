"""Low-rank adapters: put on before training, merged into the weights afterwards.

PEFT is imported only when a recipe asks for adapters.
"""

from __future__ import annotations

import difflib
from typing import Any, cast

import torch

from selfalign.errors import EngineError
from selfalign.keys import seed_of
from selfalign.types import Lora


def with_adapters(model: Any, lora: Lora, *, seed: int) -> Any:
    """The model as a PEFT model whose only trainable weights are fresh adapters, drawn from `seed`."""
    from peft import get_peft_model

    config = adapter_config(model, lora)
    torch.manual_seed(adapter_seed(seed))
    return get_peft_model(model, config)


def adapter_config(model: Any, lora: Lora) -> Any:
    """PEFT's configuration for these adapters, once it is sure that every target exists.

    Raises:
        EngineError: a target names no linear layer of this model; some that exist are listed.
    """
    from peft import LoraConfig

    existing = linear_layers(model)
    for target in lora.target_modules:
        if target not in existing:
            close = difflib.get_close_matches(target, existing, n=1)
            raise EngineError(
                f"lora.target_modules names {target!r}, but this model has no linear layer of that name; "
                + (f"did you mean {close[0]!r}? " if close else "")
                + f"It has: {', '.join(existing[:12])}"
            )
    return LoraConfig(
        r=lora.r,
        lora_alpha=cast(int, lora.alpha),  # PEFT divides it by r; fractions are fine
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        bias="none",
        task_type="CAUSAL_LM",
    )


def adapter_seed(seed: int) -> int:
    """The seed fresh adapters are drawn from, below 2³² (some generators take no more)."""
    return seed_of("adapters", seed) % 2**32


def linear_layers(model: Any) -> list[str]:
    """Names (last part) of the linear layers adapters can sit on, in the model's order, without the head."""
    head = model.get_output_embeddings()
    names = [
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if (isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D") and module is not head
    ]
    return list(dict.fromkeys(names))


def dropout_layers(model: Any) -> list[torch.nn.Dropout]:
    """The dropout layers inside adapters (empty when `lora.dropout` is 0)."""
    return [
        module
        for name, module in model.named_modules()
        if "lora_dropout" in name and isinstance(module, torch.nn.Dropout)
    ]


def merged(model: Any) -> Any:
    """The plain model with the adapters added to its weights: W + (alpha / r) B A."""
    return model.merge_and_unload()
