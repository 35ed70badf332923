"""Model folders: opening one for training, and writing one that loads with plain `from_pretrained`.

Shared by the trainers. Knows no objective and no optimiser. Weights are opened and written in float32, so that the
next round starts from exactly what this one ended with (a step of 5e-7 is below the resolution of bfloat16).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from selfalign.errors import EngineError, StoreError
from selfalign.types import Model

# What belongs to tokenizer and generation is copied byte for byte: re-saving a tokenizer may change its behaviour.
COPIED = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "*.tiktoken",
    "spiece.model",
    "sentencepiece*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "additional_chat_templates/*",
    "generation_config.json",
    "LICENSE*",
    "NOTICE*",
)


def existing(model: Model, folder: Path | None) -> Path:
    """The model's folder.

    Raises:
        EngineError: the model has no folder of weights, so it cannot be trained.
    """
    if folder is None or not (folder / "config.json").is_file():
        raise EngineError(
            f"model {model.ref!r} cannot be trained: {folder or 'it has no folder of weights'}"
            f"{' has no config.json' if folder else ''}; give a folder in the Transformers format (path:…) or hf:…"
        )
    return folder


def open_tokenizer(model: Model, folder: Path | None) -> Any:
    """The tokenizer in the model's folder. Code that comes with a model is never run."""
    place = existing(model, folder)
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"the tokenizer of {model.ref!r} in {place} cannot be opened: {error}") from error


def open_model(model: Model, folder: Path | None) -> Any:
    """The causal language model in a folder, float32, dropout off, on the CPU.

    Raises:
        EngineError: the folder's weights or configuration cannot be read.
    """
    place = existing(model, folder)
    try:
        opened: Any = AutoModelForCausalLM.from_pretrained(
            place, dtype=torch.float32, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise EngineError(f"the weights of {model.ref!r} in {place} cannot be opened: {error}") from error
    opened.config.use_cache = False
    return opened.eval()


def write_model(trained: PreTrainedModel, *, source: Path, out: Path) -> None:
    """Write weights (safetensors), config and the source's tokenizer files as a complete model folder.

    Raises:
        StoreError: the disk is full or `out` cannot be written.
    """
    trained.config.use_cache = True
    try:
        out.mkdir(parents=True, exist_ok=True)
        trained.save_pretrained(out)
        for pattern in COPIED:
            for file in source.glob(pattern):
                if file.is_file():
                    target = out / file.relative_to(source)
                    target.parent.mkdir(exist_ok=True)
                    shutil.copyfile(file, target)
    except OSError as error:
        raise unwritable(out, error) from error
    except Exception as error:
        # safetensors reports a full disk with an error class of its own
        if "No space left" in str(error) or "os error 28" in str(error):
            raise unwritable(out, error) from error
        raise


def unwritable(place: Path, error: Exception) -> StoreError:
    """The error for a folder that cannot be written, with the remedy."""
    return StoreError(
        f"{place} cannot be written: {error}; free disk space or choose another store, then run the same command "
        "again: training goes on from its last checkpoint"
    )
