"""What was found out by trying about models of one class and config, whatever their weights.

Every round opens a model of the same form with other weights, and every process does so anew; trying takes half the
time of opening. A form on which every trial came out well is remembered on disk, one file each in the cache folder.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from selfalign.engines.fused_layers import order_shows
from selfalign.unpacking import cache_folder

# How models are tried, and what is tried: when one of these files changes, nothing remembered counts.
TRIALS = ("fused_layers.py", "products.py", "cpu_linear.py", "scoring.py", "forms.py", "opened.py")


@dataclass(slots=True)
class Form:
    """What is known about a form; None: not yet tried.

    How logits are made is no such thing: with small weights a cap on them cannot be seen.
    """

    name: str
    encoder: bool
    fused: bool | None = None
    decoder_only: bool | None = None

    def remember(self, model: Any) -> None:
        """Keep what trying this model showed, for later processes, if it counts for others.

        Every trial must have come out well (damaged weights fail them all), and the weights must be large enough for a
        trial to show anything; after weights that are not, the next model is tried again in this process too.
        """
        if not (self.fused and self.decoder_only) or remembered(self.name):
            return
        if not order_shows(model):
            self.fused = None
            return
        with suppress(OSError, RuntimeError):  # a home that cannot be written to costs the trials each time
            path = file_of(self.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


# Forms met in this process.
FORMS: dict[str, Form] = {}


def form_of(folder: Path, model: Any) -> Form:
    """What is known about models like this one, opened from a folder."""
    name = name_of(folder, model)
    if name not in FORMS:
        if remembered(name):
            FORMS[name] = Form(name, encoder=False, fused=True, decoder_only=True)
        else:
            from transformers import AutoConfig

            # a model's own config says nothing of the half that is left out
            whole = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            FORMS[name] = Form(name, encoder=bool(whole.is_encoder_decoder))
    return FORMS[name]


def name_of(folder: Path, model: Any) -> str:
    """A digest of everything that a trial's outcome depends on, weights apart."""
    kind = type(model)
    parts = (
        f"{kind.__module__}.{kind.__qualname__}", str(model.device), str(model.dtype), torch.__version__,
        transformers.__version__, torch.backends.cpu.get_cpu_capability(), (folder / "config.json").read_text("utf-8"),
        *((Path(__file__).parent / trial).read_text("utf-8") for trial in TRIALS),
    )  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def remembered(name: str) -> bool:
    """Whether an earlier process tried this form and all was well."""
    try:
        return file_of(name).exists()
    except (OSError, RuntimeError):  # a home that may not be looked into, or none
        return False


def file_of(name: str) -> Path:
    """The file whose being there says that a form's trials came out well."""
    return cache_folder() / "forms" / name[:32]
