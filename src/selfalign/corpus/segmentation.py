"""A document's segments: its pieces that pass the filters, and of those that nest the ones wanted."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from selfalign.corpus.blocks import Block, Piece, above_headers, pieces
from selfalign.corpus.filters import boilerplate_fault, header_fault, length_fault, repetition_fault
from selfalign.corpus.html import html_blocks
from selfalign.corpus.markdown import markdown_blocks
from selfalign.corpus.nesting import TooDeep
from selfalign.corpus.plain import plain_blocks
from selfalign.errors import RecipeError
from selfalign.types import Text

Markup = Literal["html", "markdown", "text"]
READERS: dict[Markup, Callable[[str], list[Block]]] = {
    "html": html_blocks,
    "markdown": markdown_blocks,
    "text": plain_blocks,
}
MARKUPS: dict[str, Markup] = {
    "html": "html",
    "htm": "html",
    "md": "markdown",
    "markdown": "markdown",
    "txt": "text",
    "rst": "text",
}
BYTE_ORDER_MARK = "\ufeff"
UNHEADED = "no header stands above it"
LINE_ENDS = re.compile(r"\r\n?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Segmentation:
    """How documents are cut into segments and which are kept (Humpback v3, App. E).

    `repetition_overlap`: no two sentences of a segment may share more of their word 3-grams (Jaccard); 3 and 0.8 are
    ours. `max_linked_share`: of a segment's characters, so many may be links. `nested`: of segments that lie in one
    another, `keep` all as the paper does, or only the `largest` or the `smallest`. The paper drew 502,000 segments
    from a far larger pool and so hardly ever met both; where all of a corpus is used, each level of headers would
    train on the same text again, so the default is not the paper's. `markup`: what a document is written in, told by
    its source (a file's ending, a row's field), or said here.
    """

    min_characters: int = 600
    max_characters: int = 3000
    repetition_overlap: float = 0.8
    max_linked_share: float = 0.5
    nested: Literal["keep", "largest", "smallest"] = "largest"
    markup: Literal["by-source", "html", "markdown", "text"] = "by-source"

    def __post_init__(self) -> None:
        """Refuse a window of lengths that nothing fits."""
        if self.min_characters > self.max_characters:
            raise RecipeError(
                f"min_characters {self.min_characters} is above max_characters {self.max_characters}: no segment fits"
            )


class Verdict(NamedTuple):
    """A segment, and why it is refused; None when it is kept."""

    segment: Text
    fault: str | None


def segments(document: Text, segmentation: Segmentation) -> list[Verdict]:
    """Every segment of a document in reading order, each with its verdict; none when it has no text.

    A segment is called after its document and its number in it, so other settings change no id. What stands above the
    first header of a page is no segment to the paper; it is number 0, refused with this reason. Other kinds of text
    often have no headers at all, so there it is cut into segments too.

    Raises:
        TooDeep: the markup is nested deeper than any page is.
    """
    markup = markup_of(document, segmentation)
    blocks = READERS[markup](LINE_ENDS.sub("\n", document.text.lstrip(BYTE_ORDER_MARK)))
    found = pieces(blocks, max_characters=segmentation.max_characters, before_headers=markup != "html")
    faults = [fault_of(piece, segmentation) for piece in found]
    above = above_headers(blocks) if markup == "html" else []
    found, faults = [*above, *found], [*[UNHEADED] * len(above), *faults]
    ids = [f"{document.id}#{number}" for number in range(1 - len(above), len(found) + 1 - len(above))]
    if segmentation.nested != "keep":
        faults = one_of_nested(found, faults, ids, largest=segmentation.nested == "largest")
    return [
        Verdict(segment_of(document, piece, row_id), fault)
        for piece, row_id, fault in zip(found, ids, faults, strict=True)
    ]


def segment_of(document: Text, piece: Piece, row_id: str) -> Text:
    """A piece as a row; without a header of its own it stands under the document's title."""
    heading = document.heading if piece.heading is None else piece.heading
    return Text(id=row_id, text=piece.text, source=document.source, heading=heading, parents=(document.id,))


def markup_of(document: Text, segmentation: Segmentation) -> Markup:
    """What a document is written in: as the settings say, else as the end of its source does, else plain text."""
    if segmentation.markup != "by-source":
        return segmentation.markup
    return MARKUPS.get(re.split(r"[#.]", document.source)[-1].lower(), "text")


def fault_of(piece: Piece, segmentation: Segmentation) -> str | None:
    """Why a piece is refused, the cheapest question first; header questions only where there is a header."""
    fault = None if piece.heading is None else header_fault(piece.heading)
    fault = fault or length_fault(
        piece.text, min_characters=segmentation.min_characters, max_characters=segmentation.max_characters
    )
    fault = fault or boilerplate_fault(piece, max_linked_share=segmentation.max_linked_share)
    return fault or repetition_fault(piece.text, overlap=segmentation.repetition_overlap)


def one_of_nested(
    found: Sequence[Piece], faults: Sequence[str | None], ids: Sequence[str], *, largest: bool
) -> list[str | None]:
    """The faults again, and one more for each good piece that lies in another good one, or that holds one.

    Pieces come parents first; so the largest are met going forward, the smallest going back.
    """
    verdicts = list(faults)
    kept = -1
    for place in range(len(found)) if largest else reversed(range(len(found))):
        if faults[place] is not None:
            continue
        if kept >= 0 and largest and found[kept].holds(found[place]):
            verdicts[place] = f"it lies within a segment that is kept: {ids[kept]!r}"
        elif kept >= 0 and not largest and found[place].holds(found[kept]):
            verdicts[place] = f"it holds a segment that is kept: {ids[kept]!r}"
        else:
            kept = place
    return verdicts


__all__ = ["Segmentation", "TooDeep", "Verdict", "segments"]
