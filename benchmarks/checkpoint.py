"""Seconds from a changed weights folder to its first token, in a process that already serves another model.

Writing the folder is not counted: a trainer has just done it, so its bytes are in the page cache. There is no peer.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from figures import Demand, Row, Settings, Turn, figure, in_turns, timed
from generation import own_tokens
from machine import rates, shapes_of
from safetensors.torch import load_file, save_file
from workloads import model_folder, prompts

from selfalign.engines.transformers import TransformersEngine
from selfalign.types import Model, Sampling

WEIGHTS = "model.safetensors"


def rows(settings: Settings) -> Iterator[Row]:
    """A new folder every turn."""
    folder = model_folder(settings)
    engine = TransformersEngine(device="cpu")
    chats = prompts(1)
    sampling = Sampling(max_new_tokens=1, temperature=1.0)

    def first_token(place: Path) -> float:
        with engine.open(Model(ref=f"path:{place.name}"), place) as opened:
            return own_tokens(opened, chats, sampling, turn=0)

    def changed(turn: int) -> Turn:
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / f"round-{turn}"
            write_changed(folder, place, factor=1 + turn / 1000)
            return timed(lambda: first_token(place))

    first_token(folder)
    found = in_turns({"changed weights": changed}, settings.repeats)["changed weights"]
    measured = rates(folder)
    seconds = tuple(turn.seconds for turn in found)
    yield Row(
        id="checkpoint",
        stage="new checkpoint until the first token",
        peer="–",
        unit="s",
        ours=seconds,
        theirs=(),
        judged=seconds,
        demand=Demand(must=1.5, aim=0.6, side="most", unit=" s"),
        limit=f"{figure(shapes_of(folder).weight_bytes / measured.bandwidth)} s (weights read once)",
        note="a folder with changed fp32 weights (0.54 GB, in the page cache), opened in a process that serves "
        "another model, until one token of one prompt is drawn.",
    )


def write_changed(source: Path, place: Path, *, factor: float) -> None:
    """A copy of a model folder with other weights."""
    place.mkdir(parents=True)
    for file in source.iterdir():
        if file.name != WEIGHTS:
            shutil.copy(file, place / file.name)
    changed = {name: weight * factor for name, weight in load_file(source / WEIGHTS).items()}
    save_file(changed, place / WEIGHTS, metadata={"format": "pt"})
