"""Rows become vectors: hidden states of a model, or vectors somebody else made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from selfalign.data.vectors import read_vectors
from selfalign.errors import RecipeError
from selfalign.selection.space import unit_rows, whitened
from selfalign.stage import Size, Vectors, stage
from selfalign.types import Chat, Embedding, Matrix, Model, Rendering, Source, Table
from selfalign.work import advance, keep_matrix, keep_vectors, matrix, note, rows, serving

# Rows of one shard are sorted by length before they are batched; more would save little padding and lose more work.
ROWS_PER_SHARD = 2048


def embedded(model: Model, chats: Table[Chat], *, rendering: Rendering, embedding: Embedding) -> Matrix:
    """One vector for each chat, in the space `embedding` asks for. Another space of the same states embeds nothing."""
    states = embed(model, chats, rendering=rendering, embedding=replace(embedding, whiten=None, normalise="nothing"))
    return in_space(states, whiten=embedding.whiten, normalise=embedding.normalise)


def in_space(vectors: Matrix, *, whiten: int | None, normalise: str) -> Matrix:
    """The vectors whitened and of unit length, as asked for; the same vectors where nothing is."""
    if whiten is None and normalise == "nothing":
        return vectors
    return transform(vectors, whiten=whiten)


def embedded_size(size: Callable[[Any], Size], *, chats: Table[Chat], **_: Any) -> Size:
    """One vector a chat; prompt and answer pass through the model once."""
    given = size(chats)
    return Size(given.rows, work_tokens=given.prompt_tokens + given.answer_tokens)


@stage(version=2, needs="serve", expect=embedded_size)
def embed(model: Model, chats: Table[Chat], *, rendering: Rendering, embedding: Embedding) -> Vectors:
    """Each chat's hidden states of one layer, pooled to one float32 vector (DiverseEvol, code's embedding definition).

    Independent of neighbours up to rounding; a killed call goes on from its last finished shard.
    """
    with serving(model) as lm:

        def vectors(shard: list[Chat]) -> Any:
            return lm.embed(shard, rendering=rendering, embedding=embedding, advance=advance)

        keep_vectors(rows(chats), vectors, size=ROWS_PER_SHARD)
    return Vectors()


def same_rows(size: Callable[[Any], Size], *, vectors: Matrix, whiten: int | None) -> Size:
    """As many vectors as before.

    Raises:
        RecipeError: more whitened components are asked for than so few rows can have.
    """
    count = size(vectors).rows
    if whiten is not None and whiten >= count:
        raise RecipeError(
            f"{whiten} whitened components (whiten) are asked for, and {count} rows vary in at most {count - 1} "
            "directions: ask for fewer"
        )
    return Size(count)


@stage(version=1, needs="driver", expect=same_rows)
def transform(vectors: Matrix, *, whiten: int | None) -> Vectors:
    """The vectors of unit length; with `whiten`, so many whitened components of them first (DiverseEvol, optional).

    Raises:
        StageError: a vector is zero and has no direction, or there are fewer independent components (names both).
    """
    row_ids, values_ND = matrix(vectors)
    keep_matrix(row_ids, unit_rows(values_ND) if whiten is None else whitened(values_ND, whiten))
    return Vectors()


def given_size(size: Callable[[Any], Size], *, chats: Table[Chat], **_: Any) -> Size:
    """One vector a chat."""
    return Size(size(chats).rows)


@stage(version=1, needs="driver", expect=given_size)
def load_vectors(source: Source, chats: Table[Chat]) -> Vectors:
    """Vectors from a `.npy` file, one for each chat in the order of the data.

    Raises:
        RecipeError: the file holds no float matrix, another number of rows, or a value that is not finite.
    """
    row_ids = [chat.id for chat in rows(chats)]
    values_ND = read_vectors(source, row_ids)
    note("dimensions", int(values_ND.shape[1]))
    keep_matrix(row_ids, values_ND)
    return Vectors()
