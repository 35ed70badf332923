"""What a row of a question file asks, and the reference answer it has, if it has one. Pure.

Known are AlpacaEval (`instruction`, `output`: the reference answer), MT-Bench (`turns`, perhaps `reference`), Vicuna
(`turns`, or `text`) and every form that is read as a prompt and perhaps an answer. Of several turns the first is asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from selfalign.data.formats import chat_of
from selfalign.data.turns import Misfit, shown, text_at, without_nothing
from selfalign.types import Item

Row = Mapping[str, Any]


def question_of(row: Row, identifier: str) -> Item:
    """The question of a row; `given` holds its reference answer (or null), its category and how many turns it has.

    `question_id` serves as the id where there is no `id`.

    Raises:
        Misfit: the row has no known format, no user message, or a value of the wrong type.
    """
    row = without_nothing(row)
    chat = chat_of(row, identifier, answers=False)
    reference = chat.answer if "reference" not in row else first_reference(row["reference"])
    turns = row["turns"] if isinstance(row.get("turns"), list) else [None]
    given = {
        "reference": reference if reference and reference.strip() else None,
        "category": category_of(row),
        "turns": len(turns),
    }
    return Item(id=named(row, identifier), prompt=chat.prompt, given=json.dumps(given, sort_keys=True))


def first_reference(value: Any) -> str:
    """The reference answer to the first turn: MT-Bench lists one a turn."""
    first = value[0] if isinstance(value, list) and value else value
    if first == []:
        return ""
    if not isinstance(first, str):
        raise Misfit(f"'reference' must be a text or a list of texts, one a turn, not {shown(value)}")
    return text_at({"reference": first}, "reference")


def category_of(row: Row) -> str:
    """What kind of question it is, as far as the row says: MT-Bench's category, AlpacaEval's data set."""
    name = next((name for name in ("category", "dataset") if isinstance(row.get(name), str)), "")
    return str(row[name]) if name else ""


def named(row: Row, identifier: str) -> str:
    """The id of a question: its number in the published file where it has no id of its own."""
    number = row.get("question_id")
    if "id" in row or number is None:
        return identifier
    if isinstance(number, bool) or not isinstance(number, int | str) or not str(number).strip():
        raise Misfit(f"'question_id' must be a number or a text, not {shown(number)}")
    return str(number)
