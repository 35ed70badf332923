"""A win rate as it would be if both answers were equally long. Pure; in the spirit of AlpacaEval 2, not its figures.

The regression, over the questions i that were read, with yᵢ ∈ {0, ½, 1} the preference for one's own answer and dᵢ how
many characters longer it is than the other one:

    P(own preferred) = σ(θ + φ·xᵢ)     xᵢ = tanh(dᵢ / s)     s: the standard deviation of the dᵢ

θ is the model's effect, φ that of length. Minimised is Σ −[yᵢ·log pᵢ + (1 − yᵢ)·log(1 − pᵢ)] + λ/2·φ² with λ = 0.1: φ
alone is drawn towards zero, which keeps it finite where length separates wins from losses, while the mean of the
fitted pᵢ stays that of the yᵢ. The rate is σ(θ): the preference predicted where the lengths are equal. AlpacaEval 2 has
a third term, how hard each instruction is, fitted over many models; one pair of models cannot tell it from chance.

Every question gets the value σ(θ) + nσ(θ)(1 − σ(θ))·[H⁻¹gᵢ]_θ, where gᵢ = (yᵢ − pᵢ)(1, xᵢ) − (0, λφ/n) and H is the
Hessian of the loss. The gᵢ sum to zero, so the mean of the values is σ(θ); and their spread is that of the
estimate (its influence function), so that a bootstrap over items includes how unsure φ is. One value may therefore
lie outside [0, 1]: it is a question's share in the rate, not a preference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_ITEMS = 10
PENALTY = 0.1
MOST_STEPS = 200
# The step below which Newton's method has arrived.
ARRIVED = 1e-12
FEW = f"under {LEAST_ITEMS} questions were read"
ALL_ONE_WAY = "every question was won, or every one lost: no preference is left to explain"
ONE_DIFFERENCE = "all answers differ in length by the same: nothing can be told about length"


@dataclass(frozen=True, slots=True)
class Controlled:
    """A rate at equal lengths, the effect φ of length, and each question's value; or why there is none."""

    rate: float | None
    length_effect: float | None
    values: tuple[float, ...] = ()
    why: str = ""


def length_controlled(preferences: Sequence[float], longer_by: Sequence[float]) -> Controlled:
    """The win rate at equal lengths, from preferences (1, ½, 0) and how much longer one's own answers are."""
    count = len(preferences)
    if count < LEAST_ITEMS:
        return Controlled(None, None, why=FEW)
    if len(set(preferences)) == 1 and preferences[0] in (0.0, 1.0):
        return Controlled(None, None, why=ALL_ONE_WAY)
    mean = math.fsum(longer_by) / count
    spread = math.sqrt(math.fsum((one - mean) ** 2 for one in longer_by) / count)
    if min(longer_by) == max(longer_by):
        return Controlled(None, None, why=ONE_DIFFERENCE)
    lengths = [math.tanh(one / spread) for one in longer_by]
    theta, phi = fitted(preferences, lengths)
    return Controlled(logistic(theta), phi, values_of(preferences, lengths, theta, phi))


def logistic(value: float) -> float:
    """σ, without overflow."""
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0 else math.exp(value) / (1.0 + math.exp(value))


def loss(preferences: Sequence[float], lengths: Sequence[float], theta: float, phi: float) -> float:
    """What is minimised: Σ log(1 + eᶻ) − y·z, which is the cross-entropy, and the penalty."""
    logits = [theta + phi * length for length in lengths]
    terms = (max(z, 0.0) + math.log1p(math.exp(-abs(z))) - y * z for y, z in zip(preferences, logits, strict=True))
    return math.fsum(terms) + PENALTY / 2 * phi**2


def fitted(preferences: Sequence[float], lengths: Sequence[float]) -> tuple[float, float]:
    """θ and φ at the one minimum: Newton's method, a step halved until the loss does not rise."""
    theta, phi = 0.0, 0.0
    now = loss(preferences, lengths, theta, phi)
    for _ in range(MOST_STEPS):
        slope = [y - logistic(theta + phi * x) for y, x in zip(preferences, lengths, strict=True)]
        gradient = (math.fsum(slope), math.fsum(g * x for g, x in zip(slope, lengths, strict=True)) - PENALTY * phi)
        step_theta, step_phi = solved(hessian(lengths, theta, phi), gradient)
        share, rounding = 1.0, ARRIVED * now
        while (
            after := loss(preferences, lengths, theta + share * step_theta, phi + share * step_phi)
        ) > now + rounding:
            share /= 2
            if share < ARRIVED:
                return theta, phi
        theta, phi, now = theta + share * step_theta, phi + share * step_phi, after
        if max(abs(step_theta), abs(step_phi)) < ARRIVED:
            break
    return theta, phi


def hessian(lengths: Sequence[float], theta: float, phi: float) -> tuple[float, float, float]:
    """The second derivatives of the loss: by θ twice, by θ and φ, by φ twice."""
    weights = []
    for x in lengths:
        p = logistic(theta + phi * x)
        weights.append(p * (1 - p))
    mixed = math.fsum(w * x for w, x in zip(weights, lengths, strict=True))
    return math.fsum(weights), mixed, math.fsum(w * x * x for w, x in zip(weights, lengths, strict=True)) + PENALTY


def solved(matrix: tuple[float, float, float], vector: tuple[float, float]) -> tuple[float, float]:
    """The solution of a symmetric 2 × 2 system."""
    a, b, d = matrix
    determinant = a * d - b * b
    return (d * vector[0] - b * vector[1]) / determinant, (a * vector[1] - b * vector[0]) / determinant


def values_of(preferences: Sequence[float], lengths: Sequence[float], theta: float, phi: float) -> tuple[float, ...]:
    """Each question's share in the rate; see the module."""
    count, rate, matrix = len(preferences), logistic(theta), hessian(lengths, theta, phi)
    found = []
    for y, x in zip(preferences, lengths, strict=True):
        off = y - logistic(theta + phi * x)
        moved, _ = solved(matrix, (off, off * x - PENALTY * phi / count))
        found.append(rate + count * rate * (1 - rate) * moved)
    return tuple(found)
