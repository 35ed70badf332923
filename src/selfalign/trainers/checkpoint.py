"""Where a killed training goes on from: trained weights, optimiser state and the steps so far, in one folder.

Nothing is pickled: two safetensors files and one JSON file. The folder appears under its name only when complete
(written beside it, then renamed), and the previous one is removed only after that. The name carries a fingerprint of
the order, so a checkpoint of other examples, settings or weights is never continued.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from selfalign.errors import StoreError
from selfalign.keys import canonical_text
from selfalign.ports import PairExample, Step, TrainingOrder
from selfalign.trainers.batches import sides
from selfalign.trainers.model_folder import unwritable

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after some optimiser step. Tensors are named by parameter (`state`: "parameter|quantity")."""

    weights: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    steps: Sequence[Step]


def fingerprint(order: TrainingOrder, *, digest: str) -> str:
    """Names all that decides the outcome: examples, settings, seed and the weights it starts from (`digest`)."""
    hasher = hashlib.blake2b(digest_size=12)
    settings = [asdict(value) | {"type": type(value).__name__} for value in (order.objective, order.optimisation)]
    lora = None if order.lora is None else asdict(order.lora)
    hasher.update(canonical_text([FORMAT, settings, lora, order.seed, digest]).encode())
    for example in order.examples:
        reference = (example.reference_chosen, example.reference_rejected) if isinstance(example, PairExample) else ()
        lengths = [len(side.ids) for side in sides(example)]
        hasher.update(canonical_text([example.id, lengths, list(reference)]).encode())
        for side in sides(example):
            hasher.update(array("q", side.ids).tobytes() + bytes(side.loss) + bytes(side.attention))
    return hasher.hexdigest()


def latest(scratch: Path, name: str) -> Checkpoint | None:
    """The newest complete checkpoint of the order `name` (its fingerprint), or None.

    Raises:
        StoreError: there is one, but it cannot be read back.
    """
    found = sorted(scratch.glob(f"checkpoint-{name}-*"), key=lambda folder: int(folder.name.rsplit("-", 1)[-1]))
    if not found:
        return None
    from safetensors.torch import load_file

    folder = found[-1]
    try:
        steps = json.loads((folder / "steps.json").read_text())
        return Checkpoint(
            weights=load_file(folder / "weights.safetensors"),
            state=load_file(folder / "optimiser.safetensors"),
            steps=[Step(**step) for step in steps],
        )
    except Exception as error:  # safetensors has error classes of its own
        raise StoreError(
            f"the checkpoint {folder} cannot be read: {error}; delete that folder and run the same command again"
        ) from error


def save(checkpoint: Checkpoint, scratch: Path, name: str) -> None:
    """Make this the checkpoint to continue from; the previous one goes when this one is complete.

    Raises:
        StoreError: the disk is full or the folder cannot be written.
    """
    from safetensors.torch import save_file

    final = scratch / f"checkpoint-{name}-{len(checkpoint.steps)}"
    partial = scratch / f"partial-{final.name}"
    try:
        for abandoned in scratch.glob(f"partial-checkpoint-{name}-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(dict(checkpoint.weights), partial / "weights.safetensors")
        save_file(dict(checkpoint.state), partial / "optimiser.safetensors")
        (partial / "steps.json").write_text(json.dumps([asdict(step) for step in checkpoint.steps]))
        for file in (*partial.iterdir(), partial):
            flush(file)
        os.replace(partial, final)
        flush(scratch)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise unwritable(scratch, error) from error
    for other in scratch.glob(f"checkpoint-{name}-*"):
        if other != final:
            shutil.rmtree(other, ignore_errors=True)


def flush(path: Path) -> None:
    """Have a file or folder reach the disk, so that a power cut leaves the old checkpoint or the new one."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
