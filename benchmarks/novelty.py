"""Microseconds to ask whether an instruction is new, beside comparing it with every instruction accepted before.

    python benchmarks/novelty.py                       # 1,000, 5,000 and 20,000 accepted rows, some six minutes
    python benchmarks/novelty.py --rows 1000 --turns 5

Both other sides compare a question with all accepted rows, as the released codes of Self-Instruct and I-SHEEP do; both
are handed words, while selfalign is handed texts. The plain loop is this package's textbook table of the longest common
subsequence; rouge_score is the package that the released codes call (`pip install rouge_score`; left out where it is
missing). All sides take turns over the same questions, so that they meet the same neighbours.

Instructions are made: one of 200 templates with its gaps filled, 10 to 40 words of a vocabulary in which a word is as
frequent as one over its rank; a third are an earlier instruction, of whose words a tenth to seven tenths were replaced,
left out, moved or joined by another. About a fifth of all have a twin. Accepted rows grow as in a run: each text is
asked about first, and kept if it is new.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from selfalign.measures.novelty import Novelty, tokens, words_overlap

SEED = 0
THRESHOLD = 0.7
VOCABULARY = 20_000
TEMPLATES = 200
# Two fifths of an instruction's words is its template's.
FIXED = 0.4
EDITED = 0.35
EDITED_FROM, EDITED_TO = 0.1, 0.7
SHORTEST, LONGEST = 10, 40
RECENT_ROWS = 5_000
# selfalign answers a turn's questions so often: once would be over before the clock can tell.
OWN_PASSES = 20

Question = tuple[str, list[str]]
Side = Callable[[str, list[str]], bool]


class Instructions(Iterator[str]):
    """An endless stream of instructions, the same every time."""

    def __init__(self) -> None:
        self.dice = random.Random(SEED)
        syllables = ["".join(parts) for parts in itertools.product("bdfgklmnprst", "aeiou")]
        self.vocabulary = [
            "".join(self.dice.choices(syllables, k=self.dice.choice((2, 3, 3, 4)))) for _ in range(VOCABULARY)
        ]
        self.weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(VOCABULARY)))
        self.templates = [self.template() for _ in range(TEMPLATES)]
        self.recent: list[str] = []

    def __next__(self) -> str:
        if self.recent and self.dice.random() < EDITED:
            return self.edited(self.dice.choice(self.recent))
        text = " ".join(word or self.word() for word in self.dice.choice(self.templates)).capitalize() + "."
        self.recent = [*self.recent[1 - RECENT_ROWS :], text]
        return text

    def word(self) -> str:
        """A word, frequent ones often."""
        return self.dice.choices(self.vocabulary, cum_weights=self.weights)[0]

    def template(self) -> list[str]:
        """Words of an instruction, with gaps."""
        length = self.dice.randint(SHORTEST, LONGEST)
        return [self.word() if self.dice.random() < FIXED else "" for _ in range(length)]

    def edited(self, text: str) -> str:
        """A text with some of its words replaced, left out, joined by another or moved."""
        said = text.split()
        for _ in range(round(self.dice.uniform(EDITED_FROM, EDITED_TO) * len(said))):
            place = self.dice.randrange(len(said))
            edit = self.dice.choice(("replace", "replace", "leave out", "put in", "move"))
            if edit == "replace":
                said[place] = self.word()
            elif edit == "put in":
                said.insert(place, self.word())
            elif len(said) > 2:
                taken = said.pop(place)
                if edit == "move":
                    said.insert(self.dice.randrange(len(said)), taken)
        return " ".join(said)


class Grown:
    """An index that grew as in a run, and what the other sides need of it."""

    def __init__(self) -> None:
        self.novelty = Novelty(THRESHOLD)
        self.accepted: list[list[str]] = []
        self.seconds = 0.0
        # Each text asked about, how many rows were accepted then, and whether it was refused.
        self.history: list[tuple[str, int, bool]] = []

    def grow(self, instructions: Iterator[str], rows: int) -> None:
        """Ask about instructions and keep the new ones until so many are accepted."""
        while len(self.novelty) < rows:
            text = next(instructions)
            before = len(self.novelty)
            began = time.perf_counter()
            refused = self.novelty.twin(text) is not None
            if not refused:
                self.novelty.keep(str(before), text)
            self.seconds += time.perf_counter() - began
            self.history.append((text, before, refused))
            if not refused:
                self.accepted.append(tokens(text))

    def own(self, text: str, _said: list[str]) -> bool:
        """selfalign."""
        return self.novelty.twin(text) is not None

    def plain(self, _text: str, said: list[str]) -> bool:
        """The textbook's table for every accepted row."""
        return max(words_overlap(said, row) for row in self.accepted) > THRESHOLD

    def peer(self, _text: str, said: list[str]) -> bool:
        """rouge_score's scorer for every accepted row."""
        score: Any = import_module("rouge_score.rouge_scorer")._score_lcs
        return bool(max(score(said, row).fmeasure for row in self.accepted) > THRESHOLD)

    def sides(self) -> dict[str, Side]:
        """Those that can be asked here."""
        sides: dict[str, Side] = {"selfalign": self.own, "plain loop": self.plain}
        if find_spec("rouge_score"):
            sides["rouge_score"] = self.peer
        return sides


