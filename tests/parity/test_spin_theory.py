"""SPIN's theory as numbers (claims T1 to T8 of the method's specification).

A policy over K outcomes of one prompt is a vector of logits; expectations over (y, y') are exact sums over K × K, in
float64. The losses under test are the ones training uses. No sampling, no network.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from selfalign.trainers.losses import margins, pair_losses

K = 6


def policies(seed: int = 0) -> tuple[Tensor, Tensor]:
    """A data distribution and an opponent, both with full support."""
    draw = torch.Generator().manual_seed(seed)
    return tuple(  # type: ignore[return-value]
        torch.randn(K, generator=draw, dtype=torch.float64).softmax(-1) for _ in range(2)
    )


def spin_loss(log_p: Tensor, *, data: Tensor, opponent: Tensor, reference: Tensor, lam: float) -> Tensor:
    """E over y ~ data, y' ~ opponent of l(lambda [log p(y)/ref(y) - log p(y')/ref(y')]): eq. 4.7, exactly."""
    first, second = torch.meshgrid(torch.arange(K), torch.arange(K), indexing="ij")
    first, second = first.flatten(), second.flatten()
    log_reference = reference.log()
    margin = margins(
        log_p[first],
        log_p[second],
        reference_chosen_P=log_reference[first],
        reference_rejected_P=log_reference[second],
    )
    weight = data[first] * opponent[second]
    return (weight * pair_losses(margin, beta=lam, loss="logistic")).sum()


def plain_loss(log_p: Tensor, *, data: Tensor, opponent: Tensor, lam: float) -> Tensor:
    """The loss without mixing: the opponent is the reference."""
    return spin_loss(log_p, data=data, opponent=opponent, reference=opponent, lam=lam)


def divergence(one: Tensor, other: Tensor) -> float:
    """KL(one || other) in nats."""
    return float((one * (one.log() - other.log())).sum())


def best_response(*, data: Tensor, opponent: Tensor, reference: Tensor, lam: float) -> Tensor:
    """The minimiser claimed by T4 and T7: reference × (data / opponent)^(1/lambda), normalised."""
    return (reference.log() + (data.log() - opponent.log()) / lam).softmax(-1)


def jensen_shannon(data: Tensor, opponent: Tensor) -> float:
    """JSD(data × opponent || opponent × data) in nats."""
    real, swapped = torch.outer(data, opponent).flatten(), torch.outer(opponent, data).flatten()
    middle = (real + swapped) / 2
    return (divergence(real, middle) + divergence(swapped, middle)) / 2


def gradient(log_p: Tensor, **given: Tensor | float) -> Tensor:
    """Gradient with respect to the logits at a policy."""
    logits = log_p.clone().requires_grad_()
    (slope,) = torch.autograd.grad(plain_loss(logits.log_softmax(-1), **given), logits)  # type: ignore[arg-type]
    return slope


@pytest.mark.parametrize("lam", [0.1, 1.0, 5.0])
def test_t1_training_starts_at_ln_2_with_no_margin(lam: float) -> None:
    data, opponent = policies()
    loss = plain_loss(opponent.log(), data=data, opponent=opponent, lam=lam)
    assert float(loss) == pytest.approx(math.log(2), abs=1e-12)
    zero = margins(
        opponent.log(), opponent.log(), reference_chosen_P=opponent.log(), reference_rejected_P=opponent.log()
    )
    assert zero.tolist() == [0.0] * K
    assert not bool((zero > 0).any())  # accuracy is strict: 0 at the start


@pytest.mark.parametrize("lam", [0.1, 1.0, 5.0])
def test_t2_at_the_data_nothing_can_be_gained(lam: float) -> None:
    data, _ = policies()
    for seed in range(50):
        other, _ = policies(seed)
        assert float(plain_loss(other.log(), data=data, opponent=data, lam=lam)) >= math.log(2) - 1e-12
    slope = gradient(data.log(), data=data, opponent=data, lam=lam)
    assert float(slope.abs().max()) < 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_t3_away_from_the_data_something_can_be_gained(seed: int) -> None:
    data, opponent = policies(seed)
    best = best_response(data=data, opponent=opponent, reference=opponent, lam=1.0)
    assert float(plain_loss(best.log(), data=data, opponent=opponent, lam=1.0)) < math.log(2) - 1e-4
    assert float(gradient(opponent.log(), data=data, opponent=opponent, lam=1.0).abs().max()) > 1e-3


@pytest.mark.parametrize("lam", [0.5, 1.0, 2.0, 5.0])
def test_t4_the_optimum_has_a_closed_form_and_one_value_for_every_lambda(lam: float) -> None:
    data, opponent = policies()
    best = best_response(data=data, opponent=opponent, reference=opponent, lam=lam)
    loss = float(plain_loss(best.log(), data=data, opponent=opponent, lam=lam))
    assert loss == pytest.approx(math.log(2) - jensen_shannon(data, opponent), abs=1e-9)
    assert float(gradient(best.log(), data=data, opponent=opponent, lam=lam).abs().max()) < 1e-9
    # and it is where descent ends, found without the formula
    found = minimised(data=data, opponent=opponent, lam=lam)
    torch.testing.assert_close(found, best, rtol=0, atol=1e-6)


def minimised(*, data: Tensor, opponent: Tensor, lam: float) -> Tensor:
    """The policy a quasi-Newton descent from the opponent ends at."""
    logits = opponent.log().clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = plain_loss(logits.log_softmax(-1), data=data, opponent=opponent, lam=lam)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return logits.detach().softmax(-1)


def log_ratio(policy: Tensor, data: Tensor) -> Tensor:
    """r = log(policy / data) up to its constant."""
    ratio = policy.log() - data.log()
    return ratio - ratio.mean()


@pytest.mark.parametrize(("lam", "factor"), [(1.0, 0.0), (2.0, 0.5), (0.5, -1.0), (0.1, -9.0)])
def test_t5_exact_rounds_multiply_the_log_ratio_by_one_minus_one_over_lambda(lam: float, factor: float) -> None:
    data, opponent = policies()
    start = log_ratio(opponent, data)
    after = log_ratio(best_response(data=data, opponent=opponent, reference=opponent, lam=lam), data)
    torch.testing.assert_close(after, factor * start, rtol=1e-9, atol=1e-12)


def rounds(lam: float, *, count: int, steps: int | None, rate: float = 20.0) -> list[float]:
    """KL(data || p_t) over rounds solved exactly (`steps` None) or by a few steps of descent on the logits."""
    data, policy = policies()
    distances = [divergence(data, policy)]
    for _ in range(count):
        opponent = policy
        if steps is None:
            policy = best_response(data=data, opponent=opponent, reference=opponent, lam=lam)
        else:
            log_p = opponent.log()
            for _ in range(steps):
                log_p = (log_p - rate * gradient(log_p, data=data, opponent=opponent, lam=lam)).log_softmax(-1)
            policy = log_p.exp()
        distances.append(divergence(data, policy))
    return distances


def test_t5_a_small_lambda_diverges_when_solved_and_converges_when_under_trained() -> None:
    solved = rounds(0.1, count=2, steps=None)
    assert solved[0] < solved[1] < solved[2]
    under_trained = rounds(0.1, count=6, steps=5)
    assert all(later < earlier for earlier, later in pairwise(under_trained))
    assert under_trained[-1] < 0.01 * under_trained[0]
    over_trained = rounds(0.1, count=6, steps=50)
    assert over_trained[-1] > over_trained[0]
    assert rounds(1.0, count=1, steps=None)[1] < 1e-12
    swinging = rounds(0.5, count=4, steps=None)
    assert swinging[4] == pytest.approx(swinging[0], abs=1e-9)


@pytest.mark.parametrize("lam", [0.1, 1.0, 5.0])
def test_t6_the_first_step_is_a_supervised_one(lam: float) -> None:
    data, opponent = policies()
    logits = opponent.log().clone().requires_grad_()
    (supervised,) = torch.autograd.grad(-(data * logits.log_softmax(-1)).sum(), logits)
    spin = gradient(opponent.log(), data=data, opponent=opponent, lam=lam)
    torch.testing.assert_close(spin, lam / 2 * supervised, rtol=1e-9, atol=1e-12)
    # only there: once the policy has moved, the two differ
    moved = best_response(data=data, opponent=opponent, reference=opponent, lam=2.0)
    away = gradient(moved.log(), data=data, opponent=opponent, lam=lam)
    logits = moved.log().clone().requires_grad_()
    (supervised,) = torch.autograd.grad(-(data * logits.log_softmax(-1)).sum(), logits)
    assert float((away - lam / 2 * supervised).abs().max()) > 1e-3


def test_t7_mixing_the_previous_opponent_moves_the_optimum_away_from_the_data() -> None:
    data, previous = policies()
    mixed = (data + previous) / 2  # p_t is the data already, p_(t-1) is not
    best = best_response(data=data, opponent=mixed, reference=data, lam=1.0)
    logits = best.log().clone().requires_grad_()
    loss = spin_loss(logits.log_softmax(-1), data=data, opponent=mixed, reference=data, lam=1.0)
    (slope,) = torch.autograd.grad(loss, logits)
    assert float(slope.abs().max()) < 1e-9
    assert divergence(data, best) > 0.01
    assert loss.item() < math.log(2)


def test_t8_swapping_negates_the_margin_and_a_constant_changes_nothing() -> None:
    data, opponent = policies()
    one, other, reference_one, reference_other = -torch.rand(
        4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    forward = margins(one, other, reference_chosen_P=reference_one, reference_rejected_P=reference_other)
    backward = margins(other, one, reference_chosen_P=reference_other, reference_rejected_P=reference_one)
    torch.testing.assert_close(forward, -backward, rtol=0, atol=1e-15)
    log_p, _ = policies(9)
    loss = plain_loss(log_p.log(), data=data, opponent=opponent, lam=0.7)
    shifted = plain_loss(log_p.log() + 3.7, data=data, opponent=opponent, lam=0.7)  # log Z(x) cancels
    assert float(loss) == pytest.approx(float(shifted), abs=1e-12)
