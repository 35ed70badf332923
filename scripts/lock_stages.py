"""Keep `stages.lock`: each stage's version beside a hash of its body, so that no meaning changes unnoticed.

A key holds a stage's version, not its code. When a body changes, decide: same meaning (write the lock again) or a new
one (raise `version=` and write the lock again).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import pkgutil
import sys
from pathlib import Path

import selfalign.stages
from selfalign.stage import Stage

LOCK = Path(__file__).parent.parent / "stages.lock"


def stages() -> dict[str, Stage]:
    """Every declared stage by name."""
    found = {}
    for module in pkgutil.iter_modules(selfalign.stages.__path__, "selfalign.stages."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Stage):
                found[value.name] = value
    return dict(sorted(found.items()))


def body_hash(stage: Stage) -> str:
    """A hash of the module's syntax without docstrings and positions: a body means what its module's functions mean."""
    tree = ast.parse(Path(sys.modules[stage.body.__module__].__file__ or "").read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    wanted = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == stage.name)
    return hashlib.blake2b(ast.dump(wanted).encode(), digest_size=8).hexdigest()


def main() -> int:
    """Write the lock, or with --check say what differs from it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the lock is out of date")
    options = parser.parse_args()
    text = "".join(f"{name} version={stage.version} body={body_hash(stage)}\n" for name, stage in stages().items())
    if not options.check:
        LOCK.write_text(text, "utf-8")
        return 0
    old = set(LOCK.read_text("utf-8").splitlines()) if LOCK.exists() else set()
    changed = sorted(set(text.splitlines()) ^ old)
    for line in changed:
        print(f"stages.lock: {'now' if line not in old else 'was'} {line}")
    if changed:
        print("a stage's body changed: raise its version if its meaning did, then run 'make fix'")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
