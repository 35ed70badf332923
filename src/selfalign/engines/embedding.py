"""One vector for each sequence: hidden states of one layer, averaged over some of its tokens in float32.

No language-model head is computed, states of other layers are not kept, and blocks after the layer do not run. It does
not know why vectors are wanted: whitening and distances are somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import nn

from selfalign.engines.passes import batches, distinct, padded, pass_limit
from selfalign.errors import EngineError
from selfalign.ports import Rendered
from selfalign.render import prompt_ids, rendered
from selfalign.types import Chat, Embedding, Rendering


class Reached(Exception):
    """Ends a forward pass where its states are known: there is no other way to leave a model's loop over blocks."""

    def __init__(self, states_NTD: Any) -> None:
        self.states_NTD = states_NTD


def sequences_to_read(
    tokenizer: Any, chats: Sequence[Chat], *, rendering: Rendering, embedding: Embedding
) -> list[Rendered]:
    """What a model reads of each chat: the training sequence, or the prompt as a generator sees it.

    Raises:
        EngineError: a chat without an answer is to be read with its answer, or prompts are to be averaged over it.
    """
    if embedding.text == "prompt":
        if embedding.pooling == "answer":
            raise EngineError("embedding.pooling 'answer' needs an answer to read: embedding.text 'prompt-and-answer'")
        prompts = [tuple(prompt_ids(tokenizer, chat, rendering)) for chat in chats]
        return [Rendered(ids=ids, loss=(False,) * len(ids), attention=(True,) * len(ids)) for ids in prompts]
    for chat in chats:
        if chat.answer is None:
            raise EngineError(f"row {chat.id!r} has no answer to embed; set embedding.text to 'prompt'")
    return [rendered(tokenizer, chat, rendering) for chat in chats]


def span(sequence: Rendered, pooling: str) -> tuple[int, int]:
    """The first place that is averaged, and the one after the last."""
    stop = len(sequence.ids)
    return {"all": 0, "answer": sequence.prompt_length, "last": max(0, stop - 1)}[pooling], stop


@torch.inference_mode()
def embeddings(
    model: Any,
    sequences: Sequence[Rendered],
    *,
    names: Sequence[str],
    embedding: Embedding,
    tokens_at_once: int,
    done: Callable[[int, int], None],
) -> NDArray[numpy.float32]:
    """A float32 array (N, D), in the order given. Equal sequences are computed once and give equal vectors.

    `done` hears after each pass how many rows have their vector now, and how many tokens were read for it.

    Raises:
        EngineError: the model has no such layer, a row has no tokens to average, or a vector is not finite.
    """
    layer = layer_number(model, embedding.layer)
    for sequence, name in zip(sequences, names, strict=True):
        first, stop = span(sequence, embedding.pooling)
        if first >= stop:
            raise EngineError(
                f"row {name!r} has no tokens to average with embedding.pooling {embedding.pooling!r}: its answer is "
                "empty; drop the row or set embedding.pooling to 'all'"
            )
    vectors_ND = numpy.empty((len(sequences), model.config.get_text_config().hidden_size), dtype=numpy.float32)
    unique, owners = distinct(sequences)
    for numbers in batches([len(sequence.ids) for sequence in unique], pass_limit(model, tokens_at_once)):
        batch = [unique[number] for number in numbers]
        values_BD = batch_embeddings(model, batch, layer=layer, pooling=embedding.pooling)
        for number, value_D in zip(numbers, values_BD, strict=True):
            if not numpy.isfinite(value_D).all():
                raise EngineError(
                    f"row {names[owners[number][0]]!r}: the model's hidden states are not finite; its weights are "
                    "damaged or its dtype is too narrow: open it in float32"
                )
            vectors_ND[owners[number]] = value_D
        done(sum(len(owners[number]) for number in numbers), sum(len(sequence.ids) for sequence in batch))
    return vectors_ND


def batch_embeddings(model: Any, batch: Sequence[Rendered], *, layer: int, pooling: str) -> NDArray[numpy.float32]:
    """One forward pass over right-padded sequences; gives each one's vector, float32 (B, D)."""
    states_NTD = hidden_states(model, padded(batch, model.device), layer)
    means = []
    for row, sequence in enumerate(batch):
        first, stop = span(sequence, pooling)
        means.append(states_NTD[row, first:stop].mean(dim=0, dtype=torch.float32))
    values_BD: NDArray[numpy.float32] = torch.stack(means).cpu().numpy()
    return values_BD


# -------------------------------------------------------------------------------------------------- layers


def depth(model: Any) -> int:
    """How many blocks a model has."""
    return int(model.config.get_text_config().num_hidden_layers)


def layer_number(model: Any, layer: int) -> int:
    """The index of a layer's states counted from 0, the input embeddings.

    Raises:
        EngineError: the model has no such layer (says which it has).
    """
    last = depth(model)
    if not -last - 1 <= layer <= last:
        raise EngineError(
            f"embedding.layer (--layer) {layer} is not in {-last - 1} … {last}: the model has {last} blocks"
        )
    return layer % (last + 1)


def hidden_states(model: Any, inputs: dict[str, Any], layer: int) -> torch.Tensor:
    """The hidden states [N, T, D] that transformers lists as number `layer`, of one forward pass.

    Number k is what block k (from 0) is given, after whatever scaling or positions the model adds to its embeddings;
    the last is what leaves the final norm. (Mamba's own list begins one block later; here it is like the others'.)
    """
    if layer == depth(model):
        states_NTD: torch.Tensor = model.base_model(**inputs).last_hidden_state
        return states_NTD
    rows_and_width = inputs["input_ids"].shape
    with blocks(model)[layer].register_forward_pre_hook(leave, with_kwargs=True):
        try:
            model.base_model(**inputs)
        except Reached as reached:
            given = reached.states_NTD
            if isinstance(given, torch.Tensor) and given.ndim == 3 and given.shape[:2] == rows_and_width:
                return given
    raise EngineError(
        f"{type(model).__name__} does not hand one state a token from block to block; "
        "set embedding.layer (--layer) to -1"
    )


def leave(block: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
    """A hook before a block: ends the pass with what the block was given."""
    raise Reached(inputs[0] if inputs else named.get("hidden_states"))


def blocks(model: Any) -> nn.ModuleList:
    """The list of a model's blocks: the one outermost module list as long as the model is deep.

    Raises:
        EngineError: there is none, or several.
    """
    lists = {
        name: module
        for name, module in model.base_model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth(model)
    }
    # a block may hold a list of the same length, of experts say
    outermost = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    if len(outermost) != 1:
        raise EngineError(
            f"the blocks of {type(model).__name__} cannot be told apart from its other parts; "
            "set embedding.layer (--layer) to -1"
        )
    return lists[outermost[0]]
