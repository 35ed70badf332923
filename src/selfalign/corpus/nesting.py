"""How deep the elements of a page nest, told from its text in one pass, before a parser builds them.

A parser's time grows with the product of tags and depth, and the size of what it builds with the product of tags and
unclosed formatting, so a page must be judged before it is parsed. Follows the HTML standard's tokenizer and its rules
for the stack of open elements (13.2.4 to 13.2.6) as far as they bear on depth; where it simplifies, it counts too much
rather than too little. Linear in the length of the page.
"""

from __future__ import annotations

import re

from selfalign.corpus.open_elements import OpenElements

# 200,000 nested elements take a parser minutes, 2,000 nothing; browsers themselves stop at 512.
DEEPEST = 2_000
# Formatting that nobody closed is opened again in each later paragraph: so many times it may be.
MOST_REOPENED = 2_000_000

BLANK = r"[ \t\n\f\r]"
VALUE = r"""(?:"[^"]*+(?:"|\Z)|'[^']*+(?:'|\Z)|[^ \t\n\f\r>"'][^ \t\n\f\r>]*+)"""
ATTRIBUTE = rf"[^ \t\n\f\r/>][^ \t\n\f\r/>=]*+(?:{BLANK}*+={BLANK}*+{VALUE})?+"
# Group 4 is the last slash between attributes; one within an unquoted value ends nothing.
TAG = re.compile(rf"<(/?)([a-z][^ \t\n\f\r/>]*+)((?:{BLANK}++|(/)|{ATTRIBUTE})*+)(?:>|\Z)", re.IGNORECASE)
SCRIPT_MARKS = re.compile(r"<!--|-->|</?script(?=[ \t\n\f\r/>])", re.IGNORECASE)


RAW = frozenset(("script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"))


class TooDeep(ValueError):
    """A page whose elements are nested deeper than any page is."""


def check_nesting(html: str) -> None:
    """Refuse a page that would take a parser more than time in proportion to its length.

    Raises:
        TooDeep: elements are nested more than `DEEPEST` deep, or unclosed ones would be opened again without end.
    """
    if html.count("<") <= DEEPEST:
        return
    opened = OpenElements()
    place = html.find("<")
    while place >= 0:
        tag = TAG.match(html, place)
        if tag is None:
            place = html.find("<", end_of_markup(html, place, foreign=opened.foreign))
            continue
        end, name = tag.end(), tag[2].lower()
        if tag[1]:
            opened.end(name)
        elif name == "plaintext" and not opened.foreign:
            return
        elif name in RAW and opened.takes_raw(name):
            end = end_of_raw(html, end, name)
        else:
            opened.start(name, tag[3], closed=tag.end(4) == tag.end(3))
        if opened.depth > DEEPEST:
            raise TooDeep(f"its elements are nested more than {DEEPEST:,} deep")
        if opened.reopened > MOST_REOPENED:
            raise TooDeep("its elements are left open and opened again in each paragraph")
        place = html.find("<", end)
        if opened.unclosed and not opened.foreign and html[end : place if place >= 0 else None].strip():
            opened.reopen()


def end_of_markup(html: str, place: int, *, foreign: bool) -> int:
    """Where a comment or the like that begins at a place ends; the next place where `<` begins nothing."""
    if html.startswith("<!--", place):
        short = re.compile(r"-?>").match(html, place + 4)
        end = short or re.compile(r"--!?>").search(html, place + 4)
        return end.end() if end else len(html)
    if foreign and html.startswith("<![CDATA[", place):
        stop = html.find("]]>", place)
    elif html.startswith(("<!", "<?", "</"), place):
        stop = html.find(">", place)
    else:
        return place + 1
    return stop + 1 if stop >= 0 else len(html)


def end_of_raw(html: str, place: int, name: str) -> int:
    """Where the end tag of an element begins that holds text only, the end of the page without one."""
    if name != "script":
        end = re.compile(rf"</{name}(?=[ \t\n\f\r/>])", re.IGNORECASE).search(html, place)
        return end.start() if end else len(html)
    # A script may hold `<!-- <script> </script> -->`, whose end tag is not its own.
    in_comment = in_script = False
    while mark := SCRIPT_MARKS.search(html, place):
        said = mark[0].lower()
        place = mark.end()
        if said == "<!--":
            in_comment = True
            place -= 2  # `<!-->` is a whole comment
        elif said == "-->":
            in_comment = in_script = False
        elif said == "<script":
            in_script = in_comment
        elif in_script:
            in_script = False
        else:
            return mark.start()
    return len(html)
