"""Texts that hold what a model is tuned or evaluated on.

A text is refused when it shares a run of 13 words with a known prompt or answer (the rule of GPT-3, Brown et al. 2020,
App. C), or holds the whole of a shorter prompt of at least 6 words. Shorter prompts ("Write a poem.") stand in innocent
texts, and so do short answers. Four letters of Thai or another script without blanks count as a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from selfalign.corpus.words import count_of, excerpt, places, stretches, words

GRAM_WORDS = 13
SHORTEST_PROMPT_WORDS = 6


@dataclass(slots=True)
class Known:
    """The prompts and answers that texts must not hold."""

    grams: dict[tuple[str, ...], str] = field(default_factory=dict)
    prompts: dict[tuple[str, ...], list[tuple[tuple[str, ...], str]]] = field(default_factory=dict)

    def add(self, row_id: str, text: str, *, prompt: bool) -> None:
        """Know a prompt or an answer of a row."""
        said = words(text)
        for gram in stretches(said, GRAM_WORDS):
            self.grams.setdefault(gram, row_id)
        if prompt and SHORTEST_PROMPT_WORDS <= count_of(said) < GRAM_WORDS:
            beginning = next(stretches(said, SHORTEST_PROMPT_WORDS))
            self.prompts.setdefault(beginning, []).append((tuple(said), row_id))

    def met_in(self, text: str) -> str | None:
        """What of the known stands in a text, in the text's own words and with the row it is from; None when nothing.

        The first place counts; runs of 13 words come before whole prompts.
        """
        said = words(text)
        for start, gram in enumerate(stretches(said, GRAM_WORDS)):
            if gram in self.grams:
                met = f"{self.grams[gram]!r}, {quoted(text, start, len(gram))}"
                return f"shares {GRAM_WORDS} words with a known row: {met}"
        for start, beginning in enumerate(stretches(said, SHORTEST_PROMPT_WORDS)):
            for whole, row_id in self.prompts.get(beginning, ()):
                if tuple(said[start : start + len(whole)]) == whole:
                    return f"holds a known prompt: {row_id!r}, {quoted(text, start, len(whole))}"
        return None


def quoted(text: str, start: int, count: int) -> str:
    """So many words of a text, as they stand in it."""
    spans = places(text)
    return f"“{excerpt(text[spans[start][0] : spans[start + count - 1][1]])}”"
