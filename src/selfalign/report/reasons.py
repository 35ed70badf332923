"""`why.csv`: for every chosen row its place in the data, the value it was chosen by and the row it was nearest to.

Spreadsheets run cells that look like formulas, and data is written by strangers: no cell that holds foreign text
begins like one, wherever a spreadsheet may cut the line.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

from selfalign.report.selection import Seen, asked_of
from selfalign.report.selection_terms import VALUES
from selfalign.report.visible import visible

PROMPT_CHARACTERS = 80
# At the start of a cell, and after whatever a spreadsheet of another country takes for the end of one.
FORMULA = re.compile(r"(^|[;,|\t])(\s*)(?=[=+\-@＝＋－＠])")


def why_text(seen: Seen, places: Sequence[int], *, unit: str) -> str:
    """The table as text: a header, then the choices in order; `places` are those of the rows in the data."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("order", "id", unit, "by", "value", "value_is", "nearest", "prompt"))
    prompts = {chat.id: asked_of(chat) for chat in seen.pool}
    for choice, place in zip(seen.choices, places, strict=True):
        value = "" if choice.value is None else repr(choice.value)
        means = "" if choice.value is None else VALUES[seen.by].says
        texts = (plain_cell(choice.nearest or ""), plain_cell(prompts[choice.id][:PROMPT_CHARACTERS]))
        writer.writerow((choice.order + 1, plain_cell(choice.id), place, choice.by, value, means, *texts))
    return file.getvalue()


def plain_cell(text: str) -> str:
    """Foreign text on one line, nothing invisible in it, with an apostrophe before what would be a formula."""
    return FORMULA.sub(r"\1\2'", " ".join(visible(text).split()))
