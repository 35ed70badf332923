"""Log-probabilities of answers, with logits computed at answer positions only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from selfalign.errors import EngineError
from selfalign.ports import Rendered

HEAD_ROWS = 256
# On a CPU larger passes are no faster, and progress would be seen more rarely than once a second.
CPU_TOKENS_AT_ONCE = 1024


@torch.inference_mode()
def head_is_plain(model: Any) -> bool:
    """Whether logits are the output layer applied to the last hidden states and nothing more.

    Some models cap or scale logits after the layer, under many names in their configs; so it is tried, not read.
    """
    size = int(model.get_input_embeddings().num_embeddings)
    ids = torch.arange(4, device=model.device)[None] % size
    logits = model(input_ids=ids, use_cache=False).logits
    head = model.get_output_embeddings()
    if head is None:
        return False
    plain = head(model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
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
    limit = pass_limit(model, tokens_at_once)
    sums = [0.0] * len(sequences)
    for rows in batches([len(sequence.ids) for sequence in sequences], limit):
        batch = [sequences[row] for row in rows]
        for row, value in zip(rows, batch_log_probabilities(model, batch, plain_head=plain_head), strict=True):
            if not math.isfinite(value):
                raise EngineError(
                    f"row {names[row]!r}: the model's logits are not finite, so its score is {value}; its weights are "
                    "damaged or its dtype is too narrow: open it in float32"
                )
            sums[row] = value
        done(rows, sum(len(sequence.ids) for sequence in batch))
    return sums


def pass_limit(model: Any, tokens_at_once: int) -> int:
    """How many tokens a forward pass takes."""
    return min(tokens_at_once, CPU_TOKENS_AT_ONCE) if model.device.type == "cpu" else tokens_at_once


def distinct(sequences: Sequence[Rendered]) -> tuple[list[Rendered], list[list[int]]]:
    """The different ones among sequences, and for each the rows that are equal to it."""
    rows: dict[Rendered, list[int]] = {}
    for row, sequence in enumerate(sequences):
        rows.setdefault(sequence, []).append(row)
    return list(rows), list(rows.values())


def batches(lengths: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Rows sorted by length, in groups whose padded size stays within `limit` tokens (one row may exceed it)."""
    group: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if group and (len(group) + 1) * lengths[row] > limit:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def padded(batch: Sequence[Rendered], device: torch.device) -> dict[str, Any]:
    """What a forward pass over right-padded sequences takes."""
    rows, width = len(batch), max(len(sequence.ids) for sequence in batch)
    ids_NT = torch.zeros(rows, width, dtype=torch.long)
    seen_NT = torch.zeros(rows, width, dtype=torch.long)
    for row, sequence in enumerate(batch):
        length = len(sequence.ids)
        ids_NT[row, :length] = torch.tensor(sequence.ids)
        seen_NT[row, :length] = torch.tensor(sequence.attention)
    return {
        "input_ids": ids_NT.to(device),
        "attention_mask": seen_NT.to(device),
        "position_ids": torch.arange(width, device=device).expand(rows, width),
        "use_cache": False,
    }


def batch_log_probabilities(model: Any, batch: Sequence[Rendered], *, plain_head: bool) -> list[float]:
    """One forward pass over right-padded sequences; gives each one's answer log-probability."""
    inputs = padded(batch, model.device)
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


def logit_chunks(
    model: Any, inputs: dict[str, Any], row_A: torch.Tensor, from_A: torch.Tensor, *, plain_head: bool
) -> Iterator[torch.Tensor]:
    """The logits at place `from_A` of row `row_A` in float32, `HEAD_ROWS` places at a time: [at most HEAD_ROWS, V]."""
    if plain_head:
        states_AD = model.base_model(**inputs).last_hidden_state[row_A, from_A]
        head = model.get_output_embeddings()
    else:
        # the model's own head, at the places that some row is asked for
        first = int(from_A.min())
        states_AD = model(
            **inputs, logits_to_keep=torch.arange(first, int(from_A.max()) + 1, device=model.device)
        ).logits
        states_AD = states_AD[row_A, from_A - first]
        head = torch.nn.Identity()
    for some_AD in torch.split(states_AD, HEAD_ROWS):
        yield head(some_AD).float()
