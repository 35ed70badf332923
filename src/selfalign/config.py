"""Recipe text → a checked recipe, and the adapters it asks for.

Validation belongs to this edge: the settings themselves are plain dataclasses, and what pydantic checks is derived
from their fields, so a method declares nothing twice. The only module that names adapters.
"""

from __future__ import annotations

import difflib
import types as builtin_types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    create_model,
)
from pydantic import Field as Bounds

from selfalign import sources, weights
from selfalign.errors import RecipeError
from selfalign.loop import Labelled, Method, Stop
from selfalign.methods import METHODS
from selfalign.ports import Engine, Executor, Trainer
from selfalign.stage import asking
from selfalign.stages.evaluate import METRICS, Evaluation
from selfalign.stages.load import load_chats, load_instructions
from selfalign.types import Chat, Instruction, Model, Source, Table

# What a field's type cannot say. By field name: a name means one thing throughout the package.
BOUNDS: dict[str, Any] = {
    "max_new_tokens": Bounds(ge=1),
    "temperature": Bounds(ge=0, allow_inf_nan=False),
    "top_p": Bounds(gt=0, le=1),
    "top_k": Bounds(ge=0),
    "length_percentile": Bounds(gt=0, le=100),
    "max_length": Bounds(ge=2),
    "max_prompt_length": Bounds(ge=1),
    "r": Bounds(ge=1),
    "alpha": Bounds(gt=0),
    "dropout": Bounds(ge=0, lt=1),
    "learning_rate": Bounds(gt=0, allow_inf_nan=False),
    "beta": Bounds(gt=0, allow_inf_nan=False),
    "warmup_ratio": Bounds(ge=0, le=1),
    "num_train_epochs": Bounds(ge=1),
    "schedule_epochs": Bounds(ge=1),
    "epochs": Bounds(ge=1),
    "max_steps": Bounds(ge=1),
    "batch_size": Bounds(ge=1),
    "weight_decay": Bounds(ge=0),
    "max_grad_norm": Bounds(gt=0),
    "sets_mixed": Bounds(ge=1),
    "patience": Bounds(ge=1),
    "micro_batch_tokens": Bounds(ge=64),
    "rows_at_once": Bounds(ge=1),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where and how a run works. None of it enters a key."""

    engine: Literal["transformers", "scripted"] = "transformers"
    trainer: Literal["torch_loop", "trl", "scripted"] = "torch_loop"
    executor: Literal["auto", "here", "fresh_process"] = "auto"
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    store: str = "runs/.store"
    rows_at_once: int = 64
    micro_batch_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class Recipe:
    """A checked recipe. `settings` is the whole of it as plain data, defaults filled in."""

    name: str
    method: type[Any]
    rounds: int
    stop: Stop
    place: Place
    settings: Mapping[str, Any]
    checked: BaseModel

    def build(self, asked: Labelled) -> tuple[Method, Evaluation]:
        """The method and the evaluation as frozen values, their data loaded by remembered calls."""
        with asking(asked):
            asked.round = "start"
            method: Method = built(self.method, getattr(self.checked, "method"))  # noqa: B009 - built field
            evaluation: Evaluation = built(Evaluation, getattr(self.checked, "evaluate"))  # noqa: B009
            return method, evaluation

    def text(self) -> str:
        """The resolved recipe as YAML: every setting, defaults included."""
        return yaml.safe_dump(dict(self.settings), sort_keys=False, allow_unicode=True)


# ------------------------------------------------------------------------------------------------ reading


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a file, with `key.path=value` overrides put in before anything is checked.

    Raises:
        RecipeError: the file is missing or no YAML, or any setting is wrong; all faults are listed at once.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise RecipeError(f"there is no recipe {path}; recipes are YAML files, see the folder recipes/") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}") from error
    try:
        settings = yaml.load(text, Loader=UniqueKeys)  # noqa: S506 - a SafeLoader that also refuses repeated keys
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict):
        raise RecipeError(f"{path} must hold a mapping with 'method', 'rounds' and 'evaluate'")
    for override in overrides:
        put(settings, override)
    return checked_recipe(settings, where=str(path), name=path.stem)


class UniqueKeys(yaml.SafeLoader):
    """YAML in which a key given twice is an error, not a silent win of the last one."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node, its keys all different."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return found


def put(settings: dict[str, Any], override: str) -> None:
    """Put one `key.path=value` into the settings; the value is read as YAML."""
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise RecipeError(
            f"an override is written key.path=value, for example -s method.beta=[0.1,0.5]; got {override!r}"
        )
    *parents, last = path.split(".")
    for parent in parents:
        settings = settings.setdefault(parent, {})
        if not isinstance(settings, dict):
            raise RecipeError(f"override {override!r}: {parent!r} is a single value and has no {last!r}")
    try:
        settings[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"override {override!r}: the value is not YAML ({error})") from error


def checked_recipe(settings: Mapping[str, Any], *, where: str, name: str) -> Recipe:
    """A recipe from plain data.

    Raises:
        RecipeError: lists every fault with its path, and the nearest known name for an unknown one.
    """
    method = method_of(settings, where)
    shape = create_model(
        "Recipe", __config__=ConfigDict(extra="forbid"),
        name=(str, name),
        method=(edge_model(method, name=(Literal[str(settings["method"]["name"])], ...)), ...),
        rounds=(Annotated[int, Bounds(ge=1)], ...),
        evaluate=(edge_model(Evaluation), ...),
        stop=(edge_model(Stop), Bounds(default_factory=edge_model(Stop))),
        place=(edge_model(Place), Bounds(default_factory=edge_model(Place))),
    )  # fmt: skip
    try:
        checked = shape.model_validate(settings)
    except ValidationError as error:
        raise RecipeError(faults(error, shape, where)) from error
    found: Any = checked
    recipe = Recipe(
        found.name, method, found.rounds, built(Stop, found.stop), built(Place, found.place),
        checked.model_dump(mode="json"), checked,
    )  # fmt: skip
    check_together(recipe, found, where)
    return recipe


def method_of(settings: Mapping[str, Any], where: str) -> type[Any]:
    """The method class a recipe names."""
    block = settings.get("method")
    name = block.get("name") if isinstance(block, dict) else None
    if name not in METHODS:
        raise RecipeError(f"{where}: method.name is {name!r}{nearest(str(name), METHODS)}; known: {', '.join(METHODS)}")
    return METHODS[name]


def check_together(recipe: Recipe, found: Any, where: str) -> None:
    """What single fields cannot tell: the metric that decides must be measured on dev and have a better side."""
    measured = {"nll", "repetition", "near_duplicate", "unfinished", *found.evaluate.dev.checks}
    if found.evaluate.dev.instructions is not None:
        measured |= {"instructions", "instructions_loose"}
    metric = recipe.stop.metric
    if metric not in measured:
        known = "is not measured on dev" if metric in METRICS else "is unknown"
        choice = f"choose of: {', '.join(sorted(measured))}"
        raise RecipeError(f"{where}: stop.metric '{metric}' {known}{nearest(metric, measured)}; {choice}")
    scripted = found.method.base.ref.startswith("scripted:")
    if scripted != (recipe.place.engine == "scripted") or scripted != (recipe.place.trainer == "scripted"):
        raise RecipeError(
            f"{where}: method.base is {found.method.base.ref!r}, place.engine '{recipe.place.engine}' and "
            f"place.trainer '{recipe.place.trainer}'; scripted models need both 'scripted', real ones need neither"
        )


# --------------------------------------------------------------------------------- dataclasses at the edge


def edge_model(settings: type[Any], **more: Any) -> type[BaseModel]:
    """The pydantic model that checks what a recipe says about a settings dataclass; unknown keys are refused."""
    hints = get_type_hints(settings)
    given: dict[str, Any] = {
        item.name: (edge_type(hints[item.name], item.name), edge_default(item)) for item in fields(settings)
    }
    given |= more
    # The fields exist only at run time, which no static overload of create_model can express.
    create: Callable[..., type[BaseModel]] = create_model
    return create(settings.__name__, __config__=ConfigDict(extra="forbid"), **given)


def edge_default(item: Field[Any]) -> Any:
    """A field's default as the edge needs it: settings as a model of their own, so that they can be shown in full."""
    if item.default is MISSING:
        return ...
    if is_dataclass(item.default) and not isinstance(item.default, type):
        return edge_model(type(item.default))(
            **{one.name: getattr(item.default, one.name) for one in fields(item.default)}
        )
    return item.default


def edge_type(annotation: Any, name: str) -> Any:
    """The type pydantic checks for a field: handles are written as references, a lone value serves as a list of one."""
    if annotation is Model:
        return Annotated[Model, PlainValidator(model_of), PlainSerializer(reference_of)]
    if get_origin(annotation) is Table:
        return Annotated[Source, PlainValidator(source_of), PlainSerializer(reference_of)]
    if is_dataclass(annotation) and isinstance(annotation, type):
        return edge_model(annotation)
    if get_origin(annotation) is tuple:
        item: Any = edge_type(get_args(annotation)[0], name)
        several = tuple.__class_getitem__((item, ...))
        return Annotated[several, BeforeValidator(listed), Bounds(min_length=0 if name == "checks" else 1)]
    if get_origin(annotation) in (Union, builtin_types.UnionType):
        kinds = tuple(kind if kind is type(None) else edge_type(kind, name) for kind in get_args(annotation))
        return Union[kinds]
    if annotation in (int, float) and name in BOUNDS:
        return Annotated[annotation, BOUNDS[name]]
    return annotation


def model_of(value: Any) -> Model:
    """A model reference, pinned."""
    if not isinstance(value, str):
        raise ValueError("a model is named by text, for example embedded:smollm2 or path:folder")
    return weights.pinned(value)


def source_of(value: Any) -> Source:
    """A data reference, pinned."""
    if not isinstance(value, str):
        raise ValueError("data is named by text, for example data.jsonl or embedded:house-style#train")
    return sources.pinned(value)


def reference_of(value: Model | Source) -> str:
    """How a handle is written in a recipe."""
    limit = getattr(value, "limit", None)
    return f"{value.ref}#{limit}" if limit is not None and not value.ref.endswith(f"#{limit}") else value.ref


def listed(value: Any) -> Any:
    """A lone value as a list of one."""
    return value if isinstance(value, (list, tuple)) else [value]


def built(settings: type[Any], edge: BaseModel) -> Any:
    """The frozen settings dataclass of a checked edge model; data references become loaded tables."""
    hints = get_type_hints(settings)
    return settings(**{item.name: value_of(hints[item.name], getattr(edge, item.name)) for item in fields(settings)})


def value_of(annotation: Any, value: Any) -> Any:
    """One field of a settings dataclass from its checked value."""
    kinds = [kind for kind in (get_args(annotation) or ()) if kind is not type(None)]
    if isinstance(value, Source):
        row = get_args(annotation if get_origin(annotation) is Table else kinds[0])[0]
        return load_chats(value, answers=True) if row is Chat else load_instructions(value)
    if isinstance(value, BaseModel):
        return built(
            next(kind for kind in (annotation, *kinds) if isinstance(kind, type) and is_dataclass(kind)), value
        )
    return value


# ------------------------------------------------------------------------------------------------- faults


def faults(error: ValidationError, shape: type[BaseModel], where: str) -> str:
    """Every fault of a recipe, a line each: the path, what is wrong, and the nearest known key."""
    lines = []
    for fault in error.errors(include_url=False):
        path = ".".join(str(part) for part in fault["loc"] if not str(part).startswith(("constrained-", "function-")))
        if fault["type"] == "extra_forbidden":
            known = known_keys(shape, fault["loc"][:-1])
            lines.append(f"{path}: unknown key{nearest(str(fault['loc'][-1]), known)}; known here: {', '.join(known)}")
        elif fault["type"] == "missing":
            lines.append(f"{path}: required and not given")
        else:
            message = fault["msg"].removeprefix("Value error, ")
            given = "" if isinstance(fault["input"], dict) else f" (given: {fault['input']!r})"
            lines.append(f"{path}: {message[0].lower()}{message[1:]}{given}")
    listing = "\n".join(f"  {line}" for line in dict.fromkeys(lines))
    return f"{where} has {len(lines)} fault{'s' if len(lines) > 1 else ''}:\n{listing}"


def known_keys(shape: Any, path: Sequence[int | str]) -> list[str]:
    """The keys a recipe may have at a path."""
    for part in path:
        annotation = shape.model_fields[str(part)].annotation if str(part) in shape.model_fields else shape
        options = [annotation, *get_args(annotation)]
        shape = next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), shape)
    return list(shape.model_fields)


