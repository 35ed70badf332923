"""The generated part of `docs/performance.md`: one table, notes and machine facts; what is written by hand stays.

Rows that were not measured this time keep their former text with their date. Each line carries its row's name in a
comment, which is how it is found again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import Row, spread

BEGIN = "<!-- measured: begin; everything up to the end mark is written by `make bench` -->"
END = "<!-- measured: end -->"
HEADINGS = (
    "stage", "peer, same run", "unit", "ours", "peer", "ratio, or what is judged", "must → aim", "met",
    "machine's limit", "measured",
)  # fmt: skip
MARKED = re.compile(r"<!-- (?P<kind>row|note|run) (?P<name>[^>]*?) -->")


@dataclass(frozen=True, slots=True)
class Lines:
    """The generated lines by what they tell: table lines and notes by row, facts by the time of a run."""

    row: dict[str, str]
    note: dict[str, str]
    run: dict[str, str]


def read(page: str) -> Lines:
    """The generated lines of a page.

    Raises:
        SystemExit: the page lacks the marks between which it is written.
    """
    if BEGIN not in page or END not in page:
        raise SystemExit(f"the page lacks the lines\n{BEGIN}\n{END}")
    found = Lines({}, {}, {})
    for line in page.split(BEGIN)[1].split(END)[0].splitlines():
        if mark := MARKED.search(line):
            getattr(found, mark["kind"])[mark["name"]] = line
    return found


def table_line(row: Row, when: str) -> str:
    """A row of the table."""
    cells = (
        row.stage, row.peer, row.unit, spread(row.ours), spread(row.theirs) if row.theirs else "–",
        f"**{spread(row.judged)}** {row.demand.unit.strip()}", row.demand.told(), "yes" if row.met else "**no**",
        row.limit or "–", f"{when} <!-- row {row.id} -->",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def note_line(row: Row) -> str:
    """What a row measured."""
    beside = "" if row.peer == "–" else f", beside {row.peer}"
    return f"- <!-- note {row.id} --> **{row.stage}**{beside}: {row.note}"


def table(lines: Sequence[str]) -> str:
    """Lines under their headings."""
    return "\n".join((f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|", *lines))


def updated(page: str, rows: Sequence[Row], *, facts: str, when: str, order: Sequence[str]) -> str:
    """The page with these rows in place of what their topics measured before; `order` lists the topics."""
    old = read(page)
    topics = {topic_of(row.id) for row in rows}
    table_lines = {name: line for name, line in old.row.items() if topic_of(name) not in topics}
    table_lines |= {row.id: table_line(row, when) for row in rows}
    notes = {name: line for name, line in old.note.items() if name in table_lines}
    notes |= {row.id: note_line(row) for row in rows}
    shown = sorted(table_lines, key=lambda name: order.index(topic_of(name)))
    runs = {**old.run, when: f"- <!-- run {when} --> **{when}**: {facts}"}
    runs = {name: line for name, line in runs.items() if any(f"| {name} <!--" in line for line in table_lines.values())}
    parts = (
        BEGIN,
        table([table_lines[name] for name in shown]),
        "Each figure is minimum / median / maximum over the turns of one run. What was measured:",
        "\n".join(notes[name] for name in shown if name in notes),
        "The machine, run by run:",
        "\n".join(runs[name] for name in sorted(runs)),
        END,
    )
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    return before + "\n\n".join(parts) + after


def topic_of(row: str) -> str:
    """The topic that measures a row."""
    return row.partition("/")[0]


def write(path: Path, rows: Sequence[Row], *, facts: str, when: str, order: Sequence[str]) -> None:
    """Put the rows into the page."""
    path.write_text(updated(path.read_text("utf-8"), rows, facts=facts, when=when, order=order), "utf-8")
