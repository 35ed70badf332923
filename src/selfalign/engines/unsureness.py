"""How unsure a model is of the next token, averaged over places of a sequence; logits a few places at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from selfalign.engines.passes import batches, distinct, logit_chunks, padded, pass_limit
from selfalign.errors import EngineError
from selfalign.ports import Rendered
from selfalign.types import Uncertainty

# A head with a cap or a scale gives its logits for a whole pass at once: this many values are some 256 MB.
LOGITS_AT_ONCE = 64 << 20


def places(sequence: Rendered, over: Literal["all", "answer"]) -> tuple[int, int]:
    """The first place whose next token is asked for, and the one after the last.

    `all` takes every place, the last too, as the released DiverseEvol code; `answer` those just before answer tokens.
    """
    length = len(sequence.ids)
    return (0, length) if over == "all" else (max(0, sequence.prompt_length - 1), length - 1)


@torch.inference_mode()
def uncertainties(
    model: Any,
    sequences: Sequence[Rendered],
    *,
    names: Sequence[str],
    over: Literal["all", "answer"],
    tokens_at_once: int,
    plain_head: bool,
    done: Callable[[int, int], None],
) -> list[Uncertainty]:
    """One `Uncertainty` a sequence, in the order given; equal sequences are computed once.

    `done` hears after each pass how many rows are measured now, and how many tokens were read for it.

    Raises:
        EngineError: a row has no place to measure, or its logits are not finite.
    """
    for sequence, name in zip(sequences, names, strict=True):
        first, stop = places(sequence, over)
        if first >= stop:
            raise EngineError(f"row {name!r} has no answer tokens to be unsure of; drop it or measure over 'all'")
    limit = pass_limit(model, tokens_at_once)
    if not plain_head:
        limit = min(limit, LOGITS_AT_ONCE // model.get_input_embeddings().num_embeddings)
    unique, owners = distinct(sequences)
    found: dict[int, Uncertainty] = {}
    for numbers in batches([len(sequence.ids) for sequence in unique], limit):
        batch = [unique[number] for number in numbers]
        for number, means in zip(numbers, batch_means(model, batch, over=over, plain_head=plain_head), strict=True):
            if not all(map(math.isfinite, means)):
                raise EngineError(
                    f"row {names[owners[number][0]]!r}: the model's logits are not finite; its weights are damaged or "
                    "its dtype is too narrow: open it in float32"
                )
            for row in owners[number]:
                found[row] = uncertainty(names[row], unique[number], over, means)
        done(sum(len(owners[number]) for number in numbers), sum(len(sequence.ids) for sequence in batch))
    return [found[row] for row in range(len(sequences))]


def uncertainty(name: str, sequence: Rendered, over: Literal["all", "answer"], means: Sequence[float]) -> Uncertainty:
    """The row that holds a sequence's means."""
    first, stop = places(sequence, over)
    logit, logit_margin, probability, probability_margin, entropy = means
    return Uncertainty(
        id=name,
        tokens=stop - first,
        logit=logit,
        logit_margin=logit_margin,
        probability=probability,
        probability_margin=probability_margin,
        entropy=entropy,
    )


def batch_means(
    model: Any, batch: Sequence[Rendered], *, over: Literal["all", "answer"], plain_head: bool
) -> list[list[float]]:
    """One forward pass over right-padded sequences; gives each one's five means, summed in float64."""
    spans = [places(sequence, over) for sequence in batch]
    counts_N = torch.tensor([stop - first for first, stop in spans])
    row_A = torch.arange(len(batch)).repeat_interleave(counts_N)
    place_A = torch.cat([torch.arange(first, stop) for first, stop in spans])
    chunks = logit_chunks(model, padded(batch, model.device), row_A, place_A, plain_head=plain_head)
    values_AM = torch.cat([measures(logits_AV) for logits_AV in chunks]).cpu().double()
    sums_NM = torch.zeros(len(batch), values_AM.shape[1], dtype=torch.float64).index_add_(0, row_A, values_AM)
    means: list[list[float]] = (sums_NM / counts_N[:, None]).tolist()
    return means


def measures(logits_AV: torch.Tensor) -> torch.Tensor:
    """The five measures of each place, float32 [A, 5], in the order of `Uncertainty`; entropy in nats."""
    log_probabilities_AV = logits_AV.log_softmax(dim=-1)
    entropy_A = -(log_probabilities_AV.exp() * log_probabilities_AV).sum(dim=-1)
    top_A2, places_A2 = logits_AV.topk(2, dim=-1)
    likely_A2 = log_probabilities_AV.gather(1, places_A2).exp()
    columns = (top_A2[:, 0], top_A2[:, 0] - top_A2[:, 1], likely_A2[:, 0], likely_A2[:, 0] - likely_A2[:, 1], entropy_A)
    return torch.stack(columns, dim=1)
