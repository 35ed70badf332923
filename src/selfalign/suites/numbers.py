"""GSM8K: a word problem's answer is a number, read behind the mark #### or else from the end of the reply."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal

from selfalign.data.formats import Format, known_format, of_question
from selfalign.data.turns import Misfit, asked, text_at
from selfalign.measures.metric import Metric
from selfalign.suites.suite import Row, Suite, Verdict
from selfalign.types import Item

# A sign only where nothing stands before it (10-15 is no -15), commas only between groups of three (3,4 is no 34);
# bounded, since replies are hostile.
NUMBER = r"(?:(?<![\w)\]])[-−])?(?:[$€£]-?)?(?:\d{1,3}(?:,\d{3}){1,12}(?!\d)|\d{1,40})(?:\.\d{1,40})?"
ANYWHERE = re.compile(NUMBER)
# The mark before the answer in the published file, which some models write, too. Whatever they go on to write behind
# it, another problem for example, is not looked at: the authors' script takes the first.
MARKED = re.compile(rf"####[ \t]{{0,4}}({NUMBER})")
FORMATS: tuple[Format, ...] = (known_format("question + answer", "question answer", of_question),)


def item_of(row: Row, identifier: str) -> Item:
    """A question and the number its answer ends with, after `####`."""
    prompt = asked(text_at(row, "question"), "question")
    found = MARKED.findall(text_at(row, "answer"))
    if not found:
        raise Misfit("'answer' must end with #### and a number")
    return Item(id=identifier, prompt=prompt, given=json.dumps({"number": str(value_of(found[-1]))}))


def verify(items: Sequence[Item], replies: Sequence[str]) -> Iterator[tuple[Verdict, ...]]:
    """Whether the number behind the mark, or else the last one of the reply, equals the right one."""
    for item, reply in zip(items, replies, strict=True):
        right = Decimal(json.loads(item.given)["number"])
        found = answer_in(reply)
        why = "no number in the reply" if found is None else "" if found == right else f"{found} instead of {right}"
        yield (Verdict("gsm8k", float(found == right), why),)


def answer_in(reply: str) -> Decimal | None:
    """The number a reply gives as its answer, if any."""
    marked = MARKED.search(reply)
    if marked:
        return value_of(marked[1])
    found = ANYWHERE.findall(reply)
    return value_of(found[-1]) if found else None


def value_of(written: str) -> Decimal:
    """What a number with signs of currency and thousands means."""
    return Decimal(re.sub(r"[$€£,]", "", written.replace("−", "-")).removeprefix("--"))


GSM8K = Suite(
    name="gsm8k",
    says="grade-school word problems (Cobbe et al., 2110.14168)",
    metrics=(Metric("gsm8k", "higher", "word problems whose number is right", True),),
    formats=FORMATS,
    item_of=item_of,
    verify=verify,
    max_new_tokens=256,
)
