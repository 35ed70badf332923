"""HTML as headers and readable paragraphs.

Parsed by the rules browsers follow (selectolax over Lexbor), so that broken pages give what a reader would see. Lists,
tables and code stay readable; navigation, scripts and controls are left out. Knows nothing of segments or filters.
"""

from __future__ import annotations

import re
from typing import Any

from selfalign.corpus.blocks import Block
from selfalign.corpus.nesting import check_nesting

# Not `form`: whole pages are wrapped in one. Not `header`: the title of an article stands in it.
NOT_CONTENT = (
    "head title script style noscript template nav footer aside button select textarea input datalist iframe svg math "
    "canvas object embed audio video map dialog"
)
IGNORED = frozenset(NOT_CONTENT.split())
BREAKING = (
    "address article blockquote body center dd details dialog div dl dt fieldset figcaption figure form header hgroup "
    "hr main ol p section summary table tbody tfoot thead ul caption"
)
PARAGRAPHS = frozenset(BREAKING.split())
LISTS = frozenset(("ul", "ol"))
# A header holds none of these: one that seems to was never closed, or is the frame of its title.
NOT_TITLE = "p ul ol dl table blockquote hr form figure section article address main fieldset"
NO_TITLE = frozenset(NOT_TITLE.split())
# Ours: a header that is longer, and has lines, was never closed.
LONGEST_HEADER_CHARACTERS = 200
LEVELS = {f"h{level}": level for level in range(1, 7)}
HIDDEN_ROLES = frozenset(("navigation", "search", "banner", "contentinfo", "complementary", "menu", "menubar"))
# The sign behind a header that links to it.
PERMALINKS = " \n¶§🔗"
SPACES = re.compile(r"[ \t\n\r\f]+")
BLANKS_BEFORE_LINE_END = re.compile(r"[ \t]+(?=\n)")


def html_blocks(html: str) -> list[Block]:
    """The headers and paragraphs of a page, in reading order.

    Raises:
        TooDeep: elements are nested deeper than a page's are, or opened again and again.
    """
    from selectolax.lexbor import LexborHTMLParser

    check_nesting(html)
    body = LexborHTMLParser(html).body
    page = Page()
    node: Any = body.child if body is not None else None
    above: list[tuple[Any, str]] = []
    # No recursion: a page may be deeper than Python's stack.
    while node is not None or above:
        if node is None:
            node, tag = above.pop()
            page.leave(tag)
        else:
            tag = node.tag or ""
            if tag == "-text":
                page.say(node.text_content or "")
            elif tag[:1].isalpha() and tag not in IGNORED and not hidden(tag, node.attributes):
                page.enter(tag)
                above.append((node, tag))
                node = node.child
                continue
        node = node.next
    page.end_paragraph()
    return page.blocks


def hidden(tag: str, attributes: dict[str, str | None]) -> bool:
    """Whether an element says that it is not shown, or is no part of the content.

    Within a line only the first counts: what is hidden from screen readers there (a formula drawn in letters) is shown.
    """
    if not attributes:
        return False
    no_content = attributes.get("aria-hidden") == "true" or attributes.get("role") in HIDDEN_ROLES
    return "hidden" in attributes or (tag in PARAGRAPHS and no_content)


class Page:
    """Collects the text of a page as elements are entered and left."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.parts: list[str] = []
        self.linked = 0
        self.links = 0
        self.items: list[int | None] = []
        self.level = 0
        self.code = 0

    def say(self, text: str) -> None:
        """Text, blanks run together as a browser does."""
        if not self.code:
            text = SPACES.sub(" ", text)
            if not self.parts or self.parts[-1].endswith((" ", "\n")):
                text = text.lstrip(" ")
        if text:
            self.parts.append(text)
            self.linked += len(text) if self.links else 0

    def enter(self, tag: str) -> None:
        """An element begins."""
        if tag in LEVELS:
            self.end_paragraph()
            self.level = LEVELS[tag]
        elif tag == "pre":
            self.end_paragraph()
            self.code += 1
        elif tag in PARAGRAPHS and not self.within_header(tag):
            self.pause()
            if tag in LISTS:
                self.items.append(1 if tag == "ol" else None)
        elif tag == "a":
            self.links += 1
        elif tag == "code" and not self.code:
            self.parts.append("`")
        elif tag == "br":
            self.parts.append("\n")
        elif tag in ("li", "tr", "td", "th"):
            self.mark(tag)

    def leave(self, tag: str) -> None:
        """An element ends."""
        if tag in LEVELS:
            self.end_paragraph()
        elif tag == "pre":
            self.end_paragraph()
            self.code = max(0, self.code - 1)
        elif tag in PARAGRAPHS and self.level:
            self.end_line()
        elif tag in PARAGRAPHS:
            if tag in LISTS and self.items:
                self.items.pop()
            self.pause()
        elif tag == "a":
            self.links -= 1
        elif tag == "code" and not self.code:
            self.parts.append("`")

    def within_header(self, tag: str) -> bool:
        """Whether a block belongs to the header that is open, if one is; else the header ends before it."""
        if self.level and tag in NO_TITLE:
            if "".join(self.parts).strip(" \n`"):
                self.end_paragraph()
            else:
                self.parts.clear()  # or a hostile page has them joined again and again
        if self.level:
            self.end_line()
        return self.level > 0

    def mark(self, tag: str) -> None:
        """What stands before an item of a list, a row or a cell."""
        if self.level:
            self.end_line()
            return
        if tag in ("li", "tr"):
            self.end_line()
        if tag == "li":
            number = self.items[-1] if self.items else None
            if number is not None:
                self.items[-1] = number + 1
            self.parts.append("  " * max(0, len(self.items) - 1) + ("- " if number is None else f"{number}. "))
        elif tag != "tr" and self.parts and not self.parts[-1].endswith("\n"):
            self.parts.append(" | ")

    def pause(self) -> None:
        """A break: within a list a new line, elsewhere a new paragraph."""
        if self.items:
            # An item whose text is a paragraph of its own begins behind its mark.
            if self.parts and not self.parts[-1].endswith((". ", "- ")):
                self.end_line()
        else:
            self.end_paragraph()

    def end_line(self) -> None:
        """What comes next stands on a new line."""
        if self.parts and not self.parts[-1].endswith("\n"):
            self.parts.append("\n")

    def end_paragraph(self) -> None:
        """What was said since the last break becomes a block."""
        text, linked, level = "".join(self.parts), self.linked, self.level
        self.parts, self.linked, self.level = [], 0, 0
        if level:
            title, text = text, ""
            if len(title) > LONGEST_HEADER_CHARACTERS:
                title, _, text = title.strip().partition("\n")
            title = " ".join(title.replace("`", "").strip(PERMALINKS).split())
            self.blocks.append(Block(title, level, 0 if text else linked))
        if text.strip():
            self.blocks.append(Block(fenced(text) if self.code else tidy(text), 0, linked))


def tidy(text: str) -> str:
    """A paragraph without blanks at its ends and at those of its lines."""
    return BLANKS_BEFORE_LINE_END.sub("", text).strip()


def fenced(text: str) -> str:
    """Preformatted text between fences longer than any it holds."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.strip(chr(10)).rstrip()}\n{fence}"
