"""Seeded text-to-text tasks over short made-up words, for rehearsals and tests.

A task asks for one simple change to one lower-case word, for example
``reverse: stone`` with the output ``enots``. The words are drawn from a space of
letter strings that is cut into four disjoint pools by a hash of the word, so that
the words the embedded toy model was trained on never meet the words of the
demonstrations, and no word of one split occurs in another.

Only the standard library is used, and every draw goes through integer methods of
``random.Random``, so the same arguments give the same tasks on every platform.
"""

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

WordPool = Literal["model", "train", "dev", "test"]

VOWELS: Final = "aeiou"
CONSONANTS: Final = "bcdfghjklmnpqrstvwxyz"
SHORTEST_WORD_LETTERS: Final = 3
LONGEST_WORD_LETTERS: Final = 6

# Upper bounds, exclusive, on the first byte of the word's SHA-256 digest. Half of
# the words train the toy model; a quarter, an eighth and an eighth are left for
# the train, dev and test splits of the demonstrations.
_POOL_BOUNDS: Final[tuple[tuple[int, WordPool], ...]] = (
    (128, "model"),
    (192, "train"),
    (224, "dev"),
    (256, "test"),
)

WORD_POOLS: Final[tuple[WordPool, ...]] = tuple(pool for _, pool in _POOL_BOUNDS)

# A run of this many draws without one new task means the space is used up.
_MOST_DRAWS_PER_TASK: Final = 2_000

_ANSWERS: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType(
    {
        "upper": str.upper,
        "double": lambda word: f"{word} {word}",
        "first": lambda word: word[0],
        "last": lambda word: word[-1],
        "vowels": lambda word: "".join(letter for letter in word if letter in VOWELS),
        "count": lambda word: str(len(word)),
        "reverse": lambda word: word[::-1],
        "sort": lambda word: "".join(sorted(word)),
    }
)

TOY_KINDS: Final[tuple[str, ...]] = tuple(_ANSWERS)
"""Every kind of task, in the order of the model card's table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToyTask:
    """One task and its only right output.

    Attributes:
        id: ``<kind>-<word>``, unique among all tasks.
        kind: One of ``TOY_KINDS``.
        instruction: What a user would type: ``<kind>: <word>``.
        output: The bare answer, never empty, without surrounding blanks.
    """

    id: str
    kind: str
    instruction: str
    output: str


def toy_answer(kind: str, word: str) -> str:
    """Give the right output of a task, in bare form.

    Args:
        kind: One of ``TOY_KINDS``.
        word: A lower-case word of at least one letter.

    Raises:
        ValueError: The kind is unknown.
    """
    if kind not in _ANSWERS:
        raise ValueError(f"unknown kind of toy task {kind!r}; known: {', '.join(TOY_KINDS)}")
    return _ANSWERS[kind](word)


def word_pool(word: str) -> WordPool:
    """Give the pool a word belongs to; it depends on nothing but the word."""
    first_digest_byte = hashlib.sha256(word.encode("utf-8")).digest()[0]
    return next(pool for bound, pool in _POOL_BOUNDS if first_digest_byte < bound)


def toy_tasks(*, kinds: Sequence[str], count: int, seed: int, pool: WordPool = "train") -> list[ToyTask]:
    """Draw distinct tasks, the kinds taken in turn.

    Args:
        kinds: Kinds from ``TOY_KINDS``. Task number ``i`` has the kind
            ``kinds[i % len(kinds)]``, so a kind listed twice comes twice as often.
        count: How many tasks to give; 0 gives an empty list.
        seed: Seed of the draw. A longer draw from the same seed begins with the
            tasks of the shorter one.
        pool: Pool that the words are taken from.

    Returns:
        ``count`` tasks, no two of which have the same instruction.

    Raises:
        ValueError: ``kinds`` is empty or names an unknown kind, ``count`` is
            negative, the pool is unknown, or it has too few words for ``count``
            distinct tasks.
    """
    if count < 0:
        raise ValueError(f"count must be 0 or more, got {count}")
    if not kinds:
        raise ValueError("kinds must name at least one kind of toy task")
    if pool not in WORD_POOLS:
        raise ValueError(f"unknown word pool {pool!r}; known: {', '.join(WORD_POOLS)}")
    words = _pool_words(random.Random(seed), pool)
    tasks: dict[str, ToyTask] = {}
    for position in range(count):
        task = _new_task(kinds[position % len(kinds)], words, tasks)
        tasks[task.id] = task
    return list(tasks.values())


def _new_task(kind: str, words: Iterator[str], seen: Mapping[str, ToyTask]) -> ToyTask:
    """Draw words until one gives a task that is not among those seen."""
    for _ in range(_MOST_DRAWS_PER_TASK):
        word = next(words)
        identifier = f"{kind}-{word}"
        if identifier not in seen:
            return ToyTask(
                id=identifier,
                kind=kind,
                instruction=f"{kind}: {word}",
                output=toy_answer(kind, word),
            )
    raise ValueError(f"no new word found for {kind!r} after {len(seen)} tasks; ask for fewer tasks")


def _pool_words(random_source: random.Random, pool: WordPool) -> Iterator[str]:
    """Give an endless stream of words of one pool, repeats included."""
    while True:
        word = _draw_word(random_source)
        if word_pool(word) == pool:
            yield word


def _draw_word(random_source: random.Random) -> str:
    """Draw one word of 3 to 6 letters that holds at least one vowel.

    Vowels and consonants mostly alternate, which makes words that can be spoken;
    about one letter in five breaks the rule, so that no answer can be guessed from
    the alternation alone.
    """
    while True:
        letter_count = random_source.randint(SHORTEST_WORD_LETTERS, LONGEST_WORD_LETTERS)
        vowel_next = random_source.randrange(2) == 0
        letters: list[str] = []
        for _ in range(letter_count):
            letters.append(random_source.choice(VOWELS if vowel_next else CONSONANTS))
            if random_source.randrange(5) != 0:
                vowel_next = not vowel_next
        # Without a vowel the answer to the kind "vowels" would be empty.
        if any(letter in VOWELS for letter in letters):
            return "".join(letters)
