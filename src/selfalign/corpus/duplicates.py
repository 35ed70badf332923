"""Rows that repeat an earlier row, exactly or nearly: an index that grows as rows are kept.

Near-duplicates share at least `overlap` of their word 5-grams (Jaccard). Candidates come from MinHash signatures cut
into bands (Broder 1997; Leskovec et al., ch. 3; 5-grams and 0.8 as in Lee et al. 2022 and RefinedWeb) and every one is
checked by its true overlap, so nothing is refused by a guess; what is missed is under one in a million at the overlap
itself. Whole-number arithmetic only: the same rows on every machine. About 3 kB of memory a kept row.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from selfalign.corpus.words import words

SIGNATURE_NUMBERS = 128
MOST_MISSED = 1e-6
# A signature estimates the overlap within 0.044 (one standard deviation at most): six of them are never exceeded.
ESTIMATE_SLACK = 0.27
MULTIPLIER = 0x9E3779B97F4A7C15
WORDS_REMEMBERED = 1_000_000
RECENT_ROWS = 4_096
SHINGLES_AT_ONCE = 8_192


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Which rows count as repeated: those that share `overlap` of their runs of `shingle_words` words with one kept.

    `overlap` 1 removes equal rows only. `seed`: of the hash functions; it changes which pair in a million is missed.
    """

    overlap: float = 0.8
    shingle_words: int = 5
    seed: int = 0


class Repeated(NamedTuple):
    """The kept row that a row repeats, and how much of it."""

    row_id: str
    overlap: float
    exactly: bool


class Index:
    """Everything kept so far; `repeated` asks it about a text, `keep` adds one."""

    def __init__(self, duplicates: Duplicates) -> None:
        import numpy

        self.settings = duplicates
        self.ids: list[str] = []
        self.exact: dict[bytes, int] = {}
        self.shingles: list[Any] = []
        self.rows_of_band = rows_of_band(duplicates.overlap)
        self.bands = SIGNATURE_NUMBERS // self.rows_of_band
        self.signatures_NK = numpy.empty((RECENT_ROWS, SIGNATURE_NUMBERS), numpy.uint32)
        self.sorted_keys = numpy.empty(0, numpy.uint64)
        self.sorted_rows = numpy.empty(0, numpy.uint32)
        self.recent: dict[int, list[int]] = {}
        self.recent_rows = 0
        self.word_numbers = WordNumbers()
        self.factors_K = constants(duplicates.seed, "factor") | numpy.uint64(1)
        self.terms_K = constants(duplicates.seed, "term")
        self.band_marks = constants(duplicates.seed, "band")[: self.bands]
        self.last: tuple[str, Looked] | None = None

    def repeated(self, text: str) -> Repeated | None:
        """The earliest kept row that a text repeats; None when it is new."""
        looked = self.look(text)
        same = self.exact.get(looked.digest)
        if same is not None:
            return Repeated(self.ids[same], 1.0, True)
        if looked.shingles is None or self.settings.overlap >= 1.0:
            return None
        for row in self.candidates(looked):
            overlap = jaccard(looked.shingles, self.shingles[row])
            if overlap >= self.settings.overlap - 1e-9:
                return Repeated(self.ids[row], overlap, False)
        return None

    def keep(self, row_id: str, text: str) -> None:
        """Remember a text under its id."""
        import numpy

        looked, row = self.look(text), len(self.ids)
        self.ids.append(row_id)
        self.exact.setdefault(looked.digest, row)
        self.shingles.append(looked.shingles)
        if looked.shingles is None or self.settings.overlap >= 1.0:
            return
        if row >= len(self.signatures_NK):
            more = max(len(self.signatures_NK), row + 1 - len(self.signatures_NK))
            self.signatures_NK = numpy.concatenate(
                [self.signatures_NK, numpy.empty_like(self.signatures_NK[:1].repeat(more, 0))]
            )
        self.signatures_NK[row] = looked.signature_K
        for key in looked.keys.tolist():
            self.recent.setdefault(key, []).append(row)
        self.recent_rows += 1
        if self.recent_rows == RECENT_ROWS:
            self.settle()

    def look(self, text: str) -> Looked:
        """What is compared of a text; the last one is remembered, since it is asked about and then kept."""
        if self.last is not None and self.last[0] is text:
            return self.last[1]
        said = words(text)
        # A text without a word is compared as it is.
        digest = hashlib.blake2b((" ".join(said) or text.strip()).encode("utf-8", "replace"), digest_size=16).digest()
        looked = Looked(digest, None, None, None)
        if said and self.settings.overlap < 1.0:
            shingles = self.shingles_of(said)
            signature_K = self.signature(shingles)
            looked = Looked(digest, shingles, signature_K, self.band_keys(signature_K))
        self.last = (text, looked)
        return looked

    def candidates(self, looked: Looked) -> list[int]:
        """Kept rows that share a band with a text and are likely near, earliest first."""
        import numpy

        found = [row for key in looked.keys.tolist() for row in self.recent.get(key, ())]
        if len(self.sorted_keys):
            starts = numpy.searchsorted(self.sorted_keys, looked.keys, "left")
            ends = numpy.searchsorted(self.sorted_keys, looked.keys, "right")
            for start, end in zip(starts[starts < ends].tolist(), ends[starts < ends].tolist(), strict=True):
                found += self.sorted_rows[start:end].tolist()
        if not found:
            return []
        rows_M = numpy.unique(numpy.array(found, numpy.int64))
        estimates_M = (self.signatures_NK[rows_M] == looked.signature_K).mean(1)
        return [int(row) for row in rows_M[estimates_M >= self.settings.overlap - ESTIMATE_SLACK]]

    def settle(self) -> None:
        """Move recent rows to the sorted arrays, which hold them in a tenth of the memory."""
        import numpy

        counts = [len(rows) for rows in self.recent.values()]
        keys = numpy.repeat(numpy.fromiter(self.recent, numpy.uint64, len(self.recent)), counts)
        rows = numpy.fromiter((row for some in self.recent.values() for row in some), numpy.uint32, len(keys))
        keys, rows = numpy.concatenate([self.sorted_keys, keys]), numpy.concatenate([self.sorted_rows, rows])
        order = numpy.argsort(keys, kind="stable")
        self.sorted_keys, self.sorted_rows = keys[order], rows[order]
        self.recent, self.recent_rows = {}, 0

    # ----------------------------------------------------------------------------------- hashing

    def shingles_of(self, said: list[str]) -> Any:
        """The runs of words of a text as different 64-bit numbers, sorted; all words as one when there are fewer."""
        import numpy

        numbers = numpy.fromiter(map(self.word_numbers.__getitem__, said), numpy.uint64, len(said))
        length = min(self.settings.shingle_words, len(said))
        runs = numpy.zeros(len(said) - length + 1, numpy.uint64)
        for place in range(length):
            runs = runs * numpy.uint64(MULTIPLIER) + numbers[place : place + len(runs)]
        return numpy.unique(mixed(runs))

    def signature(self, shingles: Any) -> Any:
        """The least of the shingles under each hash function, uint32 (K)."""
        import numpy

        least = [
            (
                (shingles[start : start + SHINGLES_AT_ONCE, None] * self.factors_K + self.terms_K) >> numpy.uint64(32)
            ).min(0)
            for start in range(0, len(shingles), SHINGLES_AT_ONCE)
        ]
        return numpy.minimum.reduce(least).astype(numpy.uint32)

    def band_keys(self, signature_K: Any) -> Any:
        """One 64-bit number for each band of a signature."""
        import numpy

        parts = signature_K[: self.bands * self.rows_of_band].reshape(self.bands, -1).astype(numpy.uint64)
        keys = self.band_marks.copy()
        for place in range(self.rows_of_band):
            keys = mixed(keys * numpy.uint64(MULTIPLIER) + parts[:, place])
        return keys


