"""What a suite is: rows as its authors publish them, and what a reply to one of them is worth.

A suite knows no model and no file. Heavy verifiers are imported when a reply is judged, not when a suite is named.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal, NamedTuple

from selfalign.data.formats import Format
from selfalign.measures.metric import Metric
from selfalign.types import Item, MultipleChoice

Row = Mapping[str, Any]
Form = Literal["answers", "answers-per-token", "letters"]


class Verdict(NamedTuple):
    """What a reply is worth in one metric: a value, or None and why it could not be judged.

    `weight` is how many judgements an item stands for (constraints of a prompt, for example): a metric's mean is then
    that over all judgements, not over prompts. It is the item's and not the reply's, and told where there is no value,
    too: two models' values are only comparable if an item weighs alike for both. `category` groups items: where a
    suite's are of several, each is also measured by itself, as `metric:category`.
    """

    metric: str
    value: float | None
    why: str = ""
    weight: float = 1.0
    category: str = ""


Verify = Callable[[Sequence[Item], Sequence[str]], Iterable[tuple[Verdict, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A suite whose replies a program can judge.

    `item_of` turns a row and its id into an item, or raises `Misfit`. `verify` gives the verdicts of every reply, in
    order; replies come from models and are hostile. `runs_code`: judging executes what the model wrote, which a recipe
    must allow by name. `packages` are imported by `verify`; `extra` is the extra that installs them. `ready` says what
    else is missing here and the remedy, or nothing: data that a verifier would silently do without. `data` names what
    some verifiers use where a machine has it.
    """

    name: str
    says: str
    metrics: tuple[Metric, ...]
    formats: tuple[Format, ...]
    item_of: Callable[[Row, str], Item]
    verify: Verify
    max_new_tokens: int
    runs_code: bool = False
    packages: tuple[str, ...] = ()
    extra: str = "suites"
    ready: Callable[[], str] = str
    data: Callable[[], tuple[str, ...]] = tuple

    @property
    def verifiers(self) -> tuple[str, ...]:
        """The packages that judge, with their versions, and `data` of the machine: others may judge otherwise."""
        return (*(f"{name} {version_of(name)}" for name in self.packages), *self.data())

    def missing(self) -> str:
        """Why replies cannot be judged here: a package or data that is absent, with the remedy; nothing if all is."""
        absent = [name for name in self.packages if importlib.util.find_spec(name) is None]
        if not absent:
            why = self.ready()
            return f"suite {self.name!r}: {why}" if why else ""
        return f"suite {self.name!r} needs {', '.join(absent)}: pip install 'selfalign[{self.extra}]'"


def version_of(package: str) -> str:
    """The version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceSuite:
    """A suite whose items offer options: the model's is the likeliest, in the form the suite is usually read in."""

    name: str
    says: str
    formats: tuple[Format, ...]
    item_of: Callable[[Row, str], MultipleChoice]
    form: Form

    @property
    def names(self) -> tuple[str, str]:
        """What its two readings are called."""
        return f"{self.name}_mc1", f"{self.name}_mc2"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The likeliest option is right (accuracy), and the probability of all right ones."""
        single, several = self.names
        return (
            Metric(single, "higher", f"{self.says}: items whose likeliest option is right; a tie is wrong", True),
            Metric(several, "higher", f"{self.says}: share of the probability that the right options have", True),
        )

    def missing(self) -> str:
        """Nothing: choices need no package."""
        return ""
