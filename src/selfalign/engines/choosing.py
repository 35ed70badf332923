"""How likely a model is to go on with each of a few texts, from one forward pass a prompt in the usual case.

What all prompts begin with is computed once, and logits only where options part. It knows token ids; it does not know
text, templates, nor what the options mean.

An option is an event: the model writes the option's tokens, and does not go on to a longer option that begins with
the same tokens. So on a scale 1 … 10 whose "10" is the tokens "1", "0", the probability of "1" leaves out that of
"10"; no two events can both happen, and the probabilities of all options sum to at most 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from selfalign.engines.passes import batches, logit_chunks, pass_limit
from selfalign.engines.prefix import Ids, Prefix, common_prefix, context_of, inputs_after, plainly, shared_length
from selfalign.errors import EngineError

# What is left of a probability when its longer options took all of it, up to rounding: keeps logarithms finite.
SMALLEST_REST = 2.0**-52

# The token written after some tokens of an option.
Turn = tuple[Ids, int]


@dataclass(frozen=True, slots=True)
class Fork:
    """How options part, token by token, after tokens they have in common.

    `base` are the tokens before the first fork; `paths` are what must be fed after it for every fork to be seen;
    `turns` lists for each option the tokens it is made of, `beyond` those with which a longer option goes on.
    """

    base: Ids
    paths: tuple[Ids, ...]
    turns: tuple[tuple[Turn, ...], ...]
    beyond: tuple[tuple[Turn, ...], ...]

    def wanted(self, path: Ids) -> list[Turn]:
        """The turns whose fork is met on one path."""
        listed = [turn for turns in (*self.turns, *self.beyond) for turn in turns]
        return [turn for turn in dict.fromkeys(listed) if self.path_of(turn[0]) == path]

    def path_of(self, place: Ids) -> Ids:
        """The first path on which a fork lies."""
        return next(path for path in self.paths if path[: len(place)] == place)


def forked(written: Ids, continued: Sequence[Ids]) -> Fork:
    """How texts part: `written` are the tokens of what stands already, `continued` those of it with each option.

    Where an option changes how the end of what stands is cut into tokens, the fork moves before the change: that end
    is then scored as part of every option, which changes their sum but not what is compared.

    Raises:
        EngineError: an option adds no token, or two options are the same tokens.
    """
    start = shared_length([written, *continued])
    tails = [ids[start:] for ids in continued]
    if len(set(tails)) < len(tails) or not all(tails):
        raise EngineError("options must differ from each other and from nothing in the tokens the model reads them as")
    inner = {tail[:length] for tail in tails for length in range(len(tail))}
    paths = [one for one in inner if not any(one == other[: len(one)] and one != other for other in inner)]
    turns = [tuple((tail[:place], tail[place]) for place in range(len(tail))) for tail in tails]
    after = [
        tuple(dict.fromkeys((tail, other[len(tail)]) for other in tails if other[: len(tail)] == tail != other))
        for tail in tails
    ]
    return Fork(written[:start], tuple(sorted(paths)), tuple(turns), tuple(after))


def option_values(fork: Fork, values: dict[Turn, float]) -> tuple[float, ...]:
    """The log-probability (nats) of each option, from those of the turns."""
    options = []
    for turns, beyond in zip(fork.turns, fork.beyond, strict=True):
        value = math.fsum(values[turn] for turn in turns)
        if beyond:
            value += math.log(max(SMALLEST_REST, 1.0 - math.fsum(math.exp(values[turn]) for turn in beyond)))
        options.append(value)
    return tuple(options)


@torch.inference_mode()
def choices(
    model: Any,
    prompts: Sequence[Ids],
    forks: Sequence[Fork],
    *,
    names: Sequence[str],
    rows_at_once: int,
    tokens_at_once: int,
    plain_head: bool,
    done: Callable[[int, int], None],
) -> list[tuple[float, ...]]:
    """The log-probabilities (nats) of each row's options, in the order given; equal prompts are computed once.

    `done` hears after each pass how many rows are complete now, and how many tokens were read for it.

    Raises:
        EngineError: a prompt with its option exceeds the model's context, or logits are not finite.
    """
    asked = sequences_to_read(prompts, forks)
    check_context(model, asked, names)
    found: list[dict[Turn, float]] = [{} for _ in prompts]
    left = [len(fork.paths) for fork in forks]
    sequences = list(asked)
    places = [min(len(ids) - 1 - len(path) for _, path in asked[ids]) for ids in sequences]
    prefix = common_prefix(model, sequences, places, tokens_at_once)
    rest = [ids[len(prefix.ids) :] for ids in sequences]
    for numbers in capped(batches([len(ids) for ids in rest], pass_limit(model, tokens_at_once)), rows_at_once):
        met = [(place, row, path) for place, number in enumerate(numbers) for row, path in asked[sequences[number]]]
        batch = [rest[number] for number in numbers]
        reads = [
            Read(place, len(batch[place]) - 1 - len(path) + len(turn[0]), turn, row)
            for place, row, path in met
            for turn in forks[row].wanted(path)
        ]
        read_turns(model, prefix, batch, reads, found, names, plain_head=plain_head)
        for _, row, _ in met:
            left[row] -= 1
        done(sum(left[row] == 0 for row in {row for _, row, _ in met}), sum(map(len, batch)))
    return [option_values(fork, values) for fork, values in zip(forks, found, strict=True)]


def sequences_to_read(prompts: Sequence[Ids], forks: Sequence[Fork]) -> dict[Ids, list[tuple[int, Ids]]]:
    """The different sequences to be read, each with the rows it is for and the path in it that belongs to the row."""
    asked: dict[Ids, list[tuple[int, Ids]]] = {}
    for row, (prompt, fork) in enumerate(zip(prompts, forks, strict=True)):
        for path in fork.paths:
            asked.setdefault((*prompt, *fork.base, *path), []).append((row, path))
    return asked


def check_context(model: Any, asked: dict[Ids, list[tuple[int, Ids]]], names: Sequence[str]) -> None:
    """Refuse what the model cannot read at once, and options after nothing at all."""
    context = context_of(model)
    for ids, rows in asked.items():
        if len(ids) == len(rows[0][1]):
            raise EngineError(f"row {names[rows[0][0]]!r}: its prompt has no token for an option to follow")
        if len(ids) > context:
            raise EngineError(
                f"row {names[rows[0][0]]!r}: with its options it has {len(ids)} tokens and the model's context "
                f"{context}; lower rendering.max_length or leave the row out"
            )


def capped(groups: Iterator[list[int]], rows_at_once: int) -> Iterator[list[int]]:
    """The same groups, none with more rows than `rows_at_once`: each row holds a copy of the common beginning."""
    for group in groups:
        for start in range(0, len(group), rows_at_once):
            yield group[start : start + rows_at_once]


# --------------------------------------------------------------------------------------------- one pass


@dataclass(frozen=True, slots=True)
class Read:
    """A turn to be read: in which sequence of the batch, after which of its tokens, and for which row."""

    sequence: int
    place: int
    turn: Turn
    row: int


def read_turns(
    model: Any,
    prefix: Prefix,
    rest: Sequence[Ids],
    reads: Sequence[Read],
    found: list[dict[Turn, float]],
    names: Sequence[str],
    *,
    plain_head: bool,
) -> None:
    """One forward pass: leaves the log-probability of every turn asked for in `found`."""
    reads_at: dict[tuple[int, int], list[Read]] = {}
    for read in reads:
        reads_at.setdefault((read.sequence, read.place), []).append(read)
    row_A, from_A = (torch.tensor(side, device=model.device) for side in zip(*reads_at, strict=True))
    here = iter(reads_at.values())
    for logits_AV in logit_chunks(
        model, inputs_after(model, prefix, [plainly(ids) for ids in rest]), row_A, from_A, plain_head=plain_head
    ):
        logs_AV = logits_AV.log_softmax(dim=-1)
        some = [(place, read) for place in range(len(logs_AV)) for read in next(here)]
        place_R = torch.tensor([place for place, _ in some], device=model.device)
        token_R = torch.tensor([read.turn[1] for _, read in some], device=model.device)
        for (_, read), value in zip(some, logs_AV[place_R, token_R].double().tolist(), strict=True):
            if not math.isfinite(value):
                raise EngineError(
                    f"row {names[read.row]!r}: the model's logits are not finite; its weights are damaged or its "
                    "dtype is too narrow: open it in float32"
                )
            found[read.row][read.turn] = value
