"""Which controls each method has, and the question each answers. A new one is an entry here and a few changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfalign.controls import changes as of
from selfalign.controls.changes import Changes, Main
from selfalign.errors import RecipeError
from selfalign.references import nearest


@dataclass(frozen=True, slots=True)
class Control:
    """A control: its name, what a sentence calls it, what it is in a line, and what it changes in the recipe.

    `equal`: what of its budget equals the run's, in words; empty where nothing is claimed.
    """

    name: str
    called: str
    says: str
    equal: str
    changes: Callable[[Main], Changes]


ALL_STEPS = "optimiser steps of all rounds together"
EACH_ROUND = "rows and optimiser steps, round by round"

CONTROLS: dict[str, tuple[Control, ...]] = {
    "spin": (
        Control(
            "one-long-round", "one long round",
            "round 0's pairs alone, against answers of the base, trained for as many steps as all rounds together",
            ALL_STEPS, of.one_round,
        ),
        Control(
            "same-budget-sft", "supervised fine-tuning of the same budget",
            "maximum likelihood of the same human answers, with as many steps and sequences round by round",
            "optimiser steps and sequences, round by round", of.spin_fine_tuned,
        ),
    ),
    "diverse_evol": (
        Control(
            "one-long-round", "one long round",
            "the random start rows alone, trained for as many steps as all rounds together",
            ALL_STEPS, of.start_alone,
        ),
        Control(
            "random", "random selection",
            "as many rows in every round, drawn by chance from the same start",
            EACH_ROUND, of.rows_at_random,
        ),
        Control(
            "frozen-embedder", "a frozen embedder",
            "every choice made in the space of the base, so that no round looks through the one before",
            EACH_ROUND, of.eyes_of_the_base,
        ),
        Control(
            "same-budget-sft", "supervised fine-tuning on the whole pool",
            "all rows of the pool, trained for as many steps as all rounds together",
            ALL_STEPS, of.pool_fine_tuned,
        ),
    ),
    "humpback": (
        Control(
            "one-long-round", "one long round",
            "what the first curation kept, trained for as many steps as all curated rounds together",
            ALL_STEPS, of.first_curation_alone,
        ),
        Control(
            "random", "random selection",
            "as many candidates in every round, drawn by chance instead of graded",
            EACH_ROUND, of.candidates_at_random,
        ),
        Control(
            "uncurated", "uncurated data",
            "every candidate, whatever its grade, trained for as many steps as the last round",
            "optimiser steps of the last round", of.every_candidate,
        ),
        Control(
            "same-budget-sft", "supervised fine-tuning on the seeds",
            "the human seed pairs alone, trained for as many steps as all rounds together",
            ALL_STEPS, of.seeds_fine_tuned,
        ),
    ),
    "i_sheep": (
        Control(
            "one-long-round", "one long round",
            "the base invents and answers at once as many tasks as all rounds, trained for as many steps",
            ALL_STEPS, of.all_written_by_base,
        ),
        Control(
            "random", "random selection",
            "as many pairs in every round, drawn by chance instead of graded",
            EACH_ROUND, of.pairs_at_random,
        ),
        Control(
            "uncurated", "uncurated data",
            "every pair that breaks no rule, none graded, each round with as many steps as the run's last",
            "optimiser steps of the last round", of.every_pair,
        ),
        Control(
            "frozen-grader", "a frozen grader", "the base grades in every round, not the model of the round",
            "", of.graded_by_base,
        ),
    ),
    "self_align": (
        Control(
            "one-long-round", "one long round",
            "the engraved answers alone, trained for as many steps as both rounds together",
            ALL_STEPS, of.one_round,
        ),
    ),
    "soft": (
        Control(
            "one-long-round", "one long round",
            "the base answers all prompts at once, trained for as many steps as all rounds together",
            ALL_STEPS, of.all_answered_by_base,
        ),
        Control(
            "frozen-generator", "a frozen generator", "the base answers in every round, not the model of the round",
            "", of.written_by_base,
        ),
        Control(
            "random-order", "prompts in any order", "prompts split over rounds by chance, not from easy to hard",
            "", of.in_any_order,
        ),
    ),
    "sft": (),
}  # fmt: skip


def controls_of(method: str, names: Sequence[str] = ()) -> tuple[Control, ...]:
    """The controls of a method, or those that are named.

    Raises:
        RecipeError: it has none, or not one of that name.
    """
    found = CONTROLS.get(method, ())
    if not found:
        raise RecipeError(
            f"method '{method}' has no controls: leave out --controls; methods that have some: "
            f"{', '.join(name for name, some in CONTROLS.items() if some)}"
        )
    known = [one.name for one in found]
    for name in names:
        if name not in known:
            raise RecipeError(
                f"--controls: method '{method}' has no control {name!r}{nearest(name, known)}; "
                f"known: {', '.join(known)}"
            )
    return tuple(one for one in found if not names or one.name in names)
