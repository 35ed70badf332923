"""Whether an instruction is new: no instruction accepted before has a ROUGE-L F1 with it above a threshold.

The rule of Self-Instruct (Wang et al. 2023, arXiv 2212.10560) and of I-SHEEP (Liang et al. 2024, arXiv 2408.08072),
both with 0.7. Exact: the index decides what comparing with every instruction decides. Pure and deterministic; nothing
is ever forgotten, so what the first round accepted counts in the last.

Words as in `selfalign.corpus.words`: of ASCII text the lower-case runs of a-z and 0-9, as the published rule has it;
in other scripts, where that rule finds no word, runs of letters and digits, or each character where a script puts no
blanks between words. A text without any word counts as one word as a whole: it repeats only the same signs.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from selfalign.corpus.words import words

# Stands behind the last word of a row; words are numbered from 0.
END = -1
# So many words of known rows are compared at once: their bit vectors stay small, whatever the number of candidates.
WORDS_AT_ONCE = 1 << 15


@dataclass(frozen=True, slots=True)
class Twin:
    """The nearest instruction that made a text not new, and the ROUGE-L F1 of the two, in (threshold, 1]."""

    row_id: str
    overlap: float


class Novelty:
    """Every instruction accepted so far: `twin` asks whether a text is new beside them, `keep` adds one.

    How many words a text shares at least with an instruction above the threshold follows from its own length. So its
    commonest words, fewer than that, need not be looked up: the others lead to every such instruction and say what its
    overlap cannot exceed. The few for which that is enough are compared word by word, likeliest first.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        """An index of nothing.

        Args:
            threshold: the highest overlap with a known instruction at which a text is still new, in (0, 1).

        Raises:
            ValueError: the threshold is not in (0, 1); no overlap is above 1.
        """
        if not 0.0 < threshold < 1.0:
            raise ValueError(f"a novelty threshold must be in (0, 1), not {threshold}")
        self.threshold = threshold
        self.numbers: dict[str, int] = {}
        self.ids: list[str] = []
        self.rows: list[bytes] = []
        self.lengths = array("q")
        # By a word and how often it stood before in a row: so a row is met once for every word a text shares with it.
        self.holders: dict[tuple[str, int], array[int]] = {}

    def __len__(self) -> int:
        """How many instructions were kept."""
        return len(self.ids)

    def keep(self, row_id: str, text: str) -> None:
        """Remember an instruction under its id, whether or not it is new."""
        said = compared(text)
        for occurrence in occurrences(said):
            self.holders.setdefault(occurrence, array("q")).append(len(self.ids))
        numbers = [self.numbers.setdefault(word, len(self.numbers)) for word in said]
        self.ids.append(row_id)
        self.rows.append(array("i", [*numbers, END]).tobytes())
        self.lengths.append(len(said))

    def twin(self, text: str) -> Twin | None:
        """The known instruction of the highest overlap, the earliest of equals; None if none exceeds the threshold."""
        import numpy

        said = compared(text)
        rows, lengths, limits = self.candidates(said)
        best, nearest = self.threshold, -1
        while True:
            # A row of the overlap found is still of interest if it was kept earlier.
            hopeful = (limits > best) | ((limits == best) & (rows < nearest))
            rows, lengths, limits = rows[hopeful], lengths[hopeful], limits[hopeful]
            if not len(rows):
                return Twin(self.ids[nearest], best) if nearest >= 0 else None
            some = slice(max(1, int(numpy.searchsorted(lengths.cumsum(), WORDS_AT_ONCE))))
            shared = self.longest_shared(said, rows[some].tolist())
            overlaps = f1(shared, len(said), lengths[some])
            highest = float(overlaps.max())
            earliest = int(rows[some][overlaps == highest].min())
            if highest > best or (highest == best and earliest < nearest):
                best, nearest = highest, earliest
            rows, lengths, limits = rows[some.stop :], lengths[some.stop :], limits[some.stop :]

    def candidates(self, said: Sequence[str]) -> tuple[Any, Any, Any]:
        """Rows that may exceed the threshold, likeliest first; their lengths, and what their overlap cannot exceed."""
        import numpy

        fewest = fewest_shared(len(said), self.threshold)
        lists = sorted((self.holders[one] for one in occurrences(said) if one in self.holders), key=len)
        # Up to fewest - 1 of the longest may be skipped. Half as many spare most of the reading, too, and let far
        # fewer rows through.
        skipped = (fewest - 1) // 2
        shared = numpy.bincount(numpy.frombuffer(b"".join(lists[: max(0, len(lists) - skipped)]), numpy.int64))
        rows = numpy.flatnonzero(shared >= fewest - skipped)
        lengths = numpy.frombuffer(self.lengths, numpy.int64)[rows]
        limits = f1(numpy.minimum(shared[rows] + skipped, numpy.minimum(lengths, len(said))), len(said), lengths)
        possible = numpy.flatnonzero(limits > self.threshold)
        order = possible[numpy.argsort(-limits[possible], kind="stable")]
        return rows[order], lengths[order], limits[order]

    def longest_shared(self, said: Sequence[str], rows: Sequence[int]) -> Any:
        """For each row the length of its longest common subsequence with a text, exactly.

        The bit-parallel recurrence of Hyyrö (2004), all rows side by side in one whole number: a bit for every word,
        and one behind each row that takes up the carry.
        """
        import numpy

        stored = numpy.frombuffer(b"".join([self.rows[row] for row in rows]), numpy.intc)
        numbers = [self.numbers[word] for word in said if word in self.numbers]
        places = {number: whole(stored == number) for number in set(numbers)}
        inside = unmet = whole(stored != END)
        for number in numbers:
            if now := unmet & places[number]:
                unmet = ((unmet + now) | (unmet - now)) & inside
        met = numpy.frombuffer((inside ^ unmet).to_bytes(len(stored) // 8 + 1, "little"), numpy.uint8)
        ends = numpy.flatnonzero(stored == END)
        return numpy.diff(numpy.unpackbits(met, bitorder="little").cumsum()[ends], prepend=0)


def rouge_l(one: str, other: str) -> float:
    """The ROUGE-L F1 of two texts, in [0, 1]: their longest common subsequence over their mean length, in words."""
    return words_overlap(compared(one), compared(other))


def words_overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """The ROUGE-L F1 of two sequences of words, not both empty, by the plain table that the index is tested against."""
    above = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for place, counterpart in enumerate(other):
            row.append(above[place] + 1 if word == counterpart else max(above[place + 1], row[place]))
        above = row
    return float(f1(above[-1], len(one), len(other)))


def f1(shared: Any, length: Any, other_length: Any) -> Any:
    """The F1 of as many shared words, for whole numbers or arrays of them.

    One correctly rounded division: what is exactly 7/10 equals the threshold 0.7. (From rounded precision and recall,
    as the rouge_score package takes it, it often comes out a last digit above.)
    """
    return 2 * shared / (length + other_length)


def fewest_shared(length: int, threshold: float) -> int:
    """How many words a text of this length shares at least with any text above the threshold."""
    # With so many shared words the highest overlap is that with a text of no other words.
    possible = range(1, length + 1)
    return possible[bisect_right(possible, threshold, key=lambda shared: f1(shared, length, shared))]


def tokens(text: str) -> list[str]:
    """The words of a text, in order, as they are compared."""
    return words(text)


def compared(text: str) -> list[str]:
    """The words of a text; of a text without any, the text itself, so that the rule needs no exception."""
    return tokens(text) or [text.strip()]


def occurrences(said: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Each word with how often it stood before."""
    before: dict[str, int] = {}
    for word in said:
        before[word] = before.get(word, -1) + 1
        yield word, before[word]


def whole(bits_N: Any) -> int:
    """Bits as one whole number, the first the lowest."""
    import numpy

    return int.from_bytes(numpy.packbits(bits_N, bitorder="little").tobytes(), "little")
