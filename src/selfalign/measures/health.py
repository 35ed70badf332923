"""Signs that a model collapses: short or endless answers, the same words again, the same answer again.

Pure and deterministic. A word is what stands between blanks; for near-duplicates case and punctuation do not count.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

SHINGLE_WORDS = 3
LETTERS_OR_DIGITS = re.compile(r"\w+")

Shingle = tuple[str, ...]


def answer_words(answer: str) -> int:
    """The length of an answer in words."""
    return len(answer.split())


def ngrams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Every run of n words, in order."""
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def distinct_n(texts: Iterable[str], n: int) -> float | None:
    """Different n-grams over all n-grams of all texts together, in (0, 1]; None when no text has n words.

    Falls as the corpus grows: compare corpora of one size only.
    """
    seen: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        runs = ngrams(text.split(), n)
        total += len(runs)
        seen.update(runs)
    return len(seen) / total if total else None


def distinct_parts(texts: Sequence[str], n: int) -> list[float | None]:
    """Each text's value in `distinct_n`, such that their mean is exactly that; all None when it is None.

    An n-gram that stands in the corpus k times counts 1/k where it stands; so p of a text's m n-grams are its own, and
    the measure is the ratio R = sum(p) / sum(m). The value is R + (p - R m) / mean(m), the ratio's linearisation:
    resampling texts then varies what they repeat, not how long they are.
    """
    runs = [ngrams(text.split(), n) for text in texts]
    counts = Counter(run for one in runs for run in one)
    total = counts.total()
    if not total:
        return [None] * len(texts)
    ratio, mean_length = len(counts) / total, total / len(texts)
    own = [math.fsum(1 / counts[run] for run in one) for one in runs]
    return [ratio + (part - ratio * len(one)) / mean_length for part, one in zip(own, runs, strict=True)]


def repetition(answer: str, n: int = 2) -> float:
    """The share of an answer's n-grams that stood in it before, in [0, 1); 0 when it has fewer than n words."""
    runs = ngrams(answer.split(), n)
    return 1.0 - len(set(runs)) / len(runs) if runs else 0.0


# ------------------------------------------------------------------------------------------ near-duplicates


def near_duplicates(texts: Sequence[str], threshold: float) -> list[bool]:
    """For each text, whether an earlier one shares at least `threshold` of its word 3-grams (Jaccard). Exact.

    A text of fewer than three words is one shingle: it duplicates only a text of the same words. Two texts without
    any word duplicate each other. Sets that overlap enough must share one of their few rarest shingles (the prefix
    filter of Bayardo et al. 2007, All-Pairs), so an index of those finds every candidate.

    Raises:
        ValueError: the threshold is not in (0, 1].
    """
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"a near-duplicate threshold must be in (0, 1], not {threshold}")
    numbers: dict[Shingle, int] = {}
    # Whole numbers for shingles: tuples would be hashed anew in every comparison.
    sets = [frozenset(numbers.setdefault(run, len(numbers)) for run in shingles(text)) for text in texts]
    frequency = Counter(shingle for item in sets for shingle in item)
    index: dict[int, list[frozenset[int]]] = {}
    known: set[frozenset[int]] = set()
    verdicts = []
    for item in sets:
        # Equal sets are indexed once: a corpus of one answer over and over stays fast.
        if item in known:
            verdicts.append(True)
            continue
        rarest = sorted(item, key=lambda shingle: (frequency[shingle], shingle))
        prefix = rarest[: len(item) - math.ceil(threshold * len(item) - 1e-9) + 1]
        verdicts.append(any_overlaps(item, prefix, index=index, threshold=threshold))
        known.add(item)
        for shingle in prefix:
            index.setdefault(shingle, []).append(item)
    return verdicts


def shingles(text: str) -> frozenset[Shingle]:
    """The word 3-grams of a text, or all its words as one when it has fewer than three."""
    words = LETTERS_OR_DIGITS.findall(text.casefold())
    return frozenset(ngrams(words, SHINGLE_WORDS)) or frozenset([tuple(words)])


def any_overlaps(
    item: frozenset[int],
    prefix: Sequence[int],
    *,
    index: dict[int, list[frozenset[int]]],
    threshold: float,
) -> bool:
    """Whether an indexed set that shares a shingle of the prefix has a Jaccard overlap of at least `threshold`."""
    looked_at: set[int] = set()
    for shingle in prefix:
        for other in index.get(shingle, ()):
            if id(other) in looked_at:
                continue
            looked_at.add(id(other))
            if min(len(item), len(other)) < threshold * max(len(item), len(other)) - 1e-9:
                continue
            shared = len(item & other)
            if shared >= threshold * (len(item) + len(other) - shared) - 1e-9:
                return True
    return False
