"""`report.html`: a run as one page that needs nothing but itself, and never runs or obeys what a model wrote.

Knows how a story becomes a file; what is told is `story`'s business.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from selfalign.folder import RunFolder
from selfalign.report.controls import Controls
from selfalign.report.evidence import gathered
from selfalign.report.story import story
from selfalign.report.visible import visible
from selfalign.store import write_text

LONGEST_RECIPE = 100_000


def write_report(folder: RunFolder, *, metric: str, controls: Controls | None = None) -> Path:
    """Write the report of the latest run in a folder, with what its controls came to, whole or not at all.

    Gives the file.

    Raises:
        RecipeError: the folder holds no run.
        StoreError: the disk is full or not writable.
    """
    told = story(gathered(folder), metric=metric, recipe=recipe_text(folder), controls=controls)
    path = folder.path / "report.html"
    write_text(path, page("report.html.jinja").render(story=told))
    return path


def recipe_text(folder: RunFolder) -> str:
    """The resolved recipe; empty when the folder lost it."""
    path = folder.path / "recipe.yaml"
    return path.read_text("utf-8", "replace")[:LONGEST_RECIPE] if path.exists() else ""


@cache
def page(name: str) -> Template:
    """A template of this package, every value on its way into it made visible, then escaped."""
    environment = Environment(
        loader=PackageLoader("selfalign", "report"),
        autoescape=True,
        finalize=presentable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def presentable(value: Any) -> Any:
    """What an expression of the template puts on the page; drawings made here (marked safe) pass as they are."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
