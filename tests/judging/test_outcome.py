"""Two orders, one outcome: won or lost only if both say so."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some

from selfalign.judging.outcome import counted, outcome
from selfalign.judging.verdict import EMPTY, NO_VERDICT, Letter, Verdict

LETTERS = some.sampled_from(get_args(Letter))
VERDICTS = some.one_of(LETTERS.map(Verdict), some.sampled_from((EMPTY, NO_VERDICT)).map(lambda why: Verdict(None, why)))


@pytest.mark.parametrize(
    ("ab", "ba", "value", "inconsistent"),
    [
        ("A", "B", 1.0, False),
        ("B", "A", 0.0, False),
        ("C", "C", 0.5, False),
        ("A", "A", 0.5, True),
        ("B", "B", 0.5, True),
        ("A", "C", 0.5, True),
        ("C", "B", 0.5, True),
    ],
)
def test_both_orders_decide(ab: Letter, ba: Letter, value: float, inconsistent: bool) -> None:
    found = outcome(Verdict(ab), Verdict(ba))
    assert (found.value, found.inconsistent, found.why) == (value, inconsistent, "")


@given(VERDICTS, VERDICTS)
def test_swapping_the_two_sides_flips_the_result(ab: Verdict, ba: Verdict) -> None:
    # Seen from the other side, what was asked with one's own answer first was asked with it second.
    one, other = outcome(ab, ba), outcome(ba, ab)
    assert one.inconsistent == other.inconsistent
    if one.value is None or other.value is None:
        assert one.value is other.value is None
        assert one.why
        assert other.why
    else:
        assert one.value == 1 - other.value


def test_an_unread_order_leaves_no_number() -> None:
    assert outcome(Verdict("A"), Verdict(None, EMPTY)).why == f"{EMPTY} (own answer second)"
    assert outcome(Verdict(None, EMPTY), Verdict(None, EMPTY)).why == EMPTY
    both = outcome(Verdict(None, EMPTY), Verdict(None, NO_VERDICT)).why
    assert both == f"{EMPTY} (own answer first); {NO_VERDICT} (own answer second)"


@given(some.lists(some.tuples(VERDICTS, VERDICTS)))
def test_every_question_is_counted_once(pairs: list[tuple[Verdict, Verdict]]) -> None:
    outcomes = [outcome(*pair) for pair in pairs]
    counts = counted(outcomes)
    assert counts.questions == len(outcomes)
    assert counts.unread == sum(one.value is None for one in outcomes)
    assert counts.wins + counts.losses == sum(one.value in (0.0, 1.0) for one in outcomes)
