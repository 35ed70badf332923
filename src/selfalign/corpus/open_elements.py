"""The elements of a page that are open at a place, by the HTML standard's rules for their stack (13.2.4.2, 13.2.6).

Knows names only: neither texts nor the tree. Where it simplifies, it leaves too much open rather than too little.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import NamedTuple


def named(words: str) -> frozenset[str]:
    """Element names."""
    return frozenset(words.split())


VOID = named(
    "area base basefont bgsound br col embed frame hr image img input keygen link meta param source track wbr "
    "html head body frameset"  # the page has these already; a second one opens nothing
)
FORMATTING = named("a b big code em font i nobr s small strike strong tt u")
ENDS_PARAGRAPH = named(
    "address article aside blockquote center dd details dialog dir div dl dt fieldset figcaption figure footer form h "
    "header hgroup li listing main menu nav ol p plaintext pre search section summary ul"
)
# An end tag of these closes what is open inside; one of any other element does not reach beyond a block.
BLOCKS = ENDS_PARAGRAPH | named("applet button marquee object select")
TABLE_PARTS = named("caption colgroup tbody td tfoot th thead tr")
BOUNDARIES = named("applet caption marquee object select table td template th")
# What is left unclosed in these is not opened again behind them.
MARKERS = BOUNDARIES - named("table select")
CELLS, ROW_GROUPS = named("td th"), named("tbody thead tfoot")
SPECIAL = BLOCKS | TABLE_PARTS | BOUNDARIES | named("noscript")
# Blocks that stand within a line.
WITHIN_LINES = named("applet button marquee object select")
NO_WALL = named("address div p")
# HTML in a drawing or a formula, and HTML that ends one.
HTML_INSIDE = named("foreignobject desc title mi mo mn ms mtext annotation-xml")
BREAKS_OUT = named(
    "b big blockquote body br center code dd div dl dt em embed h1 h2 h3 h4 h5 h6 head hr i img li listing menu meta "
    "nobr ol p pre ruby s small span strong strike sub sup table tt u ul var"
)
FONT_BREAKS_OUT = re.compile(r"\b(?:color|face|size)\b", re.IGNORECASE)
HEADERS = named("h1 h2 h3 h4 h5 h6")


class Opened(NamedTuple):
    """An open element, and what held before it was opened."""

    name: str
    attributes: str
    foreign: bool
    root: int
    unclosed: int


class OpenElements:
    """The stack of open elements. `unclosed`: formatting that was shut with its parent and is opened again later."""

    def __init__(self) -> None:
        self.stack: list[Opened | None] = []
        self.closed_inside = 0
        self.places: defaultdict[str, list[int]] = defaultdict(list)
        self.specials: list[int] = []
        self.walls: list[int] = []
        self.boundaries: list[int] = []
        self.markers: list[int] = []
        self.reopened = 0
        self.unclosed: list[tuple[str, str]] = []
        self.times: Counter[tuple[str, str]] = Counter()
        self.foreign = False
        self.root = 0

    @property
    def depth(self) -> int:
        """How deep the next element stands at most."""
        return len(self.stack) - self.closed_inside + len(self.unclosed)

    def takes_raw(self, name: str) -> bool:
        """Whether the element's content is text now: not in a drawing, nor where the element itself is ignored."""
        return not self.foreign and (name == "script" or not self.places["select"])

    # ------------------------------------------------------------------------------------------ tags

    def start(self, name: str, attributes: str, *, closed: bool) -> None:
        """An element begins; `closed` by its own slash, which counts within a drawing or formula."""
        if self.foreign:
            if name not in BREAKS_OUT and not (name == "font" and FONT_BREAKS_OUT.search(attributes)):
                if not closed:
                    self.push(":" + name, inside=name not in HTML_INSIDE)
                return
            self.cut(self.root)
        if name in VOID:
            return
        name = "h" if name in HEADERS else name
        self.close_before(name)
        if name in TABLE_PARTS and not self.places["table"] and not self.places["template"]:
            return
        if name == "form" and self.places["form"]:
            return
        if name in ("svg", "math") and not self.places["select"]:
            if not closed:
                self.root = len(self.stack)
                self.push(":" + name, inside=True)
            return
        if name not in SPECIAL or name in WITHIN_LINES:
            self.reopen()
        self.push(name, attributes if name in FORMATTING else "")

    def close_before(self, name: str) -> None:
        """Close what the start of an element closes."""
        if name in ENDS_PARAGRAPH:
            self.close_in("p", self.last(self.boundaries, self.places["button"]))
        if name == "h" and self.top() == "h":
            self.cut(len(self.stack) - 1)
        elif name == "li":
            self.close_in("li", self.last(self.walls) - 1)
        elif name in ("dd", "dt"):
            self.close_in("dd", self.last(self.walls) - 1)
            self.close_in("dt", self.last(self.walls) - 1)
        elif name == "option" and self.top() == "option":
            self.cut(len(self.stack) - 1)
        elif name == "button":
            self.close_in(name, self.last(self.boundaries))
        elif name in ("a", "nobr"):
            self.end(name)
        elif name in TABLE_PARTS:
            self.close_table_part(name)

    def close_table_part(self, name: str) -> None:
        """A part of a table closes the parts beside it, whatever is open in them."""
        table = self.last(self.places["table"])
        if table <= self.last(self.places["template"]):
            return
        around = named("tr tbody thead tfoot") if name in CELLS else ROW_GROUPS if name == "tr" else frozenset()
        self.cut(max(table, *(self.last(self.places[one]) for one in around), -1) + 1)

    def end(self, name: str) -> None:
        """An end tag: closes its element where that one can be reached, else nothing."""
        if self.foreign and name in ("p", "br"):
            self.cut(self.root)
        name = "h" if name in HEADERS else name
        drawn = self.places[":" + name]
        if drawn and drawn[-1] >= self.last(self.specials):
            self.cut(drawn[-1])
        elif name in FORMATTING:
            self.end_formatting(name)
        elif name == "form":
            self.take_out("form")
        elif name in ("p", "li"):
            stops = [self.places["button"]] if name == "p" else [self.places["ol"], self.places["ul"]]
            self.close_in(name, self.last(self.boundaries, *stops))
        elif name == "template":
            self.close_in(name, -1)
        elif name == "table" or name in TABLE_PARTS:
            self.close_in(name, self.last(self.places["template"], *([self.places["table"]] * (name != "table"))))
        elif name in BLOCKS:
            self.close_in(name, self.last(self.boundaries) - (name in BOUNDARIES))
        else:
            self.close_in(name, self.last(self.specials) - (name in SPECIAL))

    def end_formatting(self, name: str) -> None:
        """The end of formatting leaves the blocks open that are open inside it."""
        places, boundary = self.places[name], self.last(self.boundaries)
        if places and places[-1] > boundary:
            place = places[-1]
            self.take_out(name)
            if self.last(self.specials) < place:
                self.cut(place)
            return
        around = self.stack[boundary] if boundary >= 0 else None
        for place in range(len(self.unclosed) - 1, (around.unclosed if around else 0) - 1, -1):
            if self.unclosed[place][0] == name:
                self.times[self.unclosed.pop(place)] -= 1
                return

    def reopen(self) -> None:
        """Text or an element within a line begins: formatting that was left unclosed goes on here."""
        marker = self.stack[self.markers[-1]] if self.markers else None
        again = self.unclosed[marker.unclosed if marker else 0 :]
        del self.unclosed[len(self.unclosed) - len(again) :]
        self.reopened += len(again)
        for name, attributes in again:
            self.times[name, attributes] -= 1
            self.push(name, attributes)

    # ----------------------------------------------------------------------------------------- stack

    def top(self) -> str:
        """The element opened last."""
        return self.stack[-1].name if self.stack and self.stack[-1] else ""

    def last(self, *places: list[int]) -> int:
        """The innermost of some places; -1 without any."""
        return max((some[-1] for some in places if some), default=-1)

    def close_in(self, name: str, beyond: int) -> None:
        """Close the innermost element of a name, and all in it, if it stands beyond a place."""
        places = self.places[name]
        if places and places[-1] > beyond:
            self.cut(places[-1])

    def push(self, name: str, attributes: str = "", *, inside: bool = False) -> None:
        """Open an element; `inside` a drawing or formula, what follows is part of it."""
        place = len(self.stack)
        self.stack.append(Opened(name, attributes, self.foreign, self.root, len(self.unclosed)))
        self.places[name].append(place)
        self.foreign = inside
        if name in SPECIAL or (name[0] == ":" and not inside):
            self.specials.append(place)
            if name not in NO_WALL:
                self.walls.append(place)
            if name in BOUNDARIES or name[0] == ":":
                self.boundaries.append(place)
            if name in MARKERS:
                self.markers.append(place)

    def cut(self, size: int) -> None:
        """Close all but so many elements."""
        while len(self.stack) > size:
            opened = self.stack.pop()
            if opened is None:
                self.closed_inside -= 1
                continue
            place = len(self.stack)
            self.places[opened.name].pop()
            self.foreign, self.root = opened.foreign, opened.root
            for places in (self.specials, self.walls, self.boundaries, self.markers):
                if places and places[-1] == place:
                    places.pop()
            if opened.name in MARKERS:
                for one in self.unclosed[opened.unclosed :]:
                    self.times[one] -= 1
                del self.unclosed[opened.unclosed :]
            elif opened.name in FORMATTING and opened.name not in ("a", "nobr"):
                self.leave_unclosed((opened.name, opened.attributes))
            elif opened.name in FORMATTING and self.times[opened.name, ""] == 0:
                self.leave_unclosed((opened.name, ""))  # the next one closes it

    def leave_unclosed(self, formatting: tuple[str, str]) -> None:
        """Formatting is shut with its parent; of equal ones three are remembered."""
        if self.times[formatting] < 3:
            self.times[formatting] += 1
            self.unclosed.append(formatting)

    def take_out(self, name: str) -> None:
        """Close the innermost element of a name, but not what is open in it."""
        places = self.places[name]
        if not places:
            return
        place = places.pop()
        self.stack[place] = None
        self.closed_inside += 1
        for some in (self.specials, self.walls):
            if place in some[-1:]:
                some.pop()
            elif name == "form":
                some.remove(place)
        while self.stack and self.stack[-1] is None:
            self.stack.pop()
            self.closed_inside -= 1