class WordNumbers(dict[str, int]):
    """A 64-bit number for each word, remembered while there is room."""

    def __missing__(self, word: str) -> int:
        if len(self) >= WORDS_REMEMBERED:
            self.clear()
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = self[word] = int.from_bytes(digest, "little")
        return number


class Looked(NamedTuple):
    """What is compared of a text."""

    digest: bytes
    shingles: Any
    signature_K: Any
    keys: Any


def rows_of_band(overlap: float) -> int:
    """The longest band with which fewer than one pair in a million at this overlap is missed."""
    fitting = [rows for rows in range(1, 9) if (1 - overlap**rows) ** (SIGNATURE_NUMBERS // rows) <= MOST_MISSED]
    return max(fitting, default=1)


def constants(seed: int, use: str) -> Any:
    """64-bit constants of the hash functions, uint64 (K), the same everywhere."""
    import numpy

    digests = [
        hashlib.blake2b(f"{seed}:{use}:{place}".encode(), digest_size=8).digest() for place in range(SIGNATURE_NUMBERS)
    ]
    return numpy.array([int.from_bytes(digest, "little") for digest in digests], numpy.uint64)


def mixed(numbers: Any) -> Any:
    """Numbers with all their bits stirred (the finaliser of SplitMix64; Steele et al. 2014)."""
    import numpy

    numbers = (numbers ^ (numbers >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> numpy.uint64(31))


def jaccard(one: Any, other: Any) -> float:
    """How much of their shingles two rows share, both sorted and without repetition."""
    import numpy

    both = numpy.concatenate([one, other])
    both.sort()
    shared = int(numpy.count_nonzero(both[1:] == both[:-1]))
    return shared / (len(both) - shared)
