"""Two trainers that share no training code give one loss curve: the default loop and TRL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from adapters.tiny_training import ADAPTERS, FAST, answers, fit, make_tiny, order_of, pairs, weights
from selfalign.errors import EngineError
from selfalign.ports import AnswerExample, Trainer, TrainingOrder
from selfalign.trainers.batches import collate
from selfalign.trainers.forward import micro_batch_log_probabilities
from selfalign.trainers.torch_loop import TorchLoop
from selfalign.trainers.trl import Trl, rows_per_pass
from selfalign.types import Dpo, Lora, Optimisation

pytest.importorskip("trl")

CALM = replace(FAST, learning_rate=5e-3, schedule="cosine", warmup_ratio=0.2, max_grad_norm=0.5, weight_decay=0.1)
RMSPROP = replace(CALM, optimiser="rmsprop", learning_rate=1e-3, schedule="linear", schedule_epochs=5)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize("rows_at_once", [1, 8])
@pytest.mark.parametrize(
    ("kind", "lora", "optimisation"),
    [("sft", None, CALM), ("sft", ADAPTERS, RMSPROP), ("dpo", None, RMSPROP), ("dpo", ADAPTERS, CALM)],
    ids=["sft-full-adamw", "sft-lora-rmsprop", "dpo-full-rmsprop", "dpo-lora-adamw"],
)
def test_one_loss_curve(
    tiny: Path, tmp_path: Path, kind: str, lora: Lora | None, optimisation: Optimisation, rows_at_once: int
) -> None:
    order = order_of(kind, tiny, lora=lora, optimisation=optimisation)
    ours = fit(order, tiny, tmp_path / "torch", trainer=TorchLoop(device="cpu"))
    theirs = fit(order, tiny, tmp_path / "trl", trainer=Trl(device="cpu", rows_at_once=rows_at_once))
    assert len(ours) == len(theirs) == 9
    for one, other in zip(ours, theirs, strict=True):
        assert one.step == other.step
        assert one.learning_rate == other.learning_rate
        assert other.loss == pytest.approx(one.loss, abs=2e-5)
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-3)
        if one.margin is not None:
            assert other.margin == pytest.approx(one.margin, abs=2e-4)
            # The first rate is zero, so two steps have margins of zero, whose signs are rounding
            assert one.step <= 2 or other.accuracy == one.accuracy
    trained = weights(tmp_path / "trl")
    assert set(trained) == set(weights(tmp_path / "torch"))
    for name, weight in weights(tmp_path / "torch").items():
        torch.testing.assert_close(trained[name], weight, rtol=0, atol=2e-4)


@pytest.mark.parametrize("trainer", [TorchLoop(device="cpu"), Trl(device="cpu")], ids=["torch", "trl"])
def test_rows_are_learned_in_the_order_given_in_every_epoch(tiny: Path, tmp_path: Path, trainer: Trainer) -> None:
    """At a rate that moves nothing, the loss of a step says which rows it saw."""
    still = replace(FAST, learning_rate=1e-12, order="as-given")
    steps = fit(order_of("sft", tiny, optimisation=still), tiny, tmp_path / "given", trainer=trainer)
    expected = [first_loss(tiny, answers()[start : start + 4]) for start in (0, 4, 8)]
    assert [step.loss for step in steps] == pytest.approx(expected * 3, abs=1e-5)
    shuffled = replace(still, order="shuffled")
    other = fit(order_of("sft", tiny, optimisation=shuffled), tiny, tmp_path / "shuffled", trainer=trainer)
    assert [step.loss for step in other] != pytest.approx(expected * 3, abs=1e-3)


def first_loss(folder: Path, examples: Sequence[AnswerExample]) -> float:
    """The mean negative log-likelihood of the answer tokens of rows under the model of a folder."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return -float(micro_batch_log_probabilities(model, collate(examples, padding_id=0)).mean())


def test_the_folder_has_the_same_shape(tiny: Path, tmp_path: Path) -> None:
    order = order_of("dpo", tiny, lora=ADAPTERS, optimisation=replace(CALM, max_steps=1))
    fit(order, tiny, tmp_path / "torch", trainer=TorchLoop(device="cpu"))
    fit(order, tiny, tmp_path / "trl", trainer=Trl(device="cpu"))
    names = {file.name for file in (tmp_path / "torch" / "out").iterdir()}
    assert {file.name for file in (tmp_path / "trl" / "out").iterdir()} == names
    for name in names - {"model.safetensors"}:
        assert (tmp_path / "trl" / "out" / name).read_bytes() == (tmp_path / "torch" / "out" / name).read_bytes(), name
    AutoModelForCausalLM.from_pretrained(tmp_path / "trl" / "out")


def test_hinge_is_the_same_hinge(tiny: Path, tmp_path: Path) -> None:
    order = TrainingOrder(pairs(tiny), Dpo(beta=2.0, loss="hinge"), CALM, None, 3)
    ours = fit(order, tiny, tmp_path / "torch", trainer=TorchLoop(device="cpu"))
    theirs = fit(order, tiny, tmp_path / "trl", trainer=Trl(device="cpu"))
    assert [step.loss for step in theirs] == pytest.approx([step.loss for step in ours], abs=5e-5)


@pytest.mark.parametrize("loss", ["exponential", "correlation"])
def test_losses_trl_lacks_are_refused_by_name(tiny: Path, tmp_path: Path, loss: str) -> None:
    order = TrainingOrder(pairs(tiny, 2), Dpo(loss=loss), CALM, None, 3)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=f"no loss '{loss}'; set it to one of logistic, hinge"):
        fit(order, tiny, tmp_path, trainer=Trl(device="cpu"))


def test_passes_of_one_batch_have_equal_size() -> None:
    settings = Optimisation(batch_size=64)
    assert rows_per_pass(settings, examples=128, limit=8) == 8
    assert rows_per_pass(settings, examples=100, limit=8) == 4  # the last batch has 36 rows
    assert rows_per_pass(settings, examples=67, limit=8) == 1
    assert rows_per_pass(settings, examples=10, limit=8) == 5  # fewer rows than a batch
