"""Raw text in, clean segments out: the corpus side of instruction backtranslation, as stages any method can use.

Humpback's segmentation and filters (v3, App. E), and what it leaves to the reader: removal of repeated segments across
documents and of what the seeds and the evaluation hold. Every row refused is kept with its reason.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from selfalign.corpus.contamination import Known
from selfalign.corpus.duplicates import Duplicates, Index
from selfalign.corpus.nesting import TooDeep
from selfalign.corpus.reasons import in_lines, reasons_in_words
from selfalign.corpus.segmentation import Segmentation, segments
from selfalign.corpus.words import excerpt
from selfalign.data.documents import expected, read_documents
from selfalign.errors import RecipeError, StageError
from selfalign.keys import seed_of
from selfalign.stage import Size, stage
from selfalign.types import Source, Table, Text
from selfalign.work import advance, drop, dropped_so_far, how_made, in_shards, note, rows

CHARACTERS_PER_TOKEN = 4
DOCUMENTS_AT_ONCE = 64
SEGMENTS_AT_ONCE = 1_000
# Headers have six levels: where nested segments are kept, a paragraph is in so many at most.
HEADER_LEVELS = 6
# The arguments under which these stages are given the rows they choose from.
MADE_OF = ("documents", "texts")

SizeOf = Callable[[Any], Size]


# ----------------------------------------------------------------------------------------- documents


def documents_size(size: SizeOf, *, source: Source) -> Size:
    """Documents counted, tokens guessed at four characters each."""
    count, characters = expected(source)
    return Size(rows=count, answer_tokens=characters // CHARACTERS_PER_TOKEN)


@stage(version=1, needs="driver", expect=documents_size)
def load_documents(source: Source) -> Iterator[Text]:
    """A source's documents, in order; one that cannot be read is dropped with the reason.

    Raises:
        RecipeError: the source changed after it was pinned, or is broken as a whole.
        StageError: none of its documents can be used.
    """
    yield from some_of(read_documents(source, refuse=refuse), "document")


def segments_size(size: SizeOf, *, documents: Table[Text], segmentation: Segmentation) -> Size:
    """As many segments as fit, so that no later count is understated; how many pass the filters nobody knows."""
    given = size(documents)
    tokens = given.answer_tokens * (HEADER_LEVELS if segmentation.nested == "keep" else 1)
    return Size(rows=tokens * CHARACTERS_PER_TOKEN // segmentation.min_characters + 1, answer_tokens=tokens)


@stage(version=2, needs="driver", expect=segments_size)
def segment(documents: Table[Text], *, segmentation: Segmentation) -> Iterator[Text]:
    """The segments of documents that pass Humpback's filters (A1; v3, App. E), in reading order.

    Raises:
        StageError: no segment passes; says how many were refused, and why.
    """

    def work_on(shard: list[Text]) -> Iterable[Text]:
        for document in shard:
            yield from good_segments(document, segmentation)
        advance(rows=len(shard))

    yield from some_of(in_shards(rows(documents), work_on, size=DOCUMENTS_AT_ONCE), "segment", of=documents)


def good_segments(document: Text, segmentation: Segmentation) -> Iterator[Text]:
    """The segments of one document that are kept; the others are dropped, as is a document that has none at all."""
    try:
        verdicts = segments(document, segmentation)
    except TooDeep as error:
        refuse(document.id, str(error))
        return
    if not verdicts:
        refuse(document.id, "a document without any text")
    for verdict in verdicts:
        if verdict.fault is None:
            yield verdict.segment
        else:
            refuse(verdict.segment.id, verdict.fault)


# ------------------------------------------------------------------------------------------ selection


def texts_size(size: SizeOf, *, texts: Table[Text], **_: Any) -> Size:
    """All of them, at most."""
    return size(texts)


@stage(version=2, needs="driver", expect=texts_size)
def distinct(texts: Table[Text], *, duplicates: Duplicates) -> Iterator[Text]:
    """The texts that repeat none before them, exactly or nearly; of equals the first is kept.

    A resumed call takes finished shards' verdicts as they are and only indexes their rows again.

    Raises:
        StageError: there are no texts.
    """
    index = Index(duplicates)
    indexed: set[str] = set()

    def work_on(shard: list[Text]) -> Iterable[Text]:
        for text in shard:
            known = index.repeated(text.text)
            if known is None:
                index.keep(text.id, text.text)
                indexed.add(text.id)
                yield text
            elif known.exactly:
                refuse(text.id, f"repeats another word for word: {known.row_id!r}")
            else:
                refuse(text.id, f"nearly repeats another: {known.row_id!r}, similarity {known.overlap:.2f}")
        advance(rows=len(shard))

    def kept() -> Iterator[Text]:
        for text in in_shards(rows(texts), work_on, size=SEGMENTS_AT_ONCE):
            if text.id not in indexed:
                index.keep(text.id, text.text)
            yield text

    yield from some_of(kept(), "text", of=texts)


@stage(version=2, needs="driver", expect=texts_size)
def decontaminated(texts: Table[Text], *, against: tuple[Table[Any], ...]) -> Iterator[Text]:
    """The texts that hold nothing of the prompts and answers of other tables (chats, instructions, pairs, texts).

    Nothing: no run of 13 words (GPT-3, App. C), and no whole prompt of 6 words or more. The reason quotes the place.

    Raises:
        StageError: every text holds some of it, or there are none.
    """
    known = Known()
    for table in against:
        for row in rows(table):
            for text, prompt in said_in(row):
                known.add(row.id, text, prompt=prompt)
    note("known_runs_of_words", len(known.grams))

    def work_on(shard: list[Text]) -> Iterable[Text]:
        for text in shard:
            met = known.met_in(text.text)
            if met is None:
                yield text
            else:
                refuse(text.id, met)
        advance(rows=len(shard))

    yield from some_of(in_shards(rows(texts), work_on, size=SEGMENTS_AT_ONCE), "text", of=texts)


def said_in(row: Any) -> Iterator[tuple[str, bool]]:
    """Every text of a row of any kind, and whether it is a user's prompt; system messages are nobody's secret."""
    if getattr(row, "asked", ""):
        yield row.asked, True
    else:
        for message in getattr(row, "prompt", ()):
            if message.role != "system":
                yield message.content, message.role == "user"
    for name in ("answer", "chosen", "rejected", "text"):
        if getattr(row, name, None):
            yield getattr(row, name), False
    for option in getattr(row, "options", ()):
        yield option, False
    for context in getattr(row, "contexts", ()):
        yield f"{context} {row.continuation}", True


def sampled_size(size: SizeOf, *, texts: Table[Text], count: int, seed: int) -> Size:
    """`count` texts of average length, or all.

    Raises:
        RecipeError: the count is not positive.
    """
    if count < 1:
        raise RecipeError(f"a sample of {count} texts is empty: ask for 1 or more")
    given = size(texts)
    if given.rows <= count:
        return given
    return Size(rows=count, answer_tokens=given.answer_tokens * count // given.rows)


@stage(version=1, needs="driver", expect=sampled_size)
def sampled(texts: Table[Text], *, count: int, seed: int) -> Iterator[Text]:
    """`count` texts drawn evenly, in their order; all of them if there are no more.

    Each text's luck is a number made of the seed and its id, so a larger sample holds a smaller one, and a corpus that
    grows changes little of it. Those not drawn are no worse than the others and are not listed as dropped.

    Raises:
        StageError: there are no texts.
    """
    drawn = set(heapq.nsmallest(count, ((seed_of(seed, text.id), text.id) for text in rows(texts))))
    chosen = {row_id for _, row_id in drawn}
    note("drawn_of", sum(1 for _ in rows(texts)))
    yield from some_of((text for text in rows(texts) if text.id in chosen), "text", of=texts)


# -------------------------------------------------------------------------------------------- reasons


def refuse(row_id: str, reason: str) -> None:
    """Drop a row with a reason that is safe to look at, whatever stands in its text."""
    kind, colon, about = reason.partition(": ")
    drop(row_id, f"{excerpt(kind, 300)}{colon}{excerpt(about, 300)}")


def some_of(made: Iterable[Text], what: str, *, of: Table[Text] | None = None) -> Iterator[Text]:
    """What is made `of` a table, if it is anything.

    Raises:
        StageError: it is nothing; shows what became of it, in this stage and in those before.
    """
    empty = True
    for text in made:
        empty = False
        yield text
    if empty:
        raise StageError(f"no {what} is left. {funnel(of)}")


def funnel(given: Table[Text] | None) -> str:
    """How many rows this call dropped, and each call on the way to the table it was given, by kind of reason."""
    here = [one.reason for one in dropped_so_far()]
    told = [f"Dropped {len(here):,}:{listed(here)}" if here else "Nothing was dropped: there was nothing to begin with"]
    while given is not None and (known := how_made(given)) is not None:
        record, reasons = known
        told.append(
            f"Before it, {record['stage']} gave {record['rows']:,} and dropped {len(reasons):,}{listed(reasons)}"
        )
        given = next((Table(value["table"]) for name in MADE_OF if (value := record["arguments"].get(name))), None)
    return "\n".join(told)


def listed(reasons: Sequence[str]) -> str:
    """Reasons by kind, a line each."""
    return in_lines(reasons_in_words(reasons, shorten=excerpt))
