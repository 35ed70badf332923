"""The documentation every Python carries: a corpus that needs no download.

The topics of the language reference (`pydoc_data`) and the docstrings of the standard library's public modules, classes
and functions, read from its source: nothing of it is imported or run. Another Python version is another corpus.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from selfalign.errors import RecipeError
from selfalign.types import Text

DIGEST_BYTES = 16
# Not the library: its tests, its build, what is installed beside it, and the topics, which are read as such.
LEFT_OUT = frozenset(
    ("test", "tests", "idlelib", "lib2to3", "distutils", "turtledemo", "ensurepip", "site-packages", "dist-packages",
     "pydoc_data", "encodings", "msilib", "tkinter", "lib-dynload")
)  # fmt: skip
SHORTEST_CHARACTERS = 200


def digest() -> str:
    """blake2b over the source read from, as 32 hexadecimal digits.

    Raises:
        RecipeError: this Python came without its library's source.
    """
    whole = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for path in (topics_file(), *library_files()):
        whole.update(f"{path.relative_to(library()).as_posix()}\0".encode())
        whole.update(path.read_bytes())
    return whole.hexdigest()


@cache
def documents() -> tuple[Text, ...]:
    """One text a topic, function, module and class (its public methods below it); a few megabytes in all.

    Raises:
        RecipeError: this Python came without its library's source.
    """
    found = {text.id: text for text in topics()}
    for path in library_files():
        for text in described(path):
            found.setdefault(text.id, text)
    return tuple(found.values())


def library() -> Path:
    """Where the standard library lies."""
    return Path(os.__file__).parent


def topics_file() -> Path:
    """The language reference's topics."""
    path = library() / "pydoc_data" / "topics.py"
    if not path.is_file():
        raise RecipeError(
            "corpus:python-docs: this Python came without the source of its library (pydoc_data is missing); name a "
            "folder of documents instead"
        )
    return path


def library_files() -> list[Path]:
    """The source files of public modules, by path."""
    found = []
    for above, folders, names in os.walk(library()):
        folders[:] = [name for name in folders if name not in LEFT_OUT and not name.startswith(("_", ".", "config-"))]
        found += [
            Path(above, name)
            for name in names
            if name.endswith(".py") and (name == "__init__.py" or not name.startswith("_"))
        ]
    return sorted(found)


def topics() -> Iterator[Text]:
    """The language reference, a text a topic."""
    for node in ast.parse(topics_file().read_bytes()).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            for name, text in sorted(ast.literal_eval(node.value).items()):
                yield Text(id=f"python:{name}", text=text, source="pydoc_data/topics.py#text")


def described(path: Path) -> Iterator[Text]:
    """The docstrings of a module: its own, and those of its public functions and classes."""
    parts = path.relative_to(library()).with_suffix("").parts
    module = ".".join(part for part in parts if part != "__init__")
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and samples lie in the library that are no Python
        return
    texts = [(module, ast.get_docstring(tree) or "")]
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            name = f"{module}.{node.name}"
            texts.append((name, of_class(node, name) if isinstance(node, ast.ClassDef) else docstring(node)))
    source = "/".join(parts) + ".py#text"
    for name, text in texts:
        if len(text) >= SHORTEST_CHARACTERS:
            yield Text(id=f"python:{name}", text=text, source=source, heading=name)


def of_class(node: ast.ClassDef, name: str) -> str:
    """A class's docstring under its name, then those of its public methods, each under its own."""
    methods = [
        titled(f"{name}.{one.name}()", text, "-")
        for one in node.body
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not one.name.startswith("_")
        and (text := docstring(one))
    ]
    return "\n\n".join([titled(name, docstring(node), "="), *methods]) if methods else docstring(node)


def titled(title: str, text: str, mark: str) -> str:
    """A text under an underlined title."""
    return f"{title}\n{mark * len(title)}\n\n{text}"


def docstring(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """A definition's docstring, without the indent of its code."""
    return inspect.cleandoc(ast.get_docstring(node, clean=False) or "").strip()
