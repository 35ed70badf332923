"""Whether the files a method learns from hold what the recipe measures with; asked before anything is computed.

A training row holds an item where it shares a run of 13 words with its prompt or answer or holds its whole prompt of 6
words or more (the rule for documents, `corpus.contamination`), or where one of its texts is the prompt. Runs that
stand in more than 10 training rows or in more than 10 items are templates and set phrases and count for nothing
(GPT-3, App. C); a whole prompt always counts, also one that stands in many rows: rows that leak are often repeated.
Rows are read as they stand in their files, so that no field is overlooked. Documents are not looked at: stages clean
them. Knows no method: whatever a method is given as data, except what it is to be kept clean of, it may learn from.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from pydantic import BaseModel

from selfalign.corpus.contamination import GRAM_WORDS, SHORTEST_PROMPT_WORDS, quoted
from selfalign.corpus.words import count_of, excerpt, stretches, words
from selfalign.data import sources
from selfalign.data.questions import question_of
from selfalign.data.turns import Misfit
from selfalign.errors import RecipeError, StoreError
from selfalign.keys import canonical
from selfalign.stages.corpus import said_in
from selfalign.store import write_text
from selfalign.suites import SUITES
from selfalign.types import Source, Text

VERSION = 2
SECONDS_WORTH_REMEMBERING = 1
MOST_SHOWN = 5
# A prompt as short as this is found where a text is equal to it; in longer texts from 6 words on.
SHORTEST_EQUAL_WORDS = 3
# What stands in more rows than this is nobody's own (GPT-3's bound).
MOST_ROWS_OF_A_RUN = 10
# Fields of a method that name what its data is kept clean of.
NOT_LEARNED = ("clean_of",)


class Named(NamedTuple):
    """A data file and the setting that names it."""

    setting: str
    source: Source


class Run(NamedTuple):
    """A run of words that a training row shares with an item: where it stands in the row's text."""

    digest: int
    item: int
    start: int


