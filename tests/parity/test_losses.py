"""Each loss and its gradient against an independent float64 formula; the chunked head against the full one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from selfalign.ports import AnswerExample, PairExample, Rendered
from selfalign.trainers.batches import answer_tokens, collate
from selfalign.trainers.losses import (
    answer_log_probabilities,
    margins,
    negative_log_likelihood,
    pair_losses,
    sequence_log_probabilities,
)

Numbers = npt.NDArray[np.float64]
FORMULAS: dict[str, tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]] = {
    "logistic": (lambda u: np.log(1 + np.exp(-u)), lambda u: -1 / (1 + np.exp(u))),
    "hinge": (lambda u: np.maximum(0, 1 - u), lambda u: np.where(u < 1, -1.0, 0.0)),
    "exponential": (lambda u: np.exp(-u), lambda u: -np.exp(-u)),
    "correlation": (lambda u: 1 - u, lambda u: -np.ones_like(u)),
}
MARGINS = np.array([-30.0, -3.0, -0.5, 0.0, 0.25, 2.0, 7.0])


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_pair_losses_and_their_slopes(name: str, beta: float) -> None:
    value, slope = FORMULAS[name]
    margin = torch.tensor(MARGINS, requires_grad=True)
    losses = pair_losses(margin, beta=beta, loss=name)  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(losses.sum(), margin)
    np.testing.assert_allclose(losses.detach().numpy(), value(beta * MARGINS), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gradient.numpy(), beta * slope(beta * MARGINS), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_pair_losses_are_convex_and_fall_at_zero(name: str) -> None:
    grid = torch.linspace(-4, 4, 81, dtype=torch.float64)
    losses = pair_losses(grid, beta=1.0, loss=name)  # type: ignore[arg-type]
    assert bool((losses.diff() <= 1e-12).all())
    assert bool((losses.diff(n=2) >= -1e-12).all())
    assert float(losses[41] - losses[40]) < -0.04


def test_logistic_loss_does_not_overflow() -> None:
    far = torch.tensor([-1e5, 1e5], requires_grad=True)
    losses = pair_losses(far, beta=5.0, loss="logistic")
    losses.sum().backward()
    assert losses.tolist() == [5e5, 0.0]
    assert far.grad is not None
    assert far.grad.tolist() == [-5.0, 0.0]


def test_margin_is_the_difference_of_two_log_ratios() -> None:
    margin = margins(
        torch.tensor([-3.0]),
        torch.tensor([-7.0]),
        reference_chosen_P=torch.tensor([-4.0]),
        reference_rejected_P=torch.tensor([-5.0]),
    )
    assert margin.tolist() == [(-3.0 + 4.0) - (-7.0 + 5.0)]


# ------------------------------------------------------------------------------------------ the head


def full_head(
    hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Log-probabilities with all logits in memory, in float64."""
    logits = hidden.double() @ weight.double().T + (0.0 if bias is None else bias.double())
    return logits.log_softmax(-1).gather(-1, targets[:, None])[:, 0]


@pytest.mark.parametrize("chunk", [1, 3, 7, 64])
@pytest.mark.parametrize(("head_trained", "with_bias"), [(True, False), (False, False), (True, True)])
def test_the_head_in_chunks_equals_the_full_head(chunk: int, *, head_trained: bool, with_bias: bool) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(11, 8, requires_grad=True)
    weight = torch.randn(50, 8, requires_grad=head_trained)
    bias = torch.randn(50) if with_bias else None
    targets = torch.randint(0, 50, (11,))
    given = torch.randn(11)  # an arbitrary loss on top
    ours = answer_log_probabilities(hidden, weight, targets_N=targets, bias_V=bias, chunk_positions=chunk)
    theirs = full_head(hidden, weight, targets, bias)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    learned = [hidden, weight] if head_trained else [hidden]
    for one, other in zip(
        torch.autograd.grad((ours * given).sum(), learned),
        torch.autograd.grad((theirs * given).sum(), learned),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_heads_gradient_passes_a_numeric_check() -> None:
    torch.manual_seed(1)
    hidden = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 3, 8, 3, 1])
    ours = answer_log_probabilities(hidden, weight, targets_N=targets, chunk_positions=2)
    ours.sum().backward()
    step = 1e-5
    for leaf in (hidden, weight):
        assert leaf.grad is not None
        for index in [(0, 0), (2, 3), (4, 1)]:
            with torch.no_grad():
                moved = [leaf.detach().clone(), leaf.detach().clone()]
                moved[0][index] += step
                moved[1][index] -= step
                values = [
                    full_head(*((side, weight) if leaf is hidden else (hidden, side)), targets).sum() for side in moved
                ]
            assert float(leaf.grad[index]) == pytest.approx(float((values[0] - values[1]) / (2 * step)), abs=1e-4)


