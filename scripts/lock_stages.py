"""Keep `stages.lock`: each stage's version beside a hash of its module, so that no meaning changes unnoticed.

A key holds a stage's version and the settings that differ from their default, not code and not the defaults. When a
module changes, decide: same meaning (write the lock again), or a new one (raise `version=` and write the lock again).
Modules that decide what many stages give (rendering, measures, losses, defaults in `types`) have lines of their own.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

import selfalign.stages
from selfalign.stage import Stage

# Packages of pure code that decides what stages give, whole; and single modules.
PACKAGES = ("corpus", "grading", "harness", "judging", "measures", "selection", "suites", "synthesis")
SHARED = (
    "selfalign.types",
    "selfalign.render",
    *(
        module.name
        for package in PACKAGES
        for module in pkgutil.iter_modules(
            importlib.import_module(f"selfalign.{package}").__path__, f"selfalign.{package}."
        )
    ),
    "selfalign.data.python_docs",
    "selfalign.trainers.batches",
    "selfalign.trainers.losses",
    "selfalign.trainers.schedule",
)
LOCK = Path(__file__).parent.parent / "stages.lock"


def stages() -> dict[str, Stage]:
    """Every declared stage by name."""
    found = {}
    for module in pkgutil.iter_modules(selfalign.stages.__path__, "selfalign.stages."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Stage):
                found[value.name] = value
    return dict(sorted(found.items()))


def meaning(module: str) -> str:
    """A hash of a module's syntax, without docstrings and positions."""
    spec = importlib.util.find_spec(module)  # not imported: a tensor library would take seconds
    tree = ast.parse(Path(spec.origin if spec and spec.origin else "").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=8).hexdigest()


def lines() -> list[str]:
    """One line a stage, with the hash of its module; then one for each module that decides what many stages give."""
    found = stages().items()
    stage_lines = [f"{name} version={one.version} module={meaning(one.body.__module__)}" for name, one in found]
    return stage_lines + [f"{name} module={meaning(name)}" for name in SHARED]


def main() -> int:
    """Write the lock, or with --check say what differs from it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the lock is out of date")
    options = parser.parse_args()
    text = "".join(f"{line}\n" for line in lines())
    if not options.check:
        LOCK.write_text(text, "utf-8")
        return 0
    old = set(LOCK.read_text("utf-8").splitlines()) if LOCK.exists() else set()
    changed = sorted(set(text.splitlines()) ^ old)
    for line in changed:
        print(f"stages.lock: {'now' if line not in old else 'was'} {line}")
    if changed:
        print("did what a stage gives change? raise its version; in either case run 'make fix'")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
