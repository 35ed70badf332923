"""Header trees: a document as headers and paragraphs in reading order, cut into nested segments.

Every kind of markup becomes the same flat list of blocks, so that what a segment is, is said once (Humpback v3, App. E:
a tree rooted at a header, the trees of lower headers included). Pure; knows no markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Block:
    """A header of some level, 1 the highest, or a paragraph (level 0); `linked` of its characters are links."""

    text: str
    level: int = 0
    linked: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment before any filter: the blocks from `first` up to, not including, `end`. `heading` None: no header."""

    text: str
    heading: str | None
    linked: int
    first: int
    end: int

    def holds(self, other: Piece) -> bool:
        """Whether the other piece lies within this one."""
        return self.first <= other.first and other.end <= self.end


def pieces(blocks: Sequence[Block], *, max_characters: int, before_headers: bool) -> list[Piece]:
    """Every header tree of a document in reading order, parents before their children.

    `before_headers`: the paragraphs that no header stands above are joined to pieces of at most `max_characters`.
    """
    found = list(joined(blocks[: first_header(blocks)], max_characters)) if before_headers else []
    return found + list(trees(blocks))


def above_headers(blocks: Sequence[Block]) -> list[Piece]:
    """The paragraphs that no header stands above, as one piece; none without any."""
    end = first_header(blocks)
    return [unheaded(blocks, 0, end)] if end else []


def first_header(blocks: Sequence[Block]) -> int:
    """The place of the first header; the number of blocks without one."""
    return next((place for place, block in enumerate(blocks) if block.level), len(blocks))


def trees(blocks: Sequence[Block]) -> Iterator[Piece]:
    """A piece for each header: all below it up to the next header of the same or a higher level.

    Lower headers inside are written as Markdown, relative to the root.
    """
    ends = tree_ends(blocks)
    linked_before = list(accumulate((block.linked for block in blocks), initial=0))
    for place, root in enumerate(blocks):
        if root.level:
            end = ends[place]
            text = BETWEEN.join(written(block, root.level) for block in blocks[place + 1 : end])
            yield Piece(text, root.text, linked_before[end] - linked_before[place + 1], place, end)


def tree_ends(blocks: Sequence[Block]) -> list[int]:
    """For each header, where its tree ends; the number of blocks for everything else."""
    ends = [len(blocks)] * len(blocks)
    still_open: list[int] = []
    for place, block in enumerate(blocks):
        if block.level:
            while still_open and blocks[still_open[-1]].level >= block.level:
                ends[still_open.pop()] = place
            still_open.append(place)
    return ends


def written(block: Block, root_level: int) -> str:
    """A block as text inside a tree; the root's own level would be `#`."""
    return f"{'#' * min(6, block.level - root_level + 1)} {block.text}" if block.level else block.text


def joined(blocks: Sequence[Block], max_characters: int) -> Iterator[Piece]:
    """Paragraphs joined in order to pieces of about equal length, none longer than need be.

    Equal lengths, because filling each piece to the brim leaves a last one that is too short to keep.
    """
    total = sum(len(block.text) + len(BETWEEN) for block in blocks)
    aim = total / max(1, -(-total // max_characters))
    first, length = 0, 0
    for place, block in enumerate(blocks):
        more = len(block.text) + len(BETWEEN) * (length > 0)
        if length and (length >= aim or length + more > max_characters):
            yield unheaded(blocks, first, place)
            first, length, more = place, 0, len(block.text)
        length += more
    if length:
        yield unheaded(blocks, first, len(blocks))


def unheaded(blocks: Sequence[Block], first: int, end: int) -> Piece:
    """Consecutive paragraphs as one piece."""
    some = blocks[first:end]
    return Piece(BETWEEN.join(block.text for block in some), None, sum(block.linked for block in some), first, end)
