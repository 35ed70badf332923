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
    limit = min(tokens_at_once, CPU_TOKENS_AT_ONCE) if model.device.type == "cpu" else tokens_at_once
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


def batch_log_probabilities(model: Any, batch: Sequence[Rendered], *, plain_head: bool) -> list[float]:
    """One forward pass over right-padded sequences; gives each one's answer log-probability."""
    rows, width = len(batch), max(len(sequence.ids) for sequence in batch)
    ids_NT = torch.zeros(rows, width, dtype=torch.long)
    seen_NT = torch.zeros(rows, width, dtype=torch.long)
    target_NT = torch.zeros(rows, width, dtype=torch.bool)
    for row, sequence in enumerate(batch):
        length = len(sequence.ids)
        ids_NT[row, :length] = torch.tensor(sequence.ids)
        seen_NT[row, :length] = torch.tensor(sequence.attention)
        target_NT[row, :length] = torch.tensor(sequence.loss)
    target_NT[:, 0] = False  # the first token of all is predicted from nothing
    inputs = {
        "input_ids": ids_NT.to(model.device),
        "attention_mask": seen_NT.to(model.device),
        "position_ids": torch.arange(width, device=model.device).expand(rows, width),
        "use_cache": False,
    }
    row_A, place_A = target_NT.nonzero(as_tuple=True)
    token_A = ids_NT[row_A, place_A].to(model.device)
    sums_N = torch.zeros(rows, dtype=torch.float64)
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
    if plain_head:
        states_AD = model.base_model(**inputs).last_hidden_state[row_A, from_A]
        head = model.get_output_embeddings()
    else:
        # the model's own head, at the places that some row's answer is predicted from
        first = int(from_A.min())
        states_AD = model(
            **inputs, logits_to_keep=torch.arange(first, int(from_A.max()) + 1, device=model.device)
        ).logits
        states_AD = states_AD[row_A, from_A - first]
        head = torch.nn.Identity()
    values = []
    for start in range(0, len(token_A), HEAD_ROWS):
        logits_AV = head(states_AD[start : start + HEAD_ROWS]).float()
        chunk_A = token_A[start : start + HEAD_ROWS]
        chosen_A = logits_AV.gather(1, chunk_A[:, None])[:, 0]
        values.append((chosen_A - logits_AV.logsumexp(dim=-1)).double())
    return torch.cat(values)
