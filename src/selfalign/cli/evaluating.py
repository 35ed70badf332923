"""The options of `selfalign eval`, and how it prints. What they mean is elsewhere."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from selfalign.cli.selecting import option

EVAL = (
    "Measure a model with published test sets, without a recipe or a run: one number with its 95 % interval for every "
    "metric, and a file with every item. MODEL is a reference as recipes take it (embedded:smollm2, path:folder, "
    "hf:org/name@revision), or a run's folder, which stands for the model it kept, or FOLDER@ROUND. Name each suite "
    "and the file with its items as its authors publish them; without --data a small sample of own items is used, and "
    "the output says so. For example: selfalign eval runs/x --suite gsm8k --data gsm8k_test.jsonl --suite mmlu --data "
    "mmlu.csv --limit 200. Run it again to resume; 'selfalign compare' takes the folders it writes."
)
FORMS = ("answers", "answers-per-token", "letters")


class NamedSuite(argparse.Action):
    """Begins a suite, as yet without a file."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: str | Sequence[Any] | None, _: str | None = None
    ) -> None:
        """Add the suite."""
        namespace.suites = [*namespace.suites, (values, None)]


class FileOfSuite(argparse.Action):
    """Gives the suite that was named last its file."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: str | Sequence[Any] | None, _: str | None = None
    ) -> None:
        """Put the file to the suite."""
        if not namespace.suites or namespace.suites[-1][1] is not None:
            parser.error(f"--data {values}: name its suite before it: --suite NAME --data {values}")
        *before, (name, _none) = namespace.suites
        namespace.suites = [*before, (name, values)]


EVAL_OPTIONS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "what it is measured with": (
        (
            "--suite",
            {"action": NamedSuite, "dest": "suites", "default": (), "metavar": "NAME",
             "help": "a suite; as often as wanted, each followed by its --data"},
        ),
        (
            "--data",
            {"action": FileOfSuite, "dest": "suites", "default": (), "metavar": "FILE",
             "help": "the items of the suite before it (default: a sample that ships with selfalign)"},
        ),
        option("--held-out", "human answers: how likely they are, and the model's own beside them", metavar="FILE"),
        option("--limit", "measure with the first so many rows of every file", type=int, metavar="ROWS"),
    ),
    "how it is measured": (
        option("--max-new-tokens", "room for a reply (default: as each suite's usually need)", type=int,
               metavar="TOKENS"),
        option("--form", "how options are weighed (default: as each suite usually is)", choices=FORMS),
        (
            "--allow-code",
            {"action": "append", "default": [], "metavar": "NAME",
             "help": "let this suite run the code that the model writes, in a locked-down process"},
        ),
        option("--seed", "the orders of options under letters, and own answers to held-out prompts (default: 0)",
               type=int),
    ),
    "how a model reads and where it works": (
        option(
            "--prompt", "how a prompt is written (default: chat)", choices=("chat", "instruction-response", "alpaca")
        ),
        option("--max-length", "rows that need more tokens get no value (default: 2048)", type=int, metavar="TOKENS"),
        option("--device", "auto (default), cpu, cuda, …"),
        option("--dtype", "the precision (default: float32)", choices=("float32", "bfloat16")),
        option("--store", "where results are kept (default: the run's own, else runs/.store)", type=Path,
               metavar="FOLDER"),
    ),
}  # fmt: skip


def add_eval(commands: Any, epilogue: str) -> None:
    """The command that measures a model with suites."""
    says = "measure a model with published test sets, without any run"
    one = commands.add_parser("eval", help=says, description=EVAL, epilog=epilogue)
    one.add_argument("model", metavar="MODEL", help="a model reference, a run's folder, or FOLDER@ROUND")
    for title, group in EVAL_OPTIONS.items():
        shown = one.add_argument_group(title)
        for name, more in group:
            shown.add_argument(name, **more)
    says = "where to write (default: evaluated/<model>-<suites>)"
    one.add_argument("-o", "--output", type=Path, metavar="FOLDER", help=says)
    one.set_defaults(command=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """Measure a model."""
    from rich.text import Text

    from selfalign.cli.console import console
    from selfalign.cli.progress import shown_on
    from selfalign.evaluating.command import evaluate_model
    from selfalign.evaluating.shown import notes_of, table_of, warnings_of
    from selfalign.evaluating.wish import wish_of
    from selfalign.report.visible import visible

    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    started = time.monotonic()
    done = evaluate_model(wish_of(vars(options)), observers=(shown_on(console()),))
    console().print(table_of(done.evaluated))
    for line in notes_of(done.evaluated):
        console().print(Text(line), soft_wrap=True)
    for line in warnings_of(done.evaluated):
        console().print(Text(line, "bold yellow"), soft_wrap=True)
    made = f"{done.calls_made} calls made" if done.calls_made else "nothing to compute, all of it was made before"
    for line in (f"items:   {done.folder / 'items.jsonl'}", f"metrics: {done.folder / 'metrics.json'}"):
        console().print(Text(visible(line)), soft_wrap=True)
    console().print(f"{made}; {time.monotonic() - started:.0f} s", highlight=False)
    return 0