def microseconds(side: Side, questions: list[Question], times: int) -> tuple[float, list[bool]]:
    """What a question takes a side, and its decisions."""
    began = time.perf_counter()
    for _ in range(times):
        decisions = [side(*question) for question in questions]
    return 1e6 * (time.perf_counter() - began) / (times * len(questions)), decisions


def spread(values: list[float]) -> str:
    """Median, and smallest to largest."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def compared(grown: Grown, instructions: Iterator[str], *, comparisons: int, turns: int) -> None:
    """The rows of the table for an index as it stands: all sides in turns over the same new questions."""
    texts = list(itertools.islice(instructions, max(1, comparisons // len(grown.accepted))))
    questions = [(text, tokens(text)) for text in texts]
    sides = grown.sides()
    taken: dict[str, list[float]] = {name: [] for name in sides}
    decisions: dict[str, list[bool]] = {}
    for _ in range(turns):
        for name, side in sides.items():
            took, decisions[name] = microseconds(side, questions, OWN_PASSES if name == "selfalign" else 1)
            taken[name].append(took)
    for name in sides:
        ratios = [other / mine for mine, other in zip(taken["selfalign"], taken[name], strict=True)]
        different = sum(one != other for one, other in zip(decisions["selfalign"], decisions[name], strict=True))
        told = f"{different} of {len(questions)} differ" if different else f"all {len(questions)} the same"
        told = f"{sum(decisions[name])} of {len(questions)} refused" if name == "selfalign" else told
        print(f"| {len(grown.accepted):,} | {name} | {spread(taken[name])} | {spread(ratios)} | {told} |", flush=True)


def checked(grown: Grown, count: int) -> str:
    """Whether the plain loop decides as the index did while it grew, at an even sample of all its decisions."""
    different = 0
    sample = random.Random(SEED).sample(grown.history, min(count, len(grown.history)))
    for text, before, refused in sample:
        said = tokens(text)
        highest = max((words_overlap(said, row) for row in grown.accepted[:before]), default=0.0)
        different += (highest > THRESHOLD) != refused
    return f"{different} of {len(sample)} decisions drawn from the whole growth differ from the plain loop's."


def main() -> None:
    """Grow one index, print the table at each size, then check the decisions it made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000, 5_000, 20_000])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--comparisons", type=int, default=120_000, help="of a turn of the plain loop, at each size")
    parser.add_argument("--checked", type=int, default=100, help="decisions of the growth to check")
    options = parser.parse_args()
    print(f"load average before: {os.getloadavg()}; threshold {THRESHOLD}, {options.turns} turns\n")
    print("| accepted rows | side | µs a question, median (min-max) | times selfalign's, per turn | decisions |")
    print("| --- | --- | --- | --- | --- |")
    instructions, grown = Instructions(), Grown()
    for rows in sorted(options.rows):
        grown.grow(instructions, rows)
        compared(grown, instructions, comparisons=options.comparisons, turns=options.turns)
    asked, refused = len(grown.history), sum(refused for _, _, refused in grown.history)
    words = [len(row) for row in grown.accepted]
    print(
        f"\nGrowth to {len(grown.novelty):,} rows: {asked:,} questions, {100 * refused / asked:.0f} % refused, in "
        f"{grown.seconds:.1f} s; accepted rows have {statistics.mean(words):.0f} words ({min(words)}-{max(words)})."
    )
    print(checked(grown, options.checked))
    print(f"\nload average after: {os.getloadavg()}")


if __name__ == "__main__":
    main()
