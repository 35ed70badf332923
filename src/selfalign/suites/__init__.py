"""Suites: published test sets behind one interface, each read from a local file as its authors publish it."""

from selfalign.suites.answers import ANSWERS
from selfalign.suites.choices import CHOICES
from selfalign.suites.instructions import IFBENCH, IFEVAL
from selfalign.suites.numbers import GSM8K
from selfalign.suites.procedural import REASONING_GYM
from selfalign.suites.programs import HUMANEVAL, MBPP
from selfalign.suites.suite import ChoiceSuite, Suite, Verdict

SUITES: dict[str, Suite | ChoiceSuite] = {
    suite.name: suite for suite in (GSM8K, *ANSWERS, IFEVAL, IFBENCH, REASONING_GYM, HUMANEVAL, MBPP, *CHOICES)
}
"""Every suite by its name, in the order in which documentation shows them."""

__all__ = ["SUITES", "ChoiceSuite", "Suite", "Verdict"]
