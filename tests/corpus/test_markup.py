"""Header trees out of HTML, Markdown and plain text: what a reader sees, and nothing that breaks."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from selfalign.corpus.blocks import Block, pieces
from selfalign.corpus.html import html_blocks
from selfalign.corpus.markdown import markdown_blocks
from selfalign.corpus.nesting import DEEPEST, TooDeep, check_nesting
from selfalign.corpus.plain import plain_blocks

PAGE = """<!doctype html><html><head><title>T</title><style>p{}</style></head><body>
<nav><h2>Menu</h2><a href=/>Home</a></nav>
<header><h1>Bread &amp; butter</h1></header>
<p>Intro   with
blanks &lt;here&gt;.</p><script>alert("x")</script>
<h2>Dough</h2><p>Mix <b>flour</b> and <a href=w>water</a>.<p>Wait.
<h3>Yeast</h3><ul><li>fresh<li>dry<ol><li>one<li><p>two</p></ol></ul>
<h2>Oven<a href="#oven">¶</a></h2>
<table><tr><th>What<th>Heat</tr><tr><td>Rye<td>250</table>
<pre><code>def bake():
    return "&lt;b&gt;"</code></pre>
<form><button>Buy</button><p>Run <code>bake</code> now.</p></form>
<div hidden>secret</div><div role="navigation">next page</div>
<footer>All rights reserved</footer></body></html>"""


def outline(blocks: list[Block]) -> list[tuple[int, str]]:
    return [(block.level, block.text) for block in blocks]


def test_a_page_as_headers_and_readable_paragraphs() -> None:
    assert outline(html_blocks(PAGE)) == [
        (1, "Bread & butter"),
        (0, "Intro with blanks <here>."),
        (2, "Dough"),
        (0, "Mix flour and water."),
        (0, "Wait."),
        (3, "Yeast"),
        (0, "- fresh\n- dry\n  1. one\n  2. two"),
        (2, "Oven"),
        (0, "What | Heat\nRye | 250"),
        (0, '```\ndef bake():\n    return "<b>"\n```'),
        (0, "Run `bake` now."),
    ]


def test_a_segment_is_a_header_with_the_trees_of_lower_headers_below_it() -> None:
    found = pieces(html_blocks(PAGE), max_characters=3000, before_headers=False)
    assert [piece.heading for piece in found] == ["Bread & butter", "Dough", "Yeast", "Oven"]
    whole, dough, yeast, oven = found
    assert dough.text == "Mix flour and water.\n\nWait.\n\n## Yeast\n\n- fresh\n- dry\n  1. one\n  2. two"
    assert whole.holds(dough)
    assert dough.holds(yeast)
    assert not dough.holds(oven)
    assert "## Oven" in whole.text
    assert dough.linked == len("water")


def test_a_higher_header_below_a_lower_one_ends_it() -> None:
    found = pieces(html_blocks("<h3>c</h3>x<h1>a</h1>y<h2>b</h2>z"), max_characters=99, before_headers=False)
    assert [(piece.heading, piece.text) for piece in found] == [("c", "x"), ("a", "y\n\n## b\n\nz"), ("b", "z")]


BROKEN = ["", "<", "<h1", "</p></p>", "<h2>a<h3>b<p>c", "<table><h1>x<td>", "<h1><h1><h1>", "<li>x",
          "&#xD800;&#0;&bad;", "<pre>", "<a><a><a>", "</ul></ol><li>", "<frameset><frame>",
          "<!--", "<![CDATA[x]]>", "<svg><h1>x</svg>y"]  # fmt: skip


@pytest.mark.parametrize("page", BROKEN)
def test_broken_pages_give_what_there_is(page: str) -> None:
    told = "".join(block.text for block in html_blocks(page))
    assert "\0" not in told
    assert not any(tag in told for tag in ("<h1", "<p", "</", "<a>", "<table", "<!--")), "tags never become text"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([*"ab <>/&\"'=\n", *BROKEN, "<h2>", "</h2>", "<ul><li>", "</ul>", "<td>", "<tr>", "<pre>"])
    )
)
def test_no_soup_raises_and_every_block_says_something_or_is_a_header(parts: list[str]) -> None:
    for block in html_blocks("".join(parts)):
        assert block.level or block.text.strip()


def test_endless_nesting_is_refused_before_it_takes_minutes() -> None:
    began = time.perf_counter()
    with pytest.raises(TooDeep):
        html_blocks("<div>" * 200_000)
    html_blocks("<p>x<br>" * 50_000)  # tags that end by themselves are not nested
    assert time.perf_counter() - began < 5


FLAT = {
    "drawings": "<p>x <svg><path/></svg></p>" * 2_100,
    "a script": "<script>" + "if (i<n) {}" * 2_500 + "</script>",
    "a script in a script": "<script><!-- <script>" + "<div>" * 2_500 + "</script> --></script>",
    "a comment": "<!-- " + "<b " * 2_500 + "-->",
    "links that close themselves": "<wbr/><a/>" * 2_500,
    "attributes": "<img alt='<div><div>'>" * 2_500,
    "unclosed formatting": "<p><b>x</p>" * 2_500,
    "unclosed blocks in cells": "<table>" + "<tr><td><div><span>x" * 2_500 + "</table>",
    "spans closed by links": "<p><a href=x><span>x</a></p>" * 2_500,
    "unclosed headers": "<h2>x<p>y" * 2_500,
    "formulas": "<p><math><mi>x</mi><mspace/></math></p>" * 2_500,
    "drawings that end in text": "<p><svg><g><div>x</div></p>" * 2_500,
}


@pytest.mark.parametrize("page", FLAT.values(), ids=FLAT)
def test_a_flat_page_is_read_however_many_tags_it_has(page: str) -> None:
    assert html_blocks(page + "<p>The end.</p>")[-1].text.endswith("The end.")


DEEP = (
    "<div></b>", "<div/>", "<span><div></span>", "<b><div></b>", "<form><div></form>", "<p><table><td><div></p>",
    "<x-y></z>", "<svg><desc><div>", "<svg><desc><i/>", "<div><script><!--<script></script></div>--></script>",
    "<ul><li>", "<table><template><div><td>", "<select><div></p>", "<svg><g a=b/>", "<!--><div>", "<!--!><div>--><div>",
)  # fmt: skip


@pytest.mark.parametrize("unit", DEEP)
def test_end_tags_that_close_nothing_hide_no_depth(unit: str) -> None:
    with pytest.raises(TooDeep, match="nested more than 2,000 deep"):
        html_blocks(unit * 5_000)


def test_formatting_that_is_never_closed_makes_no_page_without_end() -> None:
    # A parser opens each again in every later paragraph: 100 kB would become a hundred million elements.
    opened = "".join(f"<p><b id={number}>x" for number in range(1_900))
    with pytest.raises(TooDeep, match="opened again in each paragraph"):
        html_blocks(opened + "<p>x" * 20_000)
    html_blocks("".join(f"<p><b id={number}>x" for number in range(20)) + "<p>x" * 5_000)


NAMES = "div p b a font span li ul table td tr button select svg desc h1 x-y nobr form object math mi caption applet dd"
SOUP = [f"<{end}{name}>" for end in ("", "/") for name in NAMES.split()]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*SOUP, "x", "<g/>", "<b id=@>", "<i class=@>"]), min_size=1, max_size=6))
def test_what_is_let_through_is_as_shallow_as_promised(unit: list[str]) -> None:
    page = "".join("".join(unit).replace("@", str(number)) for number in range(2_600))
    try:
        check_nesting(page)
    except TooDeep:
        return
    body = LexborHTMLParser(page).body
    deepest, above, node = 0, 0, body.child if body is not None else None
    while node is not None:
        if node.child is not None:
            node, above = node.child, above + 1
            deepest = max(deepest, above)
            continue
        while node is not None and node.next is None and above:
            node, above = node.parent, above - 1
        node = node.next if node is not None else None
    assert deepest <= 3 * DEEPEST, "parsers put in what tags leave out: a table's body, a row"


def test_a_header_ends_where_its_text_does() -> None:
    assert outline(html_blocks("<h1>A<p>para 1<p>para 2")) == [(1, "A"), (0, "para 1"), (0, "para 2")]
    assert outline(html_blocks("<h2><div>Install</div><div>Guide</div></h2><p>x")) == [(2, "Install Guide"), (0, "x")]
    assert outline(html_blocks("<h2><p>Title</p></h2>x")) == [(2, "Title"), (0, "x")]
    assert outline(html_blocks("<h2>A<ul><li>one<li>two</ul></h2>")) == [(2, "A"), (0, "- one\n- two")]
    long = "A long text. " * 30
    assert outline(html_blocks(f"<h1>A<div>{long}</div>")) == [(1, "A"), (0, long.strip())]


def test_what_is_hidden_is_left_out_and_what_is_hidden_from_a_reader_of_screens_only_is_not() -> None:
    page = "<h2 hidden>no</h2><h2>Yes</h2><p>a <span hidden>no</span> <b aria-hidden=true>x²</b></p><p hidden>no</p>"
    assert outline(html_blocks(page)) == [(2, "Yes"), (0, "a x²")]


@pytest.mark.parametrize(
    ("front", "kept"),
    [
        ("---\nAn important paragraph.\nMore.\n---\n", True),
        ("---\ntitle: x\nMore of a text.\n---\n", True),
        ("---\ntitle: x\n\n# why\n'a b': >\n  many words\ntags:\n- one\n...\n", False),
        ("---\n---\n", False),
    ],
)
def test_only_settings_are_front_matter(front: str, kept: bool) -> None:
    blocks = markdown_blocks(front + "# A\n\ntext")
    assert outline(blocks)[-2:] == [(1, "A"), (0, "text")]
    assert (len(blocks) > 2) is kept
    assert ("important" in front) == any("important" in block.text for block in blocks)


def test_markdown_headers_of_both_kinds_and_none_in_code() -> None:
    text = """---