def test_a_frozen_head_and_frozen_states_need_no_backward_pass() -> None:
    ours = answer_log_probabilities(torch.randn(3, 4), torch.randn(6, 4), targets_N=torch.tensor([1, 2, 3]))
    assert not ours.requires_grad


# ----------------------------------------------------------------------------------- which tokens count


def test_sequence_log_probability_is_a_sum_over_answer_tokens() -> None:
    log_p = torch.tensor([-1.0, -2.0, -4.0, -8.0, -16.0])
    owner = torch.tensor([0, 0, 2, 2, 2])
    assert sequence_log_probabilities(log_p, sequence_N=owner, sequences=4).tolist() == [-3.0, 0.0, -28.0, 0.0]


def test_negative_log_likelihood_shares_add_up() -> None:
    log_p = torch.tensor([-1.0, -2.0, -6.0])
    parts = [negative_log_likelihood(part, answer_tokens=3) for part in (log_p[:1], log_p[1:])]
    assert float(sum(parts)) == pytest.approx(3.0)


def test_prompt_tokens_are_never_targets() -> None:
    one = Rendered(ids=(3, 4, 5, 6, 7), loss=(False, False, False, True, True), attention=(True,) * 5)
    two = Rendered(ids=(3, 8), loss=(False, True), attention=(True,) * 2)
    batch = collate([AnswerExample("a", one), AnswerExample("b", two)], padding_id=0)
    assert batch.targets_N.tolist() == [6, 7, 8]
    assert batch.sequence_N.tolist() == [0, 0, 1]
    # each is predicted at the position before it, in the flattened 2 × 5 positions
    assert batch.predictor_N.tolist() == [2, 3, 5]
    assert batch.lengths == (5, 2)
    packed = collate([AnswerExample("a", one), AnswerExample("b", two)], padding_id=0, layout="packed")
    assert packed.targets_N.tolist() == [6, 7, 8]
    assert packed.predictor_N.tolist() == [2, 3, 5]
    assert packed.tokens_RT.tolist() == [[3, 4, 5, 6, 7, 3, 8]]
    assert packed.positions_RT.tolist() == [[0, 1, 2, 3, 4, 0, 1]]


def test_a_first_token_has_nothing_to_be_predicted_from() -> None:
    bare = Rendered(ids=(3, 4), loss=(True, True), attention=(True, True))
    assert answer_tokens(bare) == 1
    assert collate([AnswerExample("a", bare)], padding_id=0).targets_N.tolist() == [4]


def test_chosen_sides_come_first_then_rejected_in_the_same_order() -> None:
    def pair(name: str, chosen: int, rejected: int) -> PairExample:
        sides = [Rendered(ids=(1, answer), loss=(False, True), attention=(True, True)) for answer in (chosen, rejected)]
        return PairExample(name, sides[0], sides[1], -1.0, -2.0)

    batch = collate([pair("a", 10, 20), pair("b", 11, 21)], padding_id=0)
    assert batch.targets_N.tolist() == [10, 11, 20, 21]
    assert batch.sequence_N.tolist() == [0, 1, 2, 3]
    assert batch.reference_chosen_P.tolist() == [-1.0, -1.0]
    assert batch.reference_rejected_P.tolist() == [-2.0, -2.0]
