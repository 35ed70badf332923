"""Write the pages that are made from code: the command line's help, the table of methods, the recipe's JSON Schema.

With --check nothing is written, and a page that differs from the code is an error: documentation cannot drift.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

os.environ["COLUMNS"] = "100"

from selfalign import cli
from selfalign.config import recipe_shape
from selfalign.guard import WATCHED, Guard
from selfalign.methods import METHODS
from selfalign.stages.evaluate import METRICS

DOCS = Path(__file__).parent.parent / "docs"
MADE = "<!-- made by scripts/write_docs.py; run 'make fix' to make it again -->\n\n"


def command_line() -> str:
    """Every command's help."""
    top = cli.parser()
    actions = [action for action in top._actions if isinstance(action, argparse._SubParsersAction)]
    parts = [f"# Command line\n\n{MADE}```\n{top.format_help()}```\n"]
    for name, parser in actions[0].choices.items():
        parts.append(f"\n## {name}\n\n```\n{parser.format_help()}```\n")
    return "".join(parts)


def table_of_methods() -> str:
    """Every method and metric, with settings and defaults."""
    lines = ["# Methods and metrics\n\n", MADE, "Defaults of a method are the paper's settings.\n"]
    for name, method in METHODS.items():
        first = (method.__doc__ or "").splitlines()[0]
        lines.append(f"\n## {name}\n\n{first}\n\n| setting | type | default |\n|---|---|---|\n")
        lines.extend(f"| `{row[0]}` | `{row[1]}` | {row[2]} |\n" for row in settings_rows(method))
    lines.append("\n## Metrics\n\n| metric | better | meaning |\n|---|---|---|\n")
    lines.extend(f"| `{one.name}` | {one.better or '–'} | {one.says} |\n" for one in METRICS.values())
    lines.append("\n`mc1` and `mc2`: [multiple choice](multiple_choice.md); `mc1:category` is `mc1` of one category.\n")
    lines.append("\n## Health measures\n\nTaken before a round is trained; `guard:` in a recipe sets the limits")
    lines.append(" ([how](guard.md)).\n\n| measure | meaning | alarm | warns at | stops at |\n|---|---|---|---|---|\n")
    lines.extend(f"| {' | '.join(row)} |\n" for row in health_rows())
    return "".join(lines)


def health_rows() -> Iterator[tuple[str, ...]]:
    """Name, meaning, alarming side and default limits of what the guard watches."""
    for name, watched in WATCHED.items():
        limit = Guard().limit(name)
        ends = ("–" if value is None else watched.number(value) for value in (limit.warn, limit.stop))
        yield f"`{name}`", watched.means, watched.alarming, *ends


def settings_rows(method: type) -> Iterator[tuple[str, str, str]]:
    """Name, type and default of a method's settings."""
    for item in fields(method):
        default = "required" if item.default is MISSING else f"`{item.default!r}`"
        yield item.name, str(item.type).replace("|", "\\|"), default.replace("|", "\\|")


def schema() -> str:
    """The JSON Schema of recipes, for editors."""
    shapes = {name: recipe_shape(name).model_json_schema() for name in METHODS}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "selfalign recipe",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in shapes],
        "$defs": {},
    }
    for name, shape in shapes.items():
        text = json.dumps(shape).replace('"#/$defs/', f'"#/$defs/{name}/$defs/')
        whole["$defs"][name] = json.loads(text)
    return json.dumps(whole, indent=1) + "\n"


PAGES = {"cli.md": command_line, "methods.md": table_of_methods, "recipe.schema.json": schema}


def main() -> int:
    """Write the pages, or with --check name those that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is out of date")
    check = parser.parse_args().check
    stale = [name for name, page in PAGES.items() if not same(DOCS / name, page())]
    if not check:
        for name in stale:
            (DOCS / name).write_text(PAGES[name](), "utf-8")
        return 0
    for name in stale:
        print(f"docs/{name} differs from the code; run 'make fix'")
    return 1 if stale else 0


def same(path: Path, text: str) -> bool:
    """Whether a page is what the code says."""
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