title: Front
---
Before

# One `code` and [link](u) #

Setext *two*
---

```python
# no header
```

    # nor here

> # nor in a quote

| a | b |
|---|---|
| 1 | 2 |

<div align="center"><h3>Raw</h3><p>page</p></div>
"""
    assert outline(markdown_blocks(text)) == [
        (0, "Before"),
        (1, "One code and link"),
        (2, "Setext two"),
        (0, "```python\n# no header\n```"),
        (0, "    # nor here"),
        (0, "> # nor in a quote"),
        (0, "| a | b |\n|---|---|\n| 1 | 2 |"),
        (3, "Raw"),
        (0, "page"),
    ]


def test_underlined_titles_of_plain_text_by_their_order() -> None:
    text = "Top\n***\n\nText.\n\n=====\nOver\n=====\nMore\ntext.\n\nSub\n---\n\n   Code\n   ====\n\na | b\n+--+--+\n"
    assert outline(plain_blocks(text)) == [
        (1, "Top"), (0, "Text."), (2, "Over"), (0, "More\ntext."), (3, "Sub"), (0, "   Code\n   ===="),
        (0, "a | b\n+--+--+"),
    ]  # fmt: skip
    assert outline(plain_blocks("One.\n----------------------\n\n-----\n\n.....\n====="))[0] == (1, "One.")


@given(st.lists(st.text("ab=-* \n", max_size=12)))
def test_plain_text_loses_no_word(lines: list[str]) -> None:
    text = "\n".join(lines)
    said = "".join(block.text for block in plain_blocks(text))
    assert said.count("a") == text.count("a")
    assert said.count("b") == text.count("b")


@given(st.lists(st.integers(1, 400), max_size=12))
def test_paragraphs_are_joined_without_loss_and_within_the_window(lengths: list[int]) -> None:
    blocks = [Block("x" * length) for length in lengths]
    found = pieces(blocks, max_characters=500, before_headers=True)
    assert sum(piece.text.count("x") for piece in found) == sum(lengths)
    assert all(len(piece.text) <= 500 for piece in found)
    assert all(piece.heading is None for piece in found)


def test_paragraphs_are_joined_to_pieces_of_like_length() -> None:
    found = pieces([Block("x" * 300)] * 11, max_characters=3000, before_headers=True)
    assert [len(piece.text) for piece in found] == [1810, 1508]
