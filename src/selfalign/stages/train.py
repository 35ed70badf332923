"""A model learns from rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from selfalign.errors import StageError
from selfalign.ports import AnswerExample, PairExample, Rendered, Tokenizer, TrainingOrder
from selfalign.render import is_full, rendered, rendered_together
from selfalign.stage import Size, Weights, stage
from selfalign.types import Chat, Dpo, Lora, Model, Objective, Optimisation, Pair, PairScore, Rendering, Table
from selfalign.work import fitted, note, rows, tokenizer_of

MOST_EXAMPLES = 10**12


def training_size(
    size: Callable[[Any], Size], *, tables: tuple[Table[Any], ...], optimisation: Optimisation, **_: Any
) -> Size:
    """Every sequence of every table, as often as there are epochs."""
    sizes = [size(table) for table in tables]
    seen = sum(one.rows for one in sizes)
    optimisation = for_examples(optimisation, seen)
    share = 1.0
    epochs = optimisation.num_train_epochs
    if optimisation.max_steps is not None:
        share = min(1.0, optimisation.max_steps * optimisation.batch_size / max(1, seen * epochs))
    tokens = sum(one.prompt_tokens + one.answer_tokens for one in sizes) * epochs * share
    return Size(rows=int(seen * epochs * share), work_tokens=int(tokens))


@stage(version=2, needs="train", expect=training_size)
def train(
    model: Model,
    tables: tuple[Table[Chat], ...] | tuple[Table[Pair], ...],
    *,
    objective: Objective,
    reference: tuple[Table[PairScore], ...],
    optimisation: Optimisation,
    lora: Lora | None,
    rendering: Rendering,
    seed: int,
) -> Weights:
    """The model after training on all rows of `tables`, starting from `model`'s weights.

    `reference` holds, table by table, what the frozen reference gives each pair; empty for `Sft`.

    Raises:
        StageError: pairs and reference scores do not match row by row, or there is nothing to train on.
    """
    tokenizer = tokenizer_of(model)
    if optimisation.steps_by_examples is not None:
        every: tuple[Table[Any], ...] = tables
        optimisation = for_examples(optimisation, sum(1 for table in every for _ in rows(table)))
        note("batch_size", optimisation.batch_size)
    if isinstance(objective, Dpo):
        pairs = list(pair_examples(tokenizer, tables, reference, rendering))
        note("pairs", len(pairs))
        order = TrainingOrder(pairs, objective, optimisation, lora, seed)
    else:
        answers = list(answer_examples(tokenizer, tables, rendering))
        note("answers", len(answers))
        order = TrainingOrder(answers, objective, optimisation, lora, seed)
    if not order.examples:
        raise StageError("there are no rows to train on; look at what the stages before it dropped, and why")
    note("cut", sum(is_full(one, rendering) for example in order.examples for one in sequences_of(example)))
    note("steps", [asdict(step) for step in fitted(model, order)])
    return Weights()


def for_examples(optimisation: Optimisation, count: int) -> Optimisation:
    """The optimisation for so many examples: steps and batch size from `steps_by_examples`, if it has any.

    Steps are linear between two rows of the table and proportional to the examples outside of it; the batch size is
    that of the last row with no more examples (of the first, below it).
    """
    table = sorted(optimisation.steps_by_examples or ())
    if not table or count < 1:
        return replace(optimisation, steps_by_examples=None)
    smaller = [row for row in table if row[0] <= count]
    larger = [row for row in table if row[0] > count]
    if smaller and larger:
        (low, few, _), (high, many, _) = smaller[-1], larger[0]
        steps = few + (many - few) * (count - low) / (high - low)
    else:
        examples, few, _ = smaller[-1] if smaller else larger[0]
        steps = few * count / examples
    batch_size = (smaller[-1] if smaller else larger[0])[2]
    taken = max(1, round(steps))
    return replace(
        optimisation, max_steps=taken, batch_size=batch_size, steps_by_examples=None,
        num_train_epochs=-(-taken // -(-count // batch_size)),
    )  # fmt: skip


def for_steps(optimisation: Optimisation, steps: int) -> Optimisation:
    """The optimisation for exactly so many steps, however many examples come; its batch sizes stay what they were."""
    table = sorted(optimisation.steps_by_examples or ())
    if table:  # of equal steps; its ends are so far out that nothing lies beyond them, where steps grow with examples
        ends = ((1, steps, table[0][2]), (MOST_EXAMPLES, steps, table[-1][2]))
        flat = (ends[0], *((examples, steps, batch) for examples, _, batch in table), ends[1])
        return replace(optimisation, steps_by_examples=flat, schedule_epochs=None)
    # An epoch has a step at least, so as many epochs are enough.
    return replace(optimisation, max_steps=steps, num_train_epochs=steps, schedule_epochs=None)


def sequences_of(example: AnswerExample | PairExample) -> tuple[Rendered, ...]:
    """The sequences of an example."""
    return (example.sequence,) if isinstance(example, AnswerExample) else (example.chosen, example.rejected)


def answer_examples(
    tokenizer: Tokenizer, tables: tuple[Table[Any], ...], rendering: Rendering
) -> Iterator[AnswerExample]:
    """Every chat of every table, as the tokens the model will see."""
    for table in tables:
        for chat in rows(table):
            yield AnswerExample(chat.id, rendered(tokenizer, chat, rendering))


def pair_examples(
    tokenizer: Tokenizer, tables: tuple[Table[Any], ...], reference: tuple[Table[PairScore], ...], rendering: Rendering
) -> Iterator[PairExample]:
    """Every pair of every table with its reference scores, as the tokens the model will see."""
    if len(tables) != len(reference):
        raise StageError(f"{len(tables)} tables of pairs came with {len(reference)} tables of reference scores")
    for table, scores in zip(tables, reference, strict=True):
        for one, score in zip(rows(table), rows(scores), strict=True):
            if one.id != score.id:
                raise StageError(f"pair {one.id!r} met the reference score of {score.id!r}; the tables differ in order")
            chosen, rejected = rendered_together(tokenizer, one.sides(), rendering)
            yield PairExample(one.id, chosen, rejected, score.chosen, score.rejected)