class Hit(NamedTuple):
    """A training row that holds something of an item: its whole `prompt`, else runs of words in the row's text.

    `whole`: the runs belong to a whole prompt, so they count however often they stand elsewhere.
    """

    row: str
    text: str
    prompt: int | None
    runs: tuple[Run, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """How many rows of a training file hold an item, of how many, and what some of them hold, shown."""

    setting: str
    ref: str
    rows: int
    of: int
    shown: tuple[str, ...]

    def says(self) -> str:
        """What was found in this file."""
        lines = "".join(f"\n    {one}" for one in self.shown)
        more = f"\n    … and {self.rows - len(self.shown)} more" if self.rows > len(self.shown) else ""
        return f"\n  {self.setting}: {self.rows} of {self.of} rows of {self.ref}{lines}{more}"


def refuse_contaminated(recipe: BaseModel, method: type[Any], *, store: Path) -> None:
    """Nothing, where no training file of a checked recipe holds what it measures with; that is remembered.

    Raises:
        RecipeError: one does, and `evaluate.allow_contamination` is not set; shows setting, file, row and text.
    """
    checked: Any = recipe
    if checked.evaluate.allow_contamination:
        return
    hints = get_type_hints(method)
    left_out = {*NOT_LEARNED, *(name for name, hint in hints.items() if Text in parts_of(hint))}
    learned = [one for one in files_in(checked.method, "method") if one.setting.split(".")[1] not in left_out]
    measured = list(files_in(checked.evaluate, "evaluate"))
    known: list[list[Any]] = [[one.setting, canonical(one.source)] for one in (*learned, *measured)]
    digest = hashlib.blake2b(json.dumps([VERSION, known]).encode(), digest_size=16).hexdigest()
    clean = store / "clean" / digest
    if clean.exists():
        return
    began = time.process_time()
    if found := contaminated(learned, measured):
        raise RecipeError(
            "the method learns from what the recipe measures with, so its numbers would mean nothing:"
            + "".join(one.says() for one in found)
            + "\nTake these rows out of the training files, measure with others, or, if it is meant, set "
            "evaluate.allow_contamination: true"
        )
    if time.process_time() - began > SECONDS_WORTH_REMEMBERING and store.is_dir():  # a plan makes no store
        with suppress(OSError, StoreError):  # a note that cannot be kept costs a second look, not a plan
            clean.parent.mkdir(exist_ok=True)
            write_text(clean, "")


def parts_of(annotation: Any) -> Iterator[Any]:
    """Everything a type is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from parts_of(part)


def files_in(settings: Any, path: str) -> Iterator[Named]:
    """Every data file that settings name, however deep, with its path."""
    if isinstance(settings, Source):
        yield Named(path, settings)
    elif isinstance(settings, tuple):
        for place, one in enumerate(settings):
            yield from files_in(one, f"{path}.{place}")
    elif isinstance(settings, BaseModel):
        for name in type(settings).model_fields:
            yield from files_in(getattr(settings, name), f"{path}.{name}")


def contaminated(learned: Iterable[Named], measured: Iterable[Named]) -> list[Found]:
    """What training files hold of the items of others; nothing where they hold none."""
    items = Items()
    for one in measured:
        for row in rows_of(one):
            turns = sum(message.role == "user" for message in row.prompt)
            # "Go on." is nobody's: of a conversation no message by itself is the item.
            texts = [(text, is_prompt and turns == 1) for text, is_prompt in said_in(row)]
            items.add(f"{row.id!r} of {one.setting} ({one.source.ref})", texts)
    return [found for one in learned if (found := items.found_in(one)).rows]


def rows_of(one: Named) -> Iterator[Any]:
    """The rows a recipe measures with, read as its stages will read them."""
    name = next(part for part in reversed(one.setting.split(".")) if not part.isdigit())
    if one.source.suite:
        suite = SUITES[one.source.suite]
        return sources.converted(one.source, suite.item_of, formats=suite.formats)
    if name == "multiple_choice":
        return sources.read_multiple_choice(one.source)
    if name in ("questions", "dev_questions"):
        return sources.converted(one.source, question_of, formats=())
    return sources.read_chats(one.source, answers=False)


@dataclass(slots=True)
class Items:
    """What is measured with, as hashes: the runs of 13 words of each item, and its whole prompts."""

    names: list[str] = field(default_factory=list)
    runs: dict[int, int] = field(default_factory=dict)
    spread: Counter[int] = field(default_factory=Counter)
    wholes: dict[int, int] = field(default_factory=dict)
    begun: dict[int, list[tuple[tuple[str, ...], int]]] = field(default_factory=dict)
    # Longer prompts by their first run: lengths, and for each the hashes of the prompts of that length.
    long: dict[int, dict[int, set[int]]] = field(default_factory=dict)

    def add(self, name: str, texts: Iterable[tuple[str, bool]]) -> None:
        """Know an item: each of its texts, and whether that is a prompt."""
        number = len(self.names)
        self.names.append(name)
        mine: set[int] = set()
        for text, is_prompt in texts:
            said = words(text)
            mine.update(hashes(said, GRAM_WORDS))
            if is_prompt and count_of(said) >= SHORTEST_EQUAL_WORDS:
                self.wholes.setdefault(hash(tuple(said)), number)
                if SHORTEST_PROMPT_WORDS <= count_of(said) < GRAM_WORDS:
                    begins = next(hashes(said, SHORTEST_PROMPT_WORDS))
                    self.begun.setdefault(begins, []).append((tuple(said), number))
                elif count_of(said) >= GRAM_WORDS:
                    by_length = self.long.setdefault(next(hashes(said, GRAM_WORDS)), {})
                    by_length.setdefault(len(said), set()).add(hash(tuple(said)))
        self.spread.update(mine)
        for run in mine:
            self.runs.setdefault(run, number)

    def found_in(self, one: Named) -> Found:
        """What a training file holds of the items."""
        hits: list[Hit] = []
        rows = 0
        frequent: Counter[int] = Counter()
        for place, row in islice(sources.numbered(one.source), one.source.limit):
            rows += 1
            if not isinstance(row, Misfit) and (hit := self.hit(row, place)):
                hits.append(hit)
                frequent.update(run.digest for run in hit.runs)
        own = (hit if hit.whole else
               hit._replace(runs=tuple(run for run in hit.runs if frequent[run.digest] <= MOST_ROWS_OF_A_RUN))
               for hit in hits)  # fmt: skip
        left = [hit for hit in own if hit.runs or hit.prompt is not None]
        return Found(one.setting, one.source.ref, len(left), rows, tuple(map(self.shown, left[:MOST_SHOWN])))

    def shown(self, hit: Hit) -> str:
        """A training row, the item it holds, and the text by which that is seen."""
        if hit.prompt is not None:
            return f"{hit.row} holds the whole prompt of {self.names[hit.prompt]}: “{excerpt(hit.text)}”"
        first = hit.runs[0]
        run = next(islice(stretches(words(hit.text), GRAM_WORDS), first.start, None))
        return (
            f"{hit.row} shares {GRAM_WORDS} words with {self.names[first.item]}: "
            f"{quoted(hit.text, first.start, len(run))}"
        )

    def hit(self, row: Mapping[str, Any], place: int) -> Hit | None:
        """What a training row holds of the items, if anything: a whole prompt if it does, else runs of words."""
        texts = list(texts_in(row))
        named = f"{excerpt(str(row['id']))!r}" if isinstance(row.get("id"), (str, int)) else f"row {place}"
        whole: list[str] = []  # a prompt may be spread over several fields
        for text in texts:
            said = words(text)
            if (number := self.wholes.get(hash(tuple(said)))) is not None:
                return Hit(named, text, number)
            whole += said
        joined = "\n".join(texts)
        if (held := self.prompt_in(whole)) is not None:
            number, start, length = held
            return Hit(named, quoted(joined, start, length).strip("“”"), number)
        if self.runs.keys().isdisjoint(hashes(whole, GRAM_WORDS)):
            return None
        known = [
            Run(run, self.runs[run], start) for start, run in enumerate(hashes(whole, GRAM_WORDS)) if run in self.runs
        ]
        if first := next((run for run in known if self.begins_prompt(whole, run)), None):
            return Hit(named, joined, None, (first,), whole=True)
        runs = {run.digest: run for run in known if self.spread[run.digest] <= MOST_ROWS_OF_A_RUN}
        return Hit(named, joined, None, tuple(runs.values())) if runs else None

    def begins_prompt(self, said: list[str], run: Run) -> bool:
        """Whether a run is the beginning of a whole prompt of 13 words or more that stands among these words."""
        return any(
            hash(tuple(said[run.start : run.start + length])) in wholes
            for length, wholes in self.long.get(run.digest, {}).items()
        )

    def prompt_in(self, said: list[str]) -> tuple[int, int, int] | None:
        """The item whose whole prompt of 6 to 12 words stands among these, where, and how many words it has."""
        if self.begun.keys().isdisjoint(hashes(said, SHORTEST_PROMPT_WORDS)):
            return None
        for start, begins in enumerate(hashes(said, SHORTEST_PROMPT_WORDS)):
            for whole, number in self.begun.get(begins, ()):
                if tuple(said[start : start + len(whole)]) == whole:
                    return number, start, len(whole)
        return None


def hashes(said: list[str], count: int) -> Iterator[int]:
    """A number for each run of so many words, the same for equal runs while this process lives."""
    if all(map(str.isascii, said)):
        return map(hash, zip(*(said[start:] for start in range(count)), strict=False))
    return map(hash, stretches(said, count))


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a row, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from texts_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from texts_in(one)
