"""What a chosen set is like beside its pool: length, language, coverage, diversity.

Published gains of selection are confounded with answer length, and k-center picks outliers by design: noise, code,
other languages. So every chosen set is described, not only scored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import mean
from typing import Any

from selfalign.errors import StageError
from selfalign.keys import seed_of
from selfalign.measures.diversity import mean_nearest_distance, near_duplicate_share, vendi_score
from selfalign.measures.health import answer_words, near_duplicates
from selfalign.measures.languages import language_mix
from selfalign.selection import by_score
from selfalign.stage import Size, stage
from selfalign.types import Chat, Choice, Matrix, SetMeasure, Table
from selfalign.work import matrix, rows

MOST_LANGUAGES = 6
NEAR_DUPLICATE_OVERLAP = 0.7
# Telling a language takes a third of a millisecond a row; of more rows than these a sample tells it well enough.
MOST_TEXTS = 2_000
MOST_VENDI_ROWS = 4_096
# Each of so many rows is compared with all rows.
MOST_GAPS = 1_024
SAME_COSINE = 0.999


def described_size(size: Callable[[Any], Size], *, vectors: tuple[Matrix, ...], **_: Any) -> Size:
    """At most so many measures; fewer where fewer languages are met."""
    return Size(5 + MOST_LANGUAGES + 5 * len(vectors))


@stage(version=1, needs="driver", expect=described_size)
def describe_selection(
    pool: Table[Chat], choices: tuple[Table[Choice], ...], vectors: tuple[Matrix, ...]
) -> Iterator[SetMeasure]:
    """Measures of the chosen rows beside those of the whole pool; with `vectors`, of coverage and diversity too."""
    chats = list(rows(pool))
    ids = {choice.id for table in choices for choice in rows(table)}
    chosen = [chat for chat in chats if chat.id in ids]
    yield SetMeasure(id="rows", says="rows", chosen=float(len(chosen)), pool=float(len(chats)))
    yield from of_texts(chosen, chats)
    for one in vectors:
        yield from of_vectors(one, ids)


def of_texts(chosen: Sequence[Chat], chats: Sequence[Chat]) -> Iterator[SetMeasure]:
    """Lengths, languages (over a sample of at most `MOST_TEXTS` rows) and repeated rows."""
    says = "words in a prompt, mean"
    one, other = (float(mean(map(prompt_words, some))) for some in (chosen, chats))
    yield SetMeasure(id="prompt_words", says=says, chosen=one, pool=other)
    says = "words in an answer, mean"
    yield SetMeasure(id="answer_words", says=says, chosen=answer_length(chosen), pool=answer_length(chats))
    samples = [[text_of(chat) for chat in sampled(some)] for some in (chosen, chats)]
    mixes = [language_mix(texts) for texts in samples]
    largest = sorted(set().union(*mixes), key=lambda name: (-max(mix.get(name, 0.0) for mix in mixes), name))
    for name in largest[:MOST_LANGUAGES]:
        one, other = (mix.get(name, 0.0) for mix in mixes)
        says = f"share of rows in language '{name}'" + (
            f" (of {MOST_TEXTS:,} drawn)" if len(chats) > MOST_TEXTS else ""
        )
        yield SetMeasure(id=f"language:{name}", says=says, chosen=one, pool=other)
    one, other = (repeated_share(some) for some in (chosen, chats))
    says = "share of rows whose text is an earlier row's, case and blanks aside"
    yield SetMeasure(id="duplicate", says=says, chosen=one, pool=other)
    few, many = (nearly_repeated_share(some) for some in (chosen, chats))
    says = f"share of rows that nearly repeat an earlier one (sets of at most {MOST_TEXTS:,} rows)"
    yield SetMeasure(id="near_duplicate", says=says, chosen=few, pool=many)


def of_vectors(vectors: Matrix, ids: set[str]) -> Iterator[SetMeasure]:
    """How well the chosen vectors cover all, and how different they are from one another."""
    from selfalign.selection.k_center import nearest_chosen

    row_ids, values_ND = matrix(vectors)
    places = [place for place, row_id in enumerate(row_ids) if row_id in ids]
    distance_N, _ = nearest_chosen(values_ND, places)
    says = "largest distance of a row of the pool to its nearest chosen row"
    yield SetMeasure(id="covering_radius", says=says, chosen=float(distance_N.max()), pool=None)
    says = "distance of a row of the pool to its nearest chosen row, mean"
    yield SetMeasure(id="covering_mean", says=says, chosen=float(distance_N.mean()), pool=None)
    chosen_ND = values_ND[places]
    says = "distance of a row to its nearest other row of the set, mean"
    one, other = (gap(vectors_ND) for vectors_ND in (chosen_ND, values_ND))
    yield SetMeasure(id="nearest_other", says=says, chosen=one, pool=other)
    says = f"share of rows with another of the set at a cosine of at least {SAME_COSINE:g}"
    one, other = (same(vectors_ND) for vectors_ND in (chosen_ND, values_ND))
    yield SetMeasure(id="same_vector", says=says, chosen=one, pool=other)
    # The score grows with the number of rows: the pool's is taken over as many, drawn by a seed.
    count = min(len(chosen_ND), MOST_VENDI_ROWS)
    says = f"Vendi score, the effective number of different rows, over as many of each, at most {MOST_VENDI_ROWS:,}"
    yield SetMeasure(id="vendi", says=says, chosen=vendi(chosen_ND, count), pool=vendi(values_ND, count))


def gap(vectors_ND: Any) -> float | None:
    """The mean distance of a row to its nearest other row; None of a lone row."""
    return mean_nearest_distance(vectors_ND, sample=MOST_GAPS) if len(vectors_ND) > 1 else None


def same(vectors_ND: Any) -> float | None:
    """The share of rows with a near twin; None where a row has no direction, or of a lone row."""
    try:
        return near_duplicate_share(vectors_ND, threshold=SAME_COSINE, sample=MOST_GAPS)
    except StageError:
        return None


def vendi(vectors_ND: Any, count: int) -> float | None:
    """The Vendi score over `count` rows; None where a row has no direction."""
    try:
        return vendi_score(vectors_ND, sample=count).score
    except StageError:
        return None


def prompt_words(chat: Chat) -> int:
    """How many words the user's part has."""
    return sum(answer_words(message.content) for message in chat.prompt if message.role == "user")


