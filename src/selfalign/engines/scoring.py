"""Log-probabilities of answers, with logits computed at answer positions only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from selfalign.engines.passes import HEAD_ROWS, batches, logit_chunks, pass_limit
from selfalign.engines.prefix import Prefix, common_prefix, inputs_after
from selfalign.engines.shared_prompts import inputs_after_prompts, sharing, size_of
from selfalign.errors import EngineError
from selfalign.ports import Rendered


@torch.inference_mode()
def head_is_plain(model: Any) -> bool:
    """Whether logits are the output layer applied to the last hidden states and nothing more.

    Some models cap or scale logits after the layer, under many names in their configs; so it is tried, not read.
    """
    size = int(model.get_input_embeddings().num_embeddings)
    ids = torch.arange(4, device=model.device)[None] % size
    head = model.get_output_embeddings()
    if head is None:
        return False
    states: list[torch.Tensor] = []
    watch = model.base_model.register_forward_hook(lambda _module, _given, read: states.append(read[0]))
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        watch.remove()
    if len(states) != 1:  # some call a part of the base model
        states = [model.base_model(input_ids=ids, use_cache=False).last_hidden_state]
    plain = head(states[0])
    return plain.shape == logits.shape and torch.allclose(plain, logits, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def is_causal(model: Any) -> bool:
    """Whether a token's states depend on earlier tokens only.

    An encoder opens as a language model too, and its config need not say what it is; so it is tried, not read.
    """
    size = int(model.get_input_embeddings().num_embeddings)
    ids_NT = torch.arange(8, device=model.device).repeat(2, 1) % size
    ids_NT[1, 4:] = 0
    first_TD, other_TD = model.base_model(input_ids=ids_NT, use_cache=False).last_hidden_state[:, :4]
    tolerance = torch.finfo(first_TD.dtype).eps ** 0.5
    # states that are no numbers pass here: who uses them has a better message
    return not bool((first_TD - other_TD).abs().max() > tolerance * first_TD.abs().max())


@torch.inference_mode()
def answer_log_probabilities(
    model: Any,
    sequences: Sequence[Rendered],
    *,
    names: Sequence[str],
    tokens_at_once: int,
    plain_head: bool,
    done: Callable[[list[int], int], None],
) -> list[float]:
    """The log-probability (nats) of each sequence's answer tokens, summed in float64, in the order given.

    `done` hears after each pass which sequences were scored, and how many tokens they have.

    Raises:
        EngineError: a score is not finite, or an answer has no token before it to be predicted from.
    """
    first_places = [max(0, sequence.prompt_length - 1) for sequence in sequences]
    prefix = common_prefix(model, [seen_ids(sequence) for sequence in sequences], first_places, tokens_at_once)
    rest = [without(prefix, sequence) for sequence in sequences]
    sums = [0.0] * len(sequences)
    for rows, inputs, batch in passes(model, prefix, rest, pass_limit(model, tokens_at_once)):
        values = batch_log_probabilities(model, inputs, batch, plain_head=plain_head)
        for row, value in zip(rows, values, strict=True):
            if not math.isfinite(value):
                raise EngineError(
                    f"row {names[row]!r}: the model's logits are not finite, so its score is {value}; its weights are "
                    "damaged or its dtype is too narrow: open it in float32"
                )
            sums[row] = value
        done(rows, sum(len(sequence.ids) for sequence in batch))
    return sums


def passes(
    model: Any, prefix: Prefix, rest: Sequence[Rendered], limit: int
) -> Iterator[tuple[list[int], dict[str, Any], Sequence[Rendered]]]:
    """The rows of each forward pass, what the pass takes, and what it reads of them; shared prompts are read before."""
    groups, lone = sharing(model, rest)
    for places in batches([len(rest[row].ids) for row in lone], limit):
        rows = [lone[place] for place in places]
        batch: Sequence[Rendered] = [rest[row] for row in rows]
        yield rows, inputs_after(model, prefix, batch), batch
    sizes = [size_of([rest[row] for row in rows]) for rows in groups]
    for places in batches(sizes, limit):
        some = [groups[place] for place in places]
        inputs, batch = inputs_after_prompts(model, prefix, [[rest[row] for row in rows] for rows in some])
        yield [row for rows in some for row in rows], inputs, batch


def seen_ids(sequence: Rendered) -> tuple[int, ...]:
    """A sequence's tokens before the first that others may not look at: only they can be read for all rows at once."""
    return sequence.ids if all(sequence.attention) else sequence.ids[: sequence.attention.index(False)]


def without(prefix: Prefix, sequence: Rendered) -> Rendered:
    """What of a sequence follows the common beginning."""
    start = len(prefix.ids)
    return Rendered(sequence.ids[start:], sequence.loss[start:], sequence.attention[start:])


def batch_log_probabilities(
    model: Any, inputs: dict[str, Any], batch: Sequence[Rendered], *, plain_head: bool
) -> list[float]:
    """One forward pass over right-padded sequences; gives each one's answer log-probability."""
    target_NT = torch.zeros(inputs["input_ids"].shape, dtype=torch.bool)
    for row, sequence in enumerate(batch):
        target_NT[row, : len(sequence.loss)] = torch.tensor(sequence.loss)
    target_NT[:, 0] = False  # the first token of all is predicted from nothing
    row_A, place_A = target_NT.nonzero(as_tuple=True)
    token_A = inputs["input_ids"][row_A, place_A]
    sums_N = torch.zeros(len(batch), dtype=torch.float64)
    values_A = token_log_probabilities(model, inputs, row_A, place_A - 1, token_A, plain_head=plain_head)
    return sums_N.index_add_(0, row_A, values_A.cpu()).tolist()


def token_log_probabilities(
    model: Any,
    inputs: dict[str, Any],
    row_A: torch.Tensor,
    from_A: torch.Tensor,
    token_A: torch.Tensor,
    *,
    plain_head: bool,
) -> torch.Tensor:
    """The log-probability of each token of `token_A` as predicted at place `from_A` of row `row_A`, float64 [A]."""
    if len(row_A) == 0:
        return torch.zeros(0, dtype=torch.float64)
    values = []
    chunks = logit_chunks(model, inputs, row_A, from_A, plain_head=plain_head)
    for logits_AV, chunk_A in zip(chunks, torch.split(token_A, HEAD_ROWS), strict=True):
        chosen_A = logits_AV.gather(1, chunk_A[:, None])[:, 0]
        values.append((chosen_A - logits_AV.logsumexp(dim=-1)).double())
    return torch.cat(values)
