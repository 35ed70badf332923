"""What every training must do: start at ln 2, learn, stop where the schedule says, survive being killed.

One tiny random Llama (two layers, 32 words) stands for all models; nothing is patched.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from adapters.tiny_training import (
    ADAPTERS,
    FAST,
    TINY,
    VOCABULARY,
    answers,
    digest,
    fit,
    make_tiny,
    order_of,
    pairs,
    rendered,
    train_and_die,
    weights,
)
from selfalign.errors import EngineError, StoreError
from selfalign.ports import AnswerExample, Rendered, TrainingOrder
from selfalign.trainers.batches import collate, epoch_order, global_batch, micro_batches, order_seed
from selfalign.trainers.fitting import memory_errors_named, recompute_layers
from selfalign.trainers.forward import layout_of, micro_batch_log_probabilities
from selfalign.trainers.schedule import horizon, learning_rate, steps_to_train
from selfalign.trainers.torch_loop import TorchLoop
from selfalign.types import Dpo, Lora, Model, Optimisation, Sft


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model only waits for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# ------------------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("lora", [None, ADAPTERS])
def test_dpo_starts_at_ln_2_and_learns(tiny: Path, tmp_path: Path, lora: Lora | None) -> None:
    steps = fit(order_of("dpo", tiny, lora=lora), tiny, tmp_path)
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-6)
    assert steps[0].margin == pytest.approx(0.0, abs=1e-5)
    assert steps[-1].loss < 0.5
    assert steps[-1].margin is not None
    assert steps[-1].margin > 0.5
    assert steps[-1].accuracy == 1.0
    assert [step.step for step in steps] == list(range(1, 10))


@pytest.mark.parametrize("lora", [None, ADAPTERS])
def test_sft_lowers_the_loss(tiny: Path, tmp_path: Path, lora: Lora | None) -> None:
    steps = fit(order_of("sft", tiny, lora=lora), tiny, tmp_path)
    assert steps[-1].loss < steps[0].loss - 0.3
    assert steps[0].margin is None
    assert steps[0].accuracy is None


def test_first_sft_loss_is_the_mean_over_answer_tokens_of_the_global_batch(tiny: Path, tmp_path: Path) -> None:
    order = order_of("sft", tiny)
    steps = fit(order, tiny, tmp_path, trainer=TorchLoop(device="cpu", micro_batch_tokens=12))
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for index in global_batch(0, count=10, batch_size=4, seed=7):
        sequence = order.examples[index].sequence  # type: ignore[union-attr]
        logits = model(torch.tensor([sequence.ids])).logits[0].detach().double().log_softmax(-1)
        for position in range(1, len(sequence.ids)):
            if sequence.loss[position]:
                total -= float(logits[position - 1, sequence.ids[position]])
                count += 1
    assert steps[0].loss == pytest.approx(total / count, abs=1e-6)


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_how_a_batch_is_cut_changes_only_rounding(tiny: Path, tmp_path: Path, kind: str) -> None:
    order = order_of(kind, tiny)
    whole = fit(order, tiny, tmp_path / "whole")
    cut = fit(order, tiny, tmp_path / "cut", trainer=TorchLoop(device="cpu", micro_batch_tokens=1))
    for one, other in zip(whole, cut, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=2e-4)
    for name, weight in weights(tmp_path / "whole").items():
        assert torch.allclose(weight, weights(tmp_path / "cut")[name], atol=5e-3), name


@pytest.mark.parametrize("lora", [None, ADAPTERS])
def test_computing_layers_again_changes_nothing(tiny: Path, tmp_path: Path, lora: Lora | None) -> None:
    order = order_of("dpo", tiny, lora=lora)
    kept = fit(order, tiny, tmp_path / "kept")
    again = fit(order, tiny, tmp_path / "again", trainer=TorchLoop(device="cpu", gradient_checkpointing=True))
    assert [step.loss for step in again] == pytest.approx([step.loss for step in kept], abs=1e-5)


def test_bfloat16_products_keep_float32_weights(tiny: Path, tmp_path: Path) -> None:
    order = order_of("sft", tiny)
    exact = fit(order, tiny, tmp_path / "exact")
    coarse = fit(order, tiny, tmp_path / "coarse", trainer=TorchLoop(device="cpu", dtype="bfloat16"))
    assert coarse != exact
    assert [step.loss for step in coarse] == pytest.approx([step.loss for step in exact], rel=0.1)
    assert {weight.dtype for weight in weights(tmp_path / "coarse").values()} == {torch.float32}


@pytest.mark.slow
def test_two_processes_share_each_batch_and_give_the_same_curve(tiny: Path, tmp_path: Path) -> None:
    order = order_of("dpo", tiny, lora=ADAPTERS)
    alone = fit(order, tiny, tmp_path / "alone")
    (tmp_path / "order.pickle").write_bytes(pickle.dumps((order, tiny, tmp_path / "both")))
    tests = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29617",
         tests / "adapters" / "tiny_training.py", tmp_path / "order.pickle"],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(tests)]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    both = pickle.loads((tmp_path / "both" / "steps.pickle").read_bytes())
    assert [step.loss for step in both] == pytest.approx([step.loss for step in alone], abs=1e-5)
    for name, weight in weights(tmp_path / "alone").items():
        torch.testing.assert_close(weights(tmp_path / "both")[name], weight, rtol=0, atol=1e-3)


def test_hidden_tokens_are_hidden(tiny: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    ids = (5, 6, 2, 7, 8)
    shown, hidden = (True,) * 5, (True, True, False, True, True)
    loss = (False, False, False, True, True)

    def score(ids: tuple[int, ...], attention: tuple[bool, ...]) -> torch.Tensor:
        example = AnswerExample(id="", sequence=Rendered(ids=ids, loss=loss, attention=attention))
        longer = AnswerExample(id="", sequence=rendered(3, 6, seed=1))
        with torch.no_grad():
            return micro_batch_log_probabilities(model, collate([example, longer], padding_id=0))[:2]

    other = (5, 6, 3, 7, 8)
    # The token after a hidden one is predicted *at* the hidden position, so only the last target may not see it
    assert score(ids, hidden)[1] == pytest.approx(float(score(other, hidden)[1]), abs=1e-6)
    assert abs(float(score(ids, shown)[1] - score(other, shown)[1])) > 1e-3


@pytest.mark.parametrize("architecture", ["llama", "sliding window", "learned positions"])
def test_packed_and_padded_rows_give_the_same_numbers(tiny: Path, architecture: str) -> None:
    def opened() -> Any:
        torch.manual_seed(1)
        sizes = {"vocab_size": VOCABULARY, "initializer_range": 0.3}
        if architecture == "llama":
            return AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
        if architecture == "learned positions":
            return GPT2LMHeadModel(GPT2Config(**sizes, n_embd=16, n_layer=2, n_head=2, n_positions=64)).eval()
        return MistralForCausalLM(
            MistralConfig(
                **sizes,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                sliding_window=4,
            )
        ).eval()

    rows = answers(6)
    hiding = replace(rows[2].sequence, attention=(True, False, *rows[2].sequence.attention[2:]))
    rows[2] = replace(rows[2], sequence=hiding)
    first = (True, True, True, True, True, False)  # padding behind a hidden token must not confuse the two
    rows[5] = replace(rows[5], sequence=Rendered((3, 4, 5, 6, 7, 8), (False,) * 4 + (True,) * 2, first))
    padded, packed = opened(), opened()
    assert layout_of(packed, (3, 4, 5, 6, 7, 8, 9)) == "packed"
    for parameters in (padded.parameters(), packed.parameters()):
        assert all(weight.requires_grad for weight in parameters)
    one = micro_batch_log_probabilities(padded, collate(rows, padding_id=0))
    other = micro_batch_log_probabilities(packed, collate(rows, padding_id=0, layout="packed"))
    torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    one.sum().backward()
    other.sum().backward()
    for left, right in zip(padded.parameters(), packed.parameters(), strict=True):
        torch.testing.assert_close(left.grad, right.grad, rtol=1e-3, atol=2e-4)


# --------------------------------------------------------------------------------------------- output


@pytest.mark.parametrize("lora", [None, ADAPTERS])
def test_output_is_a_complete_plain_folder(tiny: Path, tmp_path: Path, lora: Lora | None) -> None:
    steps = fit(order_of("sft", tiny, lora=lora), tiny, tmp_path)
    out = tmp_path / "out"
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.dtype == torch.float32
    assert model.config.use_cache
    assert AutoTokenizer.from_pretrained(out).encode("w5 w6") == [5, 6]
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (out / name).read_bytes() == (tiny / name).read_bytes(), name
    assert set(model.state_dict()) == set(AutoModelForCausalLM.from_pretrained(tiny).state_dict())
    # The folder holds what was trained: scored again, the rows are more likely than the first loss said
    batch = collate(answers(), padding_id=0)
    again = -micro_batch_log_probabilities(model.eval(), batch).mean()
    assert float(again) < steps[0].loss - 0.3
    assert not list(out.glob("*adapter*"))


def test_frozen_weights_do_not_move_under_adapters(tiny: Path, tmp_path: Path) -> None:
    only = replace(ADAPTERS, target_modules=("q_proj",))
    fit(order_of("sft", tiny, lora=only), tiny, tmp_path)
    before = AutoModelForCausalLM.from_pretrained(tiny).state_dict()
    for name, weight in weights(tmp_path).items():
        assert torch.equal(weight, before[name]) != ("q_proj" in name), name


def test_only_one_model_is_ever_in_memory(tiny: Path, tmp_path: Path) -> None:
    order = order_of("dpo", tiny)
    gc.collect()
    known = {id(item) for item in gc.get_objects() if isinstance(item, LlamaForCausalLM)}
    already = {weight.data_ptr() for weight in parameters()}
    one_model = sum(weight.nbytes for weight in AutoModelForCausalLM.from_pretrained(tiny).parameters())
    gc.collect()
    seen = []

    def watch(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        models = [item for item in gc.get_objects() if isinstance(item, LlamaForCausalLM) and id(item) not in known]
        fresh = {weight.data_ptr(): weight.nbytes for weight in parameters() if weight.data_ptr() not in already}
        seen.append((len(models), sum(fresh.values())))

    TorchLoop(device="cpu").fit(
        order, model=TINY, folder=tiny, out=tmp_path / "out", scratch=tmp_path / "scratch", advance=watch
    )
    assert set(seen) == {(1, one_model)}


def parameters() -> list[torch.Tensor]:
    """All parameters of all Transformers models alive in this process."""
    return [weight for item in gc.get_objects() if isinstance(item, PreTrainedModel) for weight in item.parameters()]


# ------------------------------------------------------------------------------------------- schedule


def test_schedule_warms_up_then_falls_over_the_horizon_not_the_training() -> None:
    settings = Optimisation(
        learning_rate=1.0, batch_size=4, num_train_epochs=2, schedule_epochs=6, warmup_ratio=0.1, schedule="linear"
    )
    assert horizon(settings, examples=18) == 30
    assert steps_to_train(settings, examples=18) == 10
    rates = [learning_rate(settings, step=step, examples=18) for step in range(10)]
    assert rates[:4] == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])
    assert rates[-1] == pytest.approx((30 - 9) / 27)  # SPIN's "6 epochs, stop after 2": still near the peak


def test_schedules_equal_those_of_transformers() -> None:
    from transformers import get_scheduler

    for name, theirs in (("linear", "linear"), ("cosine", "cosine"), ("constant", "constant_with_warmup")):
        settings = Optimisation(learning_rate=0.3, batch_size=5, num_train_epochs=3, warmup_ratio=0.15, schedule=name)  # type: ignore[arg-type]
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
        scheduler = get_scheduler(theirs, optimiser, num_warmup_steps=math.ceil(0.15 * 15), num_training_steps=15)
        for step in range(15):
            assert learning_rate(settings, step=step, examples=22) == pytest.approx(scheduler.get_last_lr()[0])
            optimiser.step()
            scheduler.step()


def test_max_steps_stops_early_and_the_last_batch_is_kept(tiny: Path, tmp_path: Path) -> None:
    stopped = fit(order_of("sft", tiny, optimisation=replace(FAST, max_steps=2)), tiny, tmp_path / "a")
    full = fit(order_of("sft", tiny), tiny, tmp_path / "b")
    assert stopped == full[:2]
    assert len(full) == 9  # ten rows in batches of four: three steps an epoch


@pytest.mark.parametrize("optimiser", ["adamw", "rmsprop"])
@pytest.mark.parametrize(("norm", "counts"), [(1e-19, False), (1e-14, True)])
def test_a_gradient_too_small_to_be_squared_is_none(tiny: Path, optimiser: Any, norm: float, counts: bool) -> None:
    settings = replace(FAST, optimiser=optimiser, max_grad_norm=norm)
    training = TorchLoop(device="cpu").begin(
        TrainingOrder(answers(4), Sft(), settings, None, 0), answers(4), model=TINY, folder=tiny
    )
    assert training.take(lambda **_: None, micro_batch_tokens=512).gradient_norm > 0
    quantity = "exp_avg_sq" if optimiser == "adamw" else "square_avg"
    squares = torch.cat([state[quantity].flatten() for state in training.optimiser.state.values()])
    assert bool(squares.any()) is counts
    assert not ((squares > 0) & (squares < torch.finfo(torch.float32).tiny)).any()


def test_epoch_order_covers_every_row_once_and_changes_with_epoch_and_seed() -> None:
    orders = [epoch_order(50, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert sorted(chain.from_iterable(global_batch(step, count=50, batch_size=8, seed=0) for step in range(7))) == list(
        range(50)
    )
    assert len(global_batch(6, count=50, batch_size=8, seed=0)) == 2


def test_without_a_seed_every_epoch_sees_the_rows_as_they_are_given() -> None:
    given = TrainingOrder(answers(), Sft(), replace(FAST, order="as-given"), None, 7)
    assert order_seed(given) is None
    assert order_seed(order_of("sft", Path())) == 7
    assert [epoch_order(10, seed=None, epoch=epoch) for epoch in (0, 1)] == [list(range(10))] * 2
    batches = [global_batch(step, count=10, batch_size=4, seed=None) for step in range(6)]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] * 2


def test_micro_batches_keep_the_limit_and_share_rows_between_processes() -> None:
    rows = answers(23)
    shares = [micro_batches(rows, token_limit=30, process=process, processes=3) for process in range(3)]
    flat = [row.id for share in shares for group in share for row in group]
    assert sorted(flat) == sorted(row.id for row in rows)
    for group in (group for share in shares for group in share):
        longest = max(len(row.sequence.ids) for row in group)  # type: ignore[union-attr]
        assert longest * len(group) <= 30


# --------------------------------------------------------------------------------------------- crashes


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model."""
    return make_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def processes() -> multiprocessing.context.ForkServerContext:
    """Fresh processes that need not import PyTorch again each time."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers", "accelerate", "peft", "selfalign.trainers.fitting"])
    return context


RMSPROP = replace(FAST, optimiser="rmsprop", learning_rate=2e-3, schedule="cosine", warmup_ratio=0.2)
DROPPING = replace(ADAPTERS, dropout=0.3)


@pytest.mark.parametrize("after_step", [1, 4, 9])
@pytest.mark.parametrize(
    ("kind", "lora", "optimisation"),
    [("sft", None, FAST), ("dpo", DROPPING, FAST), ("dpo", None, RMSPROP)],
    ids=["full-adamw", "lora-dropout-adamw", "full-rmsprop"],
)
def test_a_killed_training_continues_to_the_same_bits(
    tiny: Path,
    tmp_path: Path,
    processes: multiprocessing.context.ForkServerContext,
    kind: str,
    lora: Lora | None,
    optimisation: Optimisation,
    after_step: int,
) -> None:
    order = order_of(kind, tiny, lora=lora, optimisation=optimisation)
    trainer = TorchLoop(device="cpu", checkpoint_seconds=0.0, micro_batch_tokens=24)
    undisturbed = fit(order, tiny, tmp_path / "undisturbed", trainer=trainer)

    place = tmp_path / "killed"
    place.mkdir()
    child = processes.Process(target=train_and_die, args=(order, tiny, place, trainer, after_step))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert not (place / "out").exists()
    # Killed after the step but before its checkpoint: that step is done again
    found = [folder.name.rsplit("-", 1)[-1] for folder in (place / "scratch").glob("checkpoint-*")]
    assert found == ([str(after_step - 1)] if after_step > 1 else [])

    heard: list[int] = []

    def listen(*, rows: int = 0, tokens: int = 0, step: int | None = None) -> None:
        heard.extend([] if step is None else [step])

    steps = trainer.fit(order, model=TINY, folder=tiny, out=place / "out", scratch=place / "scratch", advance=listen)
    assert steps == undisturbed
    assert digest(place) == digest(tmp_path / "undisturbed")
    assert heard == list(range(max(1, after_step - 1), 10))


def test_a_checkpoint_of_another_order_is_not_continued(tiny: Path, tmp_path: Path) -> None:
    often = TorchLoop(device="cpu", checkpoint_seconds=0.0)
    fit(order_of("sft", tiny), tiny, tmp_path, trainer=often)
    other = replace(order_of("sft", tiny), seed=8)
    fresh = fit(other, tiny, tmp_path / "fresh", trainer=often)
    assert fit(other, tiny, tmp_path, trainer=often) == fresh
    assert digest(tmp_path) == digest(tmp_path / "fresh")


def test_an_unfinished_checkpoint_is_not_seen_and_a_broken_one_is_named(tiny: Path, tmp_path: Path) -> None:
    often = TorchLoop(device="cpu", checkpoint_seconds=0.0)
    order = order_of("sft", tiny)
    steps = fit(order, tiny, tmp_path, trainer=often)
    (kept,) = (tmp_path / "scratch").glob("checkpoint-*")
    assert {file.name for file in kept.iterdir()} == {"weights.safetensors", "optimiser.safetensors", "steps.json"}
    kept.rename(kept.with_name(f"partial-{kept.name}"))
    assert fit(order, tiny, tmp_path, trainer=often) == steps
    (kept,) = (tmp_path / "scratch").iterdir()
    (kept / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(StoreError, match=f"{kept.name}.*delete that folder"):
        fit(order, tiny, tmp_path, trainer=often)


# ---------------------------------------------------------------------------------------------- errors


def test_no_examples(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="no examples to train on"):
        fit(TrainingOrder([], Sft(), FAST, None, 0), tiny, tmp_path)


def test_a_row_without_answer_tokens_is_named(tiny: Path, tmp_path: Path) -> None:
    rows = [*answers(3), AnswerExample(id="bare", sequence=rendered(4, 0, seed=0))]
    with pytest.raises(EngineError, match="row 'bare' has no answer tokens"):
        fit(TrainingOrder(rows, Sft(), FAST, None, 0), tiny, tmp_path)


def test_examples_of_the_wrong_kind_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'row-0' is a AnswerExample, but the objective Dpo"):
        fit(TrainingOrder(answers(3), Dpo(), FAST, None, 0), tiny, tmp_path)


def test_unknown_adapter_targets_list_what_exists(tiny: Path, tmp_path: Path) -> None:
    wrong = replace(ADAPTERS, target_modules=("q_proj", "query_proj"))
    with pytest.raises(EngineError, match=r"'query_proj'.*did you mean 'q_proj'.*It has: q_proj, k_proj"):
        fit(order_of("sft", tiny, lora=wrong), tiny, tmp_path)


def test_a_loss_that_is_no_number_names_step_and_rows(tiny: Path, tmp_path: Path) -> None:
    wild = replace(FAST, learning_rate=1e30)
    with pytest.raises(EngineError, match=r"step 2: loss .*not finite.*pair-2.*learning rate \(now 1e\+30\)"):
        fit(TrainingOrder(pairs(tiny, 4), Dpo(loss="exponential"), wild, None, 0), tiny, tmp_path)


def test_a_reference_that_is_no_number_is_named_before_training(tiny: Path, tmp_path: Path) -> None:
    rows = pairs(tiny, 4)
    rows[2] = replace(rows[2], reference_chosen=math.nan)
    with pytest.raises(EngineError, match="row 'pair-2' has the reference log-probabilities nan and"):
        fit(TrainingOrder(rows, Dpo(), FAST, None, 0), tiny, tmp_path)


def test_a_model_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="'openai:x' cannot be trained"):
        TorchLoop(device="cpu").fit(
            TrainingOrder(answers(), Sft(), FAST, None, 0),
            model=Model(ref="openai:x"),
            folder=None,
            out=tmp_path / "out",
            scratch=tmp_path,
        )


def test_a_model_that_changes_its_logits_after_the_head_is_refused(tmp_path: Path) -> None:
    from transformers import GraniteConfig, GraniteForCausalLM

    config = GraniteConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=8.0,
        initializer_range=0.5,
    )
    GraniteForCausalLM(config).save_pretrained(tmp_path / "granite")
    with pytest.raises(EngineError, match="changes its logits after"):
        fit(order_of_answers(), tmp_path / "granite", tmp_path / "run")


def order_of_answers() -> TrainingOrder:
    """An SFT order that needs no model to make."""
    return TrainingOrder(answers(), Sft(), FAST, None, 0)


def test_a_place_that_cannot_be_written_is_a_store_error(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StoreError, match=r"out cannot be written: .*free disk space.*run the same command"):
        fit(order_of_answers(), tiny, tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "scratch").write_text("in the way")
    with pytest.raises(StoreError, match="scratch cannot be written"):
        fit(order_of_answers(), tiny, tmp_path / "other", trainer=TorchLoop(device="cpu", checkpoint_seconds=0.0))


def test_running_out_of_memory_names_the_settings_to_lower() -> None:
    with (
        pytest.raises(EngineError, match=r"out of memory: lower place.micro_batch_tokens \(now 512\)"),
        memory_errors_named(TorchLoop(micro_batch_tokens=512)),
    ):
        torch.empty(10**17)


def test_gradient_checkpointing_runs_layers_twice(tiny: Path) -> None:
    calls = []
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()
    recompute_layers(model)
    model.model.layers[0].self_attn.register_forward_hook(lambda *given: calls.append(1))
    micro_batch_log_probabilities(model, collate(answers(2), padding_id=0)).sum().backward()
    assert len(calls) == 2
