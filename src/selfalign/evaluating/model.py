"""Which model is meant: a reference as recipes take it, or the folder of a run, which stands for what it kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from selfalign import weights
from selfalign.comparing.side import side_of, split_name
from selfalign.errors import RecipeError, SelfAlignError
from selfalign.store import Store
from selfalign.types import Model

STORE = Path("runs/.store")


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """A model, what to call it, the store its results belong to, and whether it has weights or only a script."""

    model: Model
    name: str
    store: Path
    scripted: bool


def named_model(text: str, store: Path | None) -> Named:
    """The model that a reference, a run's folder or `FOLDER@ROUND` names, pinned.

    Raises:
        RecipeError: there is no such model or round, or its weights lie in another store than the one that was named.
    """
    found = of_run(text, store) if is_run(text) else None
    if found is None:
        model = pinned(text)
        scripted = model.ref.startswith("scripted:")
        name = Path(model.ref.partition(":")[2]).name or "model"
        found = Named(model=model, name=name, store=store or STORE, scripted=scripted)
    key = found.model.ref.removeprefix("made:")
    if key != found.model.ref and not Store(found.store).has(key):
        raise RecipeError(
            f"{text}: its weights are not in the store {found.store}: name the store in which it was made with --store"
        )
    return found


def pinned(text: str) -> Model:
    """The model of a reference. Raises as `named_model`, also for what no folder can be called."""
    try:
        return weights.pinned(text)
    except (OSError, ValueError) as error:  # names too long, a null character
        if isinstance(error, SelfAlignError):
            raise
        raise RecipeError(f"unknown model {text[:40]!r}…: {getattr(error, 'strerror', None) or error}") from error


def is_run(text: str) -> bool:
    """Whether a text names the folder of a run, or a round of it."""
    try:
        return (split_name(text)[0] / "plan.json").is_file()
    except (OSError, ValueError):  # names too long, a null character: what no file can have
        return False


def of_run(text: str, store: Path | None) -> Named:
    """The model of a run's round, the kept one where none is named, in the run's own store."""
    side = side_of(text)
    if store is not None and side.model.startswith("made:") and store.resolve() != side.store.root.resolve():
        raise RecipeError(f"{text}: its model lies in the store {side.store.root}: leave out --store, or name that one")
    folder = side.folder.resolve().name
    model = weights.pinned(side.model)
    return Named(
        model=model, name=f"{folder}-{side.label}", store=store or side.store.root,
        scripted=model.ref.startswith("scripted:") or scripted_run(side.folder),
    )  # fmt: skip


def scripted_run(folder: Path) -> bool:
    """Whether the models of a run have no weights, by its recipe; they have where the recipe is lost."""
    import yaml

    try:
        found = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))["place"]["engine"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return False
    return bool(found == "scripted")
