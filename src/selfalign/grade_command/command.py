"""From a wish to a folder with grades: pin, plan, compute in the store, compare with gold grades, write.

Everything that can be refused is refused before a model is opened. A killed command goes on from what is finished;
another reading of the same reasons generates nothing again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from selfalign import weights
from selfalign.data.sources import count, pinned
from selfalign.errors import RecipeError
from selfalign.folder import RunFolder
from selfalign.grade_command.output import OWN, Graded, Output, write_output
from selfalign.grade_command.wish import Wish, gold_of
from selfalign.grading.calibration import Agreement, agreement
from selfalign.grading.scores import Tally
from selfalign.loop import Plan
from selfalign.measures.intervals import Interval
from selfalign.place import adapters
from selfalign.ports import Observer
from selfalign.run import Run
from selfalign.stage import asking
from selfalign.stages.grade import Grading, grade
from selfalign.stages.load import load_chats
from selfalign.store import Store
from selfalign.types import Chat, Grade, Model, Rendering, Source, Table

BOOTSTRAP_SEED = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A wish with everything it names pinned: what the calls are made from."""

    source: Source
    model: Model
    grading: Grading
    rendering: Rendering
    seed: int
    threshold: float
    gold: dict[str, float] | None
    gold_threshold: float


@dataclass(frozen=True, slots=True)
class Done:
    """What the command left, and what it says."""

    output: Output
    summary: tuple[str, ...]
    calls_made: int


def grade_rows(wish: Wish, *, observers: tuple[Observer, ...] = ()) -> Done:
    """Grade every row of a file or set as a wish says, and write the grades and how far they agree with gold ones.

    Raises:
        RecipeError: the wish, the data, the rubric, the gold grades or the folder do not do; no model was opened.
        StageError: a stage failed; what was finished is kept.
        StoreError: another command works in the folder, or the disk is full.
    """
    wish.check()
    order = ordered(wish)
    store = Store(wish.store)
    folder = wish.output or Path("graded") / f"{order.source.format.partition(':')[2]}-{order.grading.scale().name}"
    OWN.check_free(folder, wish.data, named=wish.output is not None)
    plan = Plan(store)
    with asking(plan):
        calls(order)
    with RunFolder(folder).held():
        engine, trainer, executor = adapters(wish.place())
        run = Run(store, executor, engine, trainer, observers, base=order.model.ref, round="grade")
        with asking(run):
            chats, grades = calls(order)
        rows, given = tuple(store.rows(chats.key)), tuple(store.rows(grades.key))
        graded = Graded(rows, given, order.grading.scale(), order.threshold, compared(given, order), wish.data)
        output = write_output(graded, order.source, folder, run.asked)
        return Done(output, summary(graded), sum(not call.made for call in plan.calls))


def ordered(wish: Wish) -> Order:
    """The wish with its data, model, rubric and gold grades at hand."""
    source, grading = pinned(wish.data), wish.grading()
    if count(source) == 0:
        raise RecipeError(f"{source.ref}: holds no row: it must hold at least one")
    rubric = grading.scale()
    threshold = float(rubric.highest - 1) if wish.threshold is None else wish.threshold
    if not rubric.lowest <= threshold <= rubric.highest:
        raise RecipeError(
            f"--threshold {threshold:g} is not on the scale of rubric {rubric.name!r}, {rubric.lowest} to "
            f"{rubric.highest}"
        )
    gold = gold_of(wish.gold, source) if wish.gold is not None else None
    gold_threshold = threshold if wish.gold_threshold is None else wish.gold_threshold
    if gold is not None and not any(value >= gold_threshold for value in gold.values()):
        raise RecipeError(
            f"no gold grade reaches {gold_threshold:g} (they go from {min(gold.values()):g} to "
            f"{max(gold.values()):g}): say from which on a row is good with --gold-threshold"
        )
    return Order(
        source=source, model=weights.pinned(wish.model), grading=grading, rendering=wish.rendering(),
        seed=wish.seed or 0, threshold=threshold, gold=gold, gold_threshold=gold_threshold,
    )  # fmt: skip


def calls(order: Order) -> tuple[Table[Chat], Table[Grade]]:
    """Every stage call: the data are read before a model is asked."""
    chats = load_chats(order.source, answers=True)
    return chats, grade(order.model, chats, grading=order.grading, rendering=order.rendering, seed=order.seed)


def compared(grades: tuple[Grade, ...], order: Order) -> Agreement | None:
    """How far the grades agree with the gold ones, over the rows that have one."""
    if order.gold is None:
        return None
    both = [one for one in grades if one.id in order.gold]
    return agreement(
        both, order.gold, threshold=order.threshold, gold_threshold=order.gold_threshold, seed=BOOTSTRAP_SEED
    )


def summary(graded: Graded) -> tuple[str, ...]:
    """A few lines: how the grades are spread, what was not read, and how far they agree with people."""
    tally = Tally(graded.rubric)
    for one in graded.grades:
        tally.passed(one)
    facts, total = tally.facts(), len(graded.grades)
    kept = sum(one.value is not None and one.value >= graded.threshold for one in graded.grades)
    spread = ", ".join(f"{score}: {number:,}" for score, number in facts["values"].items())
    lines = [
        f"{total:,} rows of {graded.data} graded by {graded.rubric.name}; {kept:,} have {graded.threshold:g} or more",
        f"nearest whole grades: {spread}",
    ]
    if facts["unread"]:
        reasons = "; ".join(f"{why} ({number:,})" for why, number in facts["unread"].items())
        lines.append(f"without a grade: {100 * facts['unread_share']:.1f} %: {reasons}")
    if graded.agreement is not None:
        lines += agreement_lines(graded.agreement)
    return tuple(lines)


def agreement_lines(found: Agreement) -> list[str]:
    """How far grades agree with gold grades, in words."""
    precision = share(found.precision) if found.precision.items else "undefined, no row was kept"
    correlation = "not defined" if found.rank_correlation is None else f"{found.rank_correlation:+.3f}"
    levels = "; ".join(
        f"gold {level.gold:g}: {'no grade' if level.mean is None else f'{level.mean:.2f}'}" for level in found.levels
    )
    return [
        f"gold: {found.rows:,} rows, {100 * found.good_share:.1f} % of them at {found.gold_threshold:g} or more, "
        "which is the precision of keeping any row",
        f"precision {precision}; recall {share(found.recall)}",
        f"rank correlation {correlation}; mean grades: {levels}",
    ]


def share(found: Interval) -> str:
    """A share with its interval."""
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] ({found.items:,} rows)"
