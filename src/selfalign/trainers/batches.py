"""In which order examples are seen, and how a global batch becomes tensors without wasted padding.

Pure functions of the examples and the seed: nothing here knows a model, a device, a process that died or a method.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from selfalign.errors import EngineError
from selfalign.keys import seed_of
from selfalign.ports import AnswerExample, PairExample, Rendered, TrainingOrder
from selfalign.types import Dpo

Example = AnswerExample | PairExample


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Some examples of one global batch, as tensors for one forward and backward pass.

    Sequences are padded on the right to the longest among them; S sequences of T tokens, N answer tokens. With pairs,
    the first S/2 sequences are the chosen sides, the rest the rejected ones, in the same order.
    """

    ids: tuple[str, ...]
    tokens_ST: Tensor
    attention_ST: Tensor  # bool; False at padding and at tokens hidden by the rendering
    predictor_N: Tensor  # index into the flattened S × T positions: the position *before* each answer token
    targets_N: Tensor
    sequence_N: Tensor
    reference_chosen_P: Tensor
    reference_rejected_P: Tensor
    tokens: int  # without padding

    def to(self, device: torch.device) -> MicroBatch:
        """The same micro-batch on a device."""
        moved = {
            name: getattr(self, name).to(device) for name in self.__slots__ if isinstance(getattr(self, name), Tensor)
        }
        return MicroBatch(ids=self.ids, tokens=self.tokens, **moved)


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


def epoch_order(count: int, *, seed: int, epoch: int) -> list[int]:
    """The order in which an epoch sees `count` examples: the same for the same seed and epoch, on any machine."""
    order = list(range(count))
    random.Random(seed_of("epoch order", seed, epoch)).shuffle(order)
    return order


def global_batch(step: int, *, count: int, batch_size: int, seed: int) -> list[int]:
    """Which examples optimiser step `step` (from 0) learns from; the last batch of an epoch may be smaller."""
    epoch, batch = divmod(step, -(-count // batch_size))
    return epoch_order(count, seed=seed, epoch=epoch)[batch * batch_size : (batch + 1) * batch_size]


def micro_batches(
    examples: Sequence[Example], *, token_limit: int, process: int = 0, processes: int = 1
) -> list[list[Example]]:
    """A process's share of a global batch, longest first, cut into groups of at most `token_limit` padded tokens.

    Neighbours in length share a group, so little is padded. An example longer than the limit is a group of its own.
    The longest group comes first: if memory does not suffice, that shows at once and not in the middle of an epoch.
    """
    by_length = sorted(examples, key=lambda example: (-length(example), example.id))[process::processes]
    groups: list[list[Example]] = []
    for example in by_length:
        if groups:
            padded = length(groups[-1][0]) * sum(len(sides(member)) for member in [*groups[-1], example])
            if padded <= token_limit:
                groups[-1].append(example)
                continue
        groups.append([example])
    return groups


def collate(examples: Sequence[Example], *, padding_id: int) -> MicroBatch:
    """Tensors of one micro-batch (see `MicroBatch`), on the CPU."""
    sequences = [sides(example)[side] for side in range(len(sides(examples[0]))) for example in examples]
    longest = max(len(sequence.ids) for sequence in sequences)
    tokens_ST = torch.full((len(sequences), longest), padding_id)
    attention_ST = torch.zeros((len(sequences), longest), dtype=torch.bool)
    predictor: list[int] = []
    owner: list[int] = []
    targets: list[int] = []
    for row, sequence in enumerate(sequences):
        tokens_ST[row, : len(sequence.ids)] = torch.tensor(sequence.ids)
        attention_ST[row, : len(sequence.ids)] = torch.tensor(sequence.attention)
        for position in range(1, len(sequence.ids)):
            if sequence.loss[position]:
                predictor.append(row * longest + position - 1)
                owner.append(row)
                targets.append(sequence.ids[position])
    pairs = [example for example in examples if isinstance(example, PairExample)]
    return MicroBatch(
        ids=tuple(example.id for example in examples),
        tokens_ST=tokens_ST,
        attention_ST=attention_ST,
        predictor_N=torch.tensor(predictor),
        targets_N=torch.tensor(targets),
        sequence_N=torch.tensor(owner),
        reference_chosen_P=torch.tensor([pair.reference_chosen for pair in pairs], dtype=torch.float32),
        reference_rejected_P=torch.tensor([pair.reference_rejected for pair in pairs], dtype=torch.float32),
        tokens=sum(len(sequence.ids) for sequence in sequences),
    )