def nearest(name: str, known: Any) -> str:
    """`; did you mean …?` when a known name is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{found[0]}'?" if found else ""


# ----------------------------------------------------------------------------------------------- adapters


def adapters(place: Place) -> tuple[Engine, Trainer, Executor]:
    """The engine, trainer and executor a recipe's place asks for, imported only now."""
    return ENGINES[place.engine](place), TRAINERS[place.trainer](place), executor_of(place)


def transformers_engine(place: Place) -> Engine:
    """Hugging Face models in this environment."""
    from selfalign.engines.transformers import TransformersEngine

    return TransformersEngine(device=place.device, dtype=place.dtype, rows_at_once=place.rows_at_once)


def scripted_engine(place: Place) -> Engine:
    """Models without weights."""
    from selfalign.engines.scripted import ScriptedEngine

    return ScriptedEngine()


def torch_loop(place: Place) -> Trainer:
    """The default trainer."""
    from selfalign.trainers.torch_loop import TorchLoop

    return TorchLoop(device=place.device, dtype=place.dtype, micro_batch_tokens=place.micro_batch_tokens)


def trl(place: Place) -> Trainer:
    """TRL's trainers."""
    from selfalign.trainers.trl import Trl

    return Trl(device=place.device, dtype=place.dtype)


def scripted_trainer(place: Place) -> Trainer:
    """Learning without weights."""
    from selfalign.trainers.scripted import ScriptedTrainer

    return ScriptedTrainer()


ENGINES: dict[str, Callable[[Place], Engine]] = {"transformers": transformers_engine, "scripted": scripted_engine}
TRAINERS: dict[str, Callable[[Place], Trainer]] = {"torch_loop": torch_loop, "trl": trl, "scripted": scripted_trainer}


def executor_of(place: Place) -> Executor:
    """A fresh process per stage where an accelerator's memory has to come back, this process elsewhere."""
    from selfalign.executors.local import FreshProcess, Here

    if place.executor == "auto":
        return FreshProcess() if place.engine != "scripted" and accelerator_wanted(place.device) else Here()
    return FreshProcess() if place.executor == "fresh_process" else Here()


def accelerator_wanted(device: str) -> bool:
    """Whether work goes to an accelerator."""
    if device != "auto":
        return device != "cpu"
    import torch

    return torch.cuda.is_available()


__all__ = ["Instruction", "Place", "Recipe", "adapters", "read_recipe"]
