"""Markdown as headers and paragraphs, by the CommonMark rules: both kinds of headers, none inside fenced code.

Paragraphs keep their source, which is readable as it is. HTML between them is read as HTML.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from selfalign.corpus.blocks import Block
from selfalign.corpus.html import html_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# Settings of a page, not text; the line below would make a header of them.
# Only lines of `key: value`, lists, comments and what is indented under them: else it is a text between two rules.
SETTING = r"""(?:[\w.\-]+[ \t]*:(?:[ \t].*)?|["'][^"'\n]+["'][ \t]*:.*|[ \t]+.*|-[ \t].*|\#.*)?"""
FRONT_MATTER = re.compile(rf"\A---[ \t]*\n(?:(?!---|\.\.\.){SETTING}\n){{0,500}}+(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
LINK = re.compile(r"!?\[[^\]\n]{0,1000}\]\([^)\n]{0,2000}\)")


def markdown_blocks(text: str) -> list[Block]:
    """The headers and paragraphs of a Markdown text, in order.

    Raises:
        TooDeep: HTML in it is nested deeper than any page is.
    """
    from markdown_it import MarkdownIt

    text = FRONT_MATTER.sub("", text, count=1)
    reader = MarkdownIt("commonmark").enable("table")
    # Spans within a line say nothing about structure and cost most of the time.
    tokens = MarkdownIt("commonmark").enable("table").disable("inline").parse(text)
    lines = text.split("\n")
    blocks: list[Block] = []
    for place, token in enumerate(tokens):
        if token.level or token.map is None or token.nesting < 0 or token.type == "hr":
            continue
        if token.type == "heading_open":
            blocks.append(Block(plain(tokens[place + 1].content, reader), int(token.tag[1:])))
            continue
        source = "\n".join(lines[slice(*token.map)]).rstrip()
        if token.type == "html_block":
            blocks += html_blocks(source)
        elif source.strip():
            blocks.append(Block(source, 0, sum(len(link[0]) for link in LINK.finditer(source))))
    return blocks


def plain(heading: str, reader: MarkdownIt) -> str:
    """A header's words without emphasis, links and code marks."""
    return " ".join("".join(said(reader.parseInline(heading))).split())


def said(tokens: Sequence[Token]) -> list[str]:
    """The texts of inline tokens."""
    found = []
    for token in tokens:
        if token.children:
            found += said(token.children)
        elif token.type in ("text", "code_inline", "softbreak", "hardbreak"):
            found.append(token.content or " ")
    return found
