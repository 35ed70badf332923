"""What the command says of its grades: their spread, what was not read, and how far they agree with gold ones."""

from __future__ import annotations

from selfalign.grade_command.gold import Gold
from selfalign.grade_command.output import Graded
from selfalign.grading.calibration import Agreement
from selfalign.grading.scores import Tally
from selfalign.measures.intervals import Interval


def summary(graded: Graded) -> tuple[str, ...]:
    """A few lines about all the grades."""
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
    if graded.gold is not None and graded.agreement is not None:
        lines += agreement_lines(graded.agreement, graded.gold)
    return tuple(lines)


def agreement_lines(found: Agreement, gold: Gold) -> list[str]:
    """How far grades agree with gold grades, in words."""
    precision = share(found.precision) if found.precision.items else "undefined, no row was kept"
    lines = [
        f"gold: {found.rows:,} rows, {100 * found.good_share:.1f} % of them at {found.gold_threshold:g} or more, "
        "which is the precision of keeping any row",
        f"precision {precision}; recall {share(found.recall)}",
        f"among its best {found.good:,}, as many as are good: {best(found)}",
        f"rank correlation {number(found.rank_correlation)}; of answer length with gold "
        f"{number(found.gold_by_length)}, with the grades given {number(found.grade_by_length)}",
        "mean grades: "
        + "; ".join(
            f"gold {level.gold:g}: {'no grade' if level.mean is None else f'{level.mean:.2f}'}"
            for level in found.levels
        ),
    ]
    if gold.rows_without or gold.ids_without_row:
        lines.append(
            f"not compared: {gold.rows_without:,} rows without a gold grade, {gold.ids_without_row:,} gold grades "
            "whose id no row has"
        )
    return lines


def best(found: Agreement) -> str:
    """How many of the rows graded highest are good."""
    if found.best_precision is None:
        return "undefined, fewer rows have a grade"
    return f"{found.best_precision * found.good:.3g} ({100 * found.best_precision:.1f} %)"


def number(correlation: float | None) -> str:
    """A rank correlation in words."""
    return "not defined" if correlation is None else f"{correlation:+.3f}"


def share(found: Interval) -> str:
    """A share with its interval."""
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}] ({found.items:,} rows)"
