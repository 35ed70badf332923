"""In which order examples are seen, and how a global batch becomes tensors without wasted padding.

Pure functions of the examples and the seed: nothing here knows a model, a device, a process that died or a method.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Literal, cast

import torch
from torch import Tensor

from selfalign.errors import EngineError
from selfalign.keys import seed_of
from selfalign.ports import AnswerExample, PairExample, Rendered, TrainingOrder
from selfalign.types import Dpo

Example = AnswerExample | PairExample


# padded: S rows of T tokens, filled up on the right to the longest. packed: one row, sequences end to end.
Layout = Literal["padded", "packed"]


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Some examples of one global batch, as tensors for one forward and backward pass.

    S sequences with N answer tokens in all, in R rows of T tokens: R = S when padded, 1 when packed. With pairs, the
    first S/2 sequences are the chosen sides, the rest the rejected ones, in the same order.
    """

    layout: Layout
    lengths: tuple[int, ...]  # tokens of each sequence
    tokens_RT: Tensor
    positions_RT: Tensor
    attention_RT: Tensor  # bool; False at padding and at tokens hidden by the rendering
    predictor_N: Tensor  # index into the flattened R × T positions: the position *before* each answer token
    targets_N: Tensor
    sequence_N: Tensor
    reference_chosen_P: Tensor
    reference_rejected_P: Tensor

    def to(self, device: torch.device) -> MicroBatch:
        """The same micro-batch on a device."""
        tensors: dict[str, Any] = {
            name: value.to(device) for name in self.__slots__ if isinstance(value := getattr(self, name), Tensor)
        }
        return replace(self, **tensors)


def checked(order: TrainingOrder) -> Sequence[Example]:
    """The examples of an order, once it is sure that they can be trained on.

    Raises:
        EngineError: there are none, their kind does not fit the objective, or one has no answer token to learn or no
            finite reference.
    """
    examples = cast(Sequence[Example], order.examples)
    if not examples:
        raise EngineError("there are no examples to train on: every row was dropped before; see the table's reasons")
    kind: type = PairExample if isinstance(order.objective, Dpo) else AnswerExample
    for example in examples:
        if not isinstance(example, kind):
            raise EngineError(
                f"row {example.id!r} is a {type(example).__name__}, but the objective "
                f"{type(order.objective).__name__} takes a {kind.__name__} each"
            )
        if not all(answer_tokens(sequence) for sequence in sides(example)):
            raise EngineError(
                f"row {example.id!r} has no answer tokens to learn: the answer is empty or was cut away; "
                "drop the row or raise rendering.max_length"
            )
        if isinstance(example, PairExample) and not math.isfinite(
            example.reference_chosen + example.reference_rejected
        ):
            raise EngineError(
                f"row {example.id!r} has the reference log-probabilities {example.reference_chosen} and "
                f"{example.reference_rejected}; score it again or drop it"
            )
    return examples


def sides(example: Example) -> tuple[Rendered, ...]:
    """The sequences of an example: one answer, or chosen and rejected."""
    return (example.chosen, example.rejected) if isinstance(example, PairExample) else (example.sequence,)


def answer_tokens(sequence: Rendered) -> int:
    """How many tokens of a sequence are targets (the very first token has nothing before it to predict it from)."""
    return sum(sequence.loss[1:])


def length(example: Example) -> int:
    """Tokens of the example's longest sequence."""
    return max(len(sequence.ids) for sequence in sides(example))


def order_seed(order: TrainingOrder) -> int | None:
    """What the order of the examples depends on; None where it is the one they are given in."""
    return order.seed if order.optimisation.order == "shuffled" else None


def epoch_order(count: int, *, seed: int | None, epoch: int) -> list[int]:
    """The order in which an epoch sees `count` examples: the same for the same seed and epoch, on any machine.

    Without a seed they are seen as they are given, in every epoch.
    """
    order = list(range(count))
    if seed is None:
        return order
    random.Random(seed_of("epoch order", seed, epoch)).shuffle(order)
    return order


def global_batch(step: int, *, count: int, batch_size: int, seed: int | None) -> list[int]:
    """Which examples optimiser step `step` (from 0) learns from; the last batch of an epoch may be smaller."""
    epoch, batch = divmod(step, -(-count // batch_size))
    return epoch_order(count, seed=seed, epoch=epoch)[batch * batch_size : (batch + 1) * batch_size]


def micro_batches(
    examples: Sequence[Example], *, token_limit: int, layout: Layout = "padded", process: int = 0, processes: int = 1
) -> list[list[Example]]:
    """A process's share of a global batch, longest first, cut into groups of at most `token_limit` tokens.

    Padding counts. Neighbours in length share a group, so little is padded. An example longer than the limit is a
    group of its own. The longest group comes first: if memory does not suffice, that shows at once.
    """
    by_length = sorted(examples, key=lambda example: (-length(example), example.id))[process::processes]
    groups: list[list[Example]] = []
    for example in by_length:
        if groups and tokens_held([*groups[-1], example], layout=layout) <= token_limit:
            groups[-1].append(example)
        else:
            groups.append([example])
    return groups


def tokens_held(examples: Sequence[Example], *, layout: Layout) -> int:
    """How many token positions the examples take as one micro-batch."""
    lengths = [len(side.ids) for example in examples for side in sides(example)]
    return sum(lengths) if layout == "packed" else max(lengths) * len(lengths)


def collate(examples: Sequence[Example], *, padding_id: int, layout: Layout = "padded") -> MicroBatch:
    """Tensors of one micro-batch (see `MicroBatch`), on the CPU."""
    sequences = [sides(example)[side] for side in range(len(sides(examples[0]))) for example in examples]
    lengths = tuple(len(sequence.ids) for sequence in sequences)
    taken = lengths if layout == "packed" else (max(lengths),) * len(lengths)
    starts = list(accumulate(taken, initial=0))
    tokens_M = torch.full((starts[-1],), padding_id)
    positions_M = torch.zeros(starts[-1], dtype=torch.long)
    attention_M = torch.zeros(starts[-1], dtype=torch.bool)
    predictor: list[int] = []
    owner: list[int] = []
    for index, (start, sequence) in enumerate(zip(starts, sequences, strict=False)):
        end = start + len(sequence.ids)
        tokens_M[start:end] = torch.tensor(sequence.ids)
        positions_M[start:end] = torch.arange(len(sequence.ids))
        attention_M[start:end] = torch.tensor(sequence.attention)
        before = [start + position - 1 for position in range(1, len(sequence.ids)) if sequence.loss[position]]
        predictor += before
        owner += [index] * len(before)
    rows = 1 if layout == "packed" else len(sequences)
    pairs = [example for example in examples if isinstance(example, PairExample)]
    predictor_N = torch.tensor(predictor)
    return MicroBatch(
        layout=layout,
        lengths=lengths,
        tokens_RT=tokens_M.view(rows, -1),
        positions_RT=positions_M.view(rows, -1),
        attention_RT=attention_M.view(rows, -1),
        predictor_N=predictor_N,
        targets_N=tokens_M[predictor_N + 1],
        sequence_N=torch.tensor(owner),
        reference_chosen_P=torch.tensor([pair.reference_chosen for pair in pairs], dtype=torch.float32),
        reference_rejected_P=torch.tensor([pair.reference_rejected for pair in pairs], dtype=torch.float32),
    )
