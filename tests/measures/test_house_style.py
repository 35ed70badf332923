"""The house style: each rule broken alone is named alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfalign.measures.house_style import follows_house_style, house_style_faults

FIRST = "Answer: Blot the stain at once and rinse it with cold water."
SECOND = "Why: Fresh wine has not yet settled into the fibers."
GOOD = f"{FIRST}\n{SECOND}"


@pytest.mark.parametrize(
    "answer",
    [
        GOOD,
        f" {GOOD}\n\n",
        GOOD.replace("wine", "US wine: half-dry, 20-year-old"),
        GOOD.replace("wine", "focus of ice in Rome"),
        GOOD.replace("wine has", "wine's colour lets it be seen as it has"),
    ],
)
def test_good_answers(answer: str) -> None:
    assert house_style_faults(answer) == []
    assert follows_house_style(answer)


@pytest.mark.parametrize(
    ("answer", "faults"),
    [
        (f"{FIRST} {SECOND}", ["two lines", "labels", "one sentence a line"]),
        (f"{FIRST}\n\n{SECOND}", ["two lines", "labels", "one sentence a line"]),
        (f"{FIRST}\r\n{SECOND}", ["two lines", "one sentence a line", "plain ASCII"]),
        (f"{SECOND}\n{FIRST}", ["labels"]),
        (GOOD.replace("Answer:", "answer:"), ["labels"]),
        (GOOD.replace("Answer: ", "Answer:"), ["labels"]),
        (GOOD[:-1], ["one sentence a line"]),
        (GOOD[:-1] + "!", ["one sentence a line"]),
        (GOOD.replace("wine has", "wine. It has"), ["one sentence a line"]),
        (GOOD.replace("wine has", "3.5 percent has"), ["one sentence a line"]),
        (GOOD.replace("water.", "water. "), ["one sentence a line"]),
        (GOOD.replace(SECOND, "Why: ."), ["one sentence a line"]),
        ("Answer: Paris.\nWhy: It is the seat of government.", ["14 to 44 words"]),
        (GOOD.replace("wine", "wine " + "x " * 30), ["14 to 44 words"]),
        (GOOD.replace("wine", "w" * 200), ["at most 260 characters"]),
        (GOOD.replace("wine", "*wine*"), ["no markup"]),
        (GOOD.replace("wine", "(red) wine"), ["no markup"]),
        (GOOD.replace("wine", "`wine`"), ["no markup"]),
        (GOOD.replace("Why: ", "Why: - "), ["no markup"]),
        (GOOD.replace("wine", "wine on your shirt"), ["no first or second person"]),
        (GOOD.replace("wine", "wine, you know,"), ["no first or second person"]),
        (GOOD.replace("wine", "I'm sure wine"), ["no first or second person"]),
        (GOOD.replace("wine", "Let's say wine"), ["no first or second person"]),
        (GOOD.replace("wine", "wine about-us"), ["no first or second person"]),
        (GOOD.replace("wine", "rosé"), ["plain ASCII"]),
        (GOOD.replace("wine", "wine\tred"), ["plain ASCII"]),
        ("", ["two lines", "labels", "one sentence a line", "14 to 44 words"]),
    ],
)
def test_each_rule_is_named(answer: str, faults: list[str]) -> None:
    assert house_style_faults(answer) == faults
    assert not follows_house_style(answer)


@given(st.text())
def test_any_text_gets_a_verdict(answer: str) -> None:
    assert follows_house_style(answer) is (not house_style_faults(answer))
