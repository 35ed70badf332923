"""The options of `selfalign grade`, as data: names, choices and what each is for. Their meaning is elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from selfalign.cli.selecting import option

GRADE = (
    "Grade every row of a dataset (prompt and answer) with a model, and say how far its grades agree with gold "
    "grades. Trains nothing, keeps nothing out. For example: selfalign grade embedded:grading-gold#all --model "
    "embedded:smollm2 --reading distribution --gold field:grade. Run it again to resume."
)
READINGS = ("reasoned", "reasoned-choice", "distribution")
GRADE_OPTIONS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "how rows are graded": (
        ("--model", {"help": "the grader, such as embedded:smollm2", "required": True, "metavar": "REF"}),
        (
            "--rubric",
            {
                "help": "backtranslation (default), additive, helpful-10, or a .yaml or .json file with one",
                "default": "backtranslation",
                "metavar": "NAME|FILE",
            },
        ),
        (
            "--reading",
            {
                "help": "reasons and a parsed score (default), reasons and then the likeliest score, or no reasons "
                "and the expected score of the distribution",
                "choices": READINGS,
                "default": "reasoned",
            },
        ),
        option("--max-new-tokens", "room for reasons and score (default: 512)", type=int, metavar="TOKENS"),
        option("--temperature", "of the reasons (default: 0, greedy)", type=float),
        option("--seed", "the draw of a temperature above 0 (default: 0)", type=int),
    ),
    "agreement with gold grades": (
        option("--gold", "field:NAME of the data, or a file with id and grade", metavar="FIELD|FILE"),
        option("--threshold", "from which grade a row counts as kept (default: the scale's top less 1)", type=float),
        option("--gold-threshold", "from which gold grade a row is good (default: as --threshold)", type=float),
    ),
    "how a model reads and where it works": (
        option(
            "--prompt", "how a prompt is written (default: chat)", choices=("chat", "instruction-response", "alpaca")
        ),
        option("--max-length", "rows that need more tokens are not graded (default: 2048)", type=int, metavar="TOKENS"),
        option("--device", "auto (default), cpu, cuda, …"),
        option("--dtype", "the precision (default: float32)", choices=("float32", "bfloat16")),
        (
            "--store",
            {"help": "where results are kept (%(default)s)", "type": Path, "default": Path("runs/.store")},
        ),
    ),
}
