"""Lanes: rows written by threads side by side come out as those written in one batch, and one failure ends them all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from selfalign import weights
from selfalign.engines.transformers import TransformersEngine
from selfalign.errors import EngineError
from selfalign.types import Chat, Message, Rendering, Sampling

torch = pytest.importorskip("torch")

from selfalign.engines.growing_cache import LARGE_PAGE, zeroed  # noqa: E402
from selfalign.engines.lanes import lanes_for, side_by_side  # noqa: E402

ROWS = [
    Chat(id=f"{number}", prompt=(Message(role="user", content=f"{'upper' if number % 2 else 'double'}: w{number}"),))
    for number in range(40)
]
SAMPLING = Sampling(max_new_tokens=8, temperature=1.0, precision="int8")


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def toy() -> Iterator[Any]:
    model = weights.pinned("embedded:toy")
    with TransformersEngine(device="cpu").open(model, weights.folder(model, say=print)) as opened:
        yield opened


def written(toy: Any, sampling: Sampling, heard: list[tuple[int, int]] | None = None) -> list[Any]:
    def advance(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        if heard is not None:
            heard.append((rows, tokens))

    answers: list[Any] = toy.generate(
        ROWS, sampling=sampling, rendering=Rendering(), seeds=list(range(len(ROWS))), advance=advance
    )
    return answers


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_lanes_write_what_one_batch_writes(toy: Any, threads: None, temperature: float) -> None:
    sampling = replace(SAMPLING, temperature=temperature)
    torch.set_num_threads(1)
    assert lanes_for(toy.loaded.model, len(ROWS), precision="int8") == 1
    alone = written(toy, sampling)
    torch.set_num_threads(2)
    assert lanes_for(toy.loaded.model, len(ROWS), precision="int8") == 2
    heard: list[tuple[int, int]] = []
    assert written(toy, sampling, heard) == alone
    assert sum(rows for rows, _ in heard) == len(ROWS)
    assert sum(tokens for _, tokens in heard) == sum(answer.tokens for answer in alone)
    assert torch.get_num_threads() == 2


def test_full_precision_and_few_rows_stay_in_one_lane(toy: Any, threads: None) -> None:
    torch.set_num_threads(2)
    assert lanes_for(toy.loaded.model, 1000, precision="exact") == 1
    assert lanes_for(toy.loaded.model, 31, precision="int8") == 1
    assert lanes_for(toy.loaded.model, 0, precision="int8") == 1


@pytest.mark.parametrize("failing", [0, 1])
def test_a_lane_that_fails_ends_the_others(threads: None, failing: int) -> None:
    torch.set_num_threads(2)
    told = []

    def work(number: int, stopping: Event) -> None:
        if number == failing:
            raise EngineError("row '7': no")
        told.append(stopping.wait(timeout=60))

    with pytest.raises(EngineError, match="row '7': no"):
        side_by_side(2, work)
    assert told == [True]
    assert torch.get_num_threads() == 2


def test_an_interrupted_run_ends_its_lanes(threads: None) -> None:
    torch.set_num_threads(2)
    told = []

    def work(number: int, stopping: Event) -> None:
        if number == 0:
            raise KeyboardInterrupt
        told.append(stopping.wait(timeout=60))

    with pytest.raises(KeyboardInterrupt):
        side_by_side(2, work)
    assert told == [True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_zeros_in_large_pages_are_zeros_of_that_kind(dtype: Any) -> None:
    for rows in (1, 3 * LARGE_PAGE):
        made = zeroed(torch.ones(2, dtype=dtype), (rows, 2))
        assert made.shape == (rows, 2)
        assert made.dtype == dtype
        assert not made.any()
        made += 1
        assert bool(made.all())


def test_forms_are_remembered_only_when_every_trial_came_out_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    from selfalign.engines import forms
    from selfalign.engines.opened import load

    monkeypatch.setenv("SELFALIGN_CACHE", str(tmp_path / "cache"))
    source = weights.folder(weights.pinned("embedded:toy"), say=print)
    assert source is not None

    def kept(folder: Path) -> list[str]:
        forms.FORMS.clear()
        load(folder, name="model", device=torch.device("cpu"), dtype=torch.float32)
        return sorted(path.name for path in (tmp_path / "cache" / "forms").glob("*"))

    damaged = AutoModelForCausalLM.from_pretrained(source)
    for weight in damaged.parameters():
        weight.data.fill_(torch.nan)
    damaged.save_pretrained(tmp_path / "damaged")
    for file in source.glob("tokenizer*"):
        (tmp_path / "damaged" / file.name).write_bytes(file.read_bytes())
    assert kept(tmp_path / "damaged") == []
    assert len(kept(source)) == 1
    assert len(kept(source)) == 1
    forms.FORMS.clear()
    opened = load(source, name="model", device=torch.device("cpu"), dtype=torch.float32)
    assert opened.decoder_only
    assert type(opened.model.base_model.layers[0]).__name__.startswith("Fused")
