"""Plain text as headers and paragraphs: a line underlined with punctuation is a header, as in reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Sequence

from selfalign.corpus.blocks import Block

RULE = re.compile(r"([=\-~^*#\"'+:._`])\1{2,}[ \t]*")
LONGEST_TITLE_CHARACTERS = 200


def plain_blocks(text: str) -> list[Block]:
    """The headers and paragraphs of a text; paragraphs are what blank lines part, lines and indents kept.

    A header's level is the order in which its style (mark, with or without an overline) first appears.
    """
    lines = text.split("\n")
    blocks: list[Block] = []
    styles: list[tuple[str, bool]] = []
    paragraph: list[str] = []

    def end_paragraph() -> None:
        if paragraph:
            blocks.append(Block("\n".join(paragraph)))
            paragraph.clear()

    place = 0
    while place < len(lines):
        found = None if paragraph else header_at(lines, place)
        if found is not None:
            title, style, taken = found
            if style not in styles:
                styles.append(style)
            blocks.append(Block(title, styles.index(style) + 1))
            place += taken
            continue
        line = lines[place].rstrip()
        if line:
            paragraph.append(line)
        else:
            end_paragraph()
        place += 1
    end_paragraph()
    return blocks


def header_at(lines: Sequence[str], place: int) -> tuple[str, tuple[str, bool], int] | None:
    """The header that begins at a line: its title, its style and how many lines it takes."""
    if place + 2 < len(lines) and is_rule(lines[place], lines[place + 1]):
        under = lines[place + 2]
        if is_rule(under, lines[place + 1]) and under[0] == lines[place][0]:
            return lines[place + 1].strip(), (under[0], True), 3
    if place + 1 < len(lines) and is_title(lines[place]) and is_rule(lines[place + 1], lines[place]):
        return lines[place].strip(), (lines[place + 1][0], False), 2
    return None


def is_rule(line: str, title: str) -> bool:
    """Whether a line is a rule nearly as long as a title (writers miscount), and the title is one."""
    if RULE.fullmatch(line) is None:
        return False
    words = title.strip()
    return bool(words) and RULE.fullmatch(words) is None and 5 * len(line.rstrip()) >= 4 * len(words)


def is_title(line: str) -> bool:
    """Whether a line may be a title: not blank, not indented, not endless."""
    return bool(line.strip()) and not line[0].isspace() and len(line) <= LONGEST_TITLE_CHARACTERS