def text_of(chat: Chat) -> str:
    """What of a chat tells its language: the user's words and the answer."""
    return " ".join([*(one.content for one in chat.prompt if one.role == "user"), chat.answer or ""])


def sampled(chats: Sequence[Chat]) -> Sequence[Chat]:
    """The rows whose texts are looked at: all, or as many as are affordable, drawn by a fixed seed."""
    if len(chats) <= MOST_TEXTS:
        return chats
    return [chats[row] for row in sorted(by_score.at_random(len(chats), MOST_TEXTS, seed=0).rows.tolist())]


def repeated_share(chats: Sequence[Chat]) -> float:
    """The share of rows whose text an earlier row has too."""
    different = {seed_of(" ".join(text_of(chat).casefold().split())) for chat in chats}
    return 1 - len(different) / len(chats)


def nearly_repeated_share(chats: Sequence[Chat]) -> float | None:
    """The share of rows that nearly repeat an earlier one; None of large sets: a sample of them holds too few pairs."""
    if len(chats) > MOST_TEXTS:
        return None
    repeated = near_duplicates([text_of(chat) for chat in chats], threshold=NEAR_DUPLICATE_OVERLAP)
    return sum(repeated) / len(chats)


def answer_length(chats: Sequence[Chat]) -> float | None:
    """The mean number of words of the answers there are; None when there are none."""
    lengths = [answer_words(chat.answer) for chat in chats if chat.answer is not None]
    return mean(lengths) if lengths else None
