"""GSM8K: a word problem's answer is a number, read from the end of the reply."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation

from selfalign.data.formats import Format, known_format, of_question
from selfalign.data.turns import Misfit, asked, text_at
from selfalign.measures.metric import Metric
from selfalign.suites.suite import Row, Suite, Verdict
from selfalign.types import Item

# The mark before the answer in the published file, which some models write, too.
MARK = "####"
NUMBER = re.compile(r"-?\$?\d[\d,]{0,40}(?:\.\d{1,40})?")
FORMATS: tuple[Format, ...] = (known_format("question + answer", "question answer", of_question),)


def item_of(row: Row, identifier: str) -> Item:
    """A question and the number its answer ends with, after `####`."""
    prompt = asked(text_at(row, "question"), "question")
    answer = text_at(row, "answer")
    _, mark, last = answer.rpartition(MARK)
    value = number_in(last) if mark else None
    if value is None:
        raise Misfit(f"'answer' must end with {MARK} and a number")
    return Item(id=identifier, prompt=prompt, given=json.dumps({"number": str(value)}))


def verify(items: Sequence[Item], replies: Sequence[str]) -> Iterator[tuple[Verdict, ...]]:
    """Whether the number after the mark, or else the last one of the reply, equals the right one."""
    for item, reply in zip(items, replies, strict=True):
        right = Decimal(json.loads(item.given)["number"])
        _, mark, last = reply.rpartition(MARK)
        found = number_in(last) if mark else last_number(reply)
        why = "no number in the reply" if found is None else "" if found == right else f"{found} instead of {right}"
        yield (Verdict("gsm8k", float(found == right), why),)


def number_in(text: str) -> Decimal | None:
    """The first number of a text."""
    found = NUMBER.search(text)
    return None if found is None else value_of(found[0])


def last_number(text: str) -> Decimal | None:
    """The last number of a text."""
    found = NUMBER.findall(text)
    return value_of(found[-1]) if found else None


def value_of(written: str) -> Decimal | None:
    """What a number with signs of currency and thousands means."""
    try:
        return Decimal(written.replace("$", "").replace(",", "")).normalize()
    except InvalidOperation:
        return None


GSM8K = Suite(
    name="gsm8k",
    says="grade-school word problems (Cobbe et al., 2110.14168)",
    metrics=(Metric("gsm8k", "higher", "word problems whose number is right", True),),
    formats=FORMATS,
    item_of=item_of,
    verify=verify,
    max_new_tokens=256,
)
