"""In what languages texts are: k-center picks outliers by design, and those are often of another language, or code.

A naive Bayes classifier over byte sequences (py3langid, after Lui & Baldwin 2012) with the languages that have a
two-letter code. Deterministic; nothing is fetched. A guess, not a verdict: short commands and code often come out
undetermined, closely related languages for one another (of a few words, Russian for Bulgarian).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

UNDETERMINED = "undetermined"
# A single ideograph can be a word, a single Latin letter cannot: from two letters on the probability decides.
LEAST_LETTERS = 2
# The largest class of "reverse: stone" has 0.04, of "The answer is 42." 0.36, of a sentence mostly above 0.9.
LEAST_PROBABILITY = 1 / 3
# What comes later in a text rarely changes its language, and a text of any length is read in a millisecond.
MOST_CHARACTERS = 2_000
# The classifier's own class for what is in no language.
NO_LANGUAGE = "zxx"


def language_of(text: str) -> str:
    """The language of a text as ISO 639-1 code, or "undetermined".

    The first 2,000 characters count. Undetermined: fewer than two of them are letters, the likeliest language has a
    probability below 1/3 (softmax over 114 languages, tempered by the root of the length), or it looks like none.
    """
    text = text[:MOST_CHARACTERS]
    if sum(map(str.isalpha, text)) < LEAST_LETTERS:
        return UNDETERMINED
    # Half of a surrogate pair is no character of any language, and no UTF-8 either.
    name, probability = classifier().classify(text.encode("utf-8", "ignore").decode("utf-8"))
    if probability < LEAST_PROBABILITY or name == NO_LANGUAGE:
        return UNDETERMINED
    return str(name)


def language_mix(texts: Iterable[str]) -> dict[str, float]:
    """The share of texts in each language met, by `language_of`, largest first, then by name; empty of no texts."""
    counts = Counter(map(language_of, texts))
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return {name: number / counts.total() for name, number in ordered}


@cache
def classifier() -> Any:
    """The classifier, read once (half a second, through an unnamed temporary file) when the first text is looked at."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found.set_languages([name for name in found.labels if len(name) == 2 or name == NO_LANGUAGE])
    return found
