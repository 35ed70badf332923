"""A win rate at equal lengths: the regression beside SciPy, a judge of length, and when there is none."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from selfalign.judging.length_control import (
    ALL_ONE_WAY,
    FEW,
    ONE_DIFFERENCE,
    PENALTY,
    length_controlled,
    logistic,
)

Data = tuple[list[float], list[float]]


def comparisons(seed: int, *, quality: float, length_effect: float, longer: float = 250.0, count: int = 80) -> Data:
    """Preferences by a judge asked in both orders, each time with its own noise, and length differences."""
    draw = random.Random(seed)
    differences = [round(draw.gauss(longer, 300)) for _ in range(count)]
    preferences = []
    for difference in differences:
        chance = logistic(quality + length_effect * math.tanh(difference / 300))
        preferences.append((draw.random() < chance) / 2 + (draw.random() < chance) / 2)
    return preferences, [float(one) for one in differences]


def rates(**settings: float) -> tuple[float, float]:
    """The raw and the controlled rate, means over many draws."""
    raw, controlled = [], []
    for seed in range(40):
        preferences, differences = comparisons(seed, **settings)  # type: ignore[arg-type]
        found = length_controlled(preferences, differences)
        if found.rate is not None:
            raw.append(statistics.fmean(preferences))
            controlled.append(found.rate)
    return statistics.fmean(raw), statistics.fmean(controlled)


def test_a_judge_of_length_alone_gives_a_high_rate_and_a_controlled_one_near_a_half() -> None:
    raw, controlled = rates(quality=0.0, length_effect=6.0)
    assert raw > 0.75
    assert abs(controlled - 0.5) < 0.05


def test_a_judge_of_quality_alone_gives_the_same_rate_twice() -> None:
    raw, controlled = rates(quality=1.0, length_effect=0.0)
    assert abs(raw - logistic(1.0)) < 0.02
    assert abs(controlled - raw) < 0.02


def test_the_fit_is_that_of_scipy() -> None:
    from scipy.optimize import minimize

    preferences, differences = comparisons(3, quality=0.4, length_effect=2.0)
    spread = statistics.pstdev(differences)
    lengths = [math.tanh(one / spread) for one in differences]

    def loss(parameters: tuple[float, float]) -> float:
        theta, phi = parameters
        chances = [logistic(theta + phi * x) for x in lengths]
        terms = (y * math.log(p) + (1 - y) * math.log(1 - p) for y, p in zip(preferences, chances, strict=True))
        return -math.fsum(terms) + PENALTY / 2 * phi**2

    best = minimize(loss, (0.0, 0.0), method="BFGS", options={"gtol": 1e-9}).x
    found = length_controlled(preferences, differences)
    assert found.rate == pytest.approx(logistic(float(best[0])), abs=1e-6)
    assert found.length_effect == pytest.approx(float(best[1]), abs=1e-5)


def test_the_spread_of_the_values_is_that_of_the_rate() -> None:
    found = [length_controlled(*comparisons(seed, quality=0.5, length_effect=2.0, count=200)) for seed in range(200)]
    known = [one for one in found if one.rate is not None]
    seen = statistics.stdev(one.rate for one in known if one.rate is not None)
    said = statistics.fmean(statistics.pstdev(one.values) / math.sqrt(200) for one in known)
    assert said == pytest.approx(seen, rel=0.15)


@settings(max_examples=60, deadline=None)
@given(
    some.lists(
        some.tuples(some.sampled_from((0.0, 0.5, 1.0)), some.integers(-10_000, 10_000)), min_size=10, max_size=40
    )
)
def test_the_mean_of_the_values_is_the_rate_and_sides_are_alike(rows: list[tuple[float, int]]) -> None:
    preferences, differences = [one for one, _ in rows], [float(one) for _, one in rows]
    found = length_controlled(preferences, differences)
    assert found == length_controlled(preferences, differences)
    if found.rate is None:
        assert found.why
        return
    assert len(found.values) == len(rows)
    assert all(map(math.isfinite, found.values))
    assert statistics.fmean(found.values) == pytest.approx(found.rate, abs=1e-6)
    flipped = length_controlled([1 - one for one in preferences], [-one for one in differences])
    assert flipped.rate == pytest.approx(1 - found.rate, abs=1e-6)


@pytest.mark.parametrize(
    ("preferences", "differences", "why"),
    [
        ([], [], FEW),
        ([1.0, 0.0] * 4 + [1.0], list(range(9)), FEW),
        ([1.0] * 20, list(range(20)), ALL_ONE_WAY),
        ([0.0] * 20, list(range(20)), ALL_ONE_WAY),
        ([1.0, 0.0] * 10, [7] * 20, ONE_DIFFERENCE),
        ([1.0, 0.0] * 10, [0] * 20, ONE_DIFFERENCE),
    ],
)
def test_where_nothing_can_be_told_there_is_no_rate_and_a_reason(
    preferences: list[float], differences: list[float], why: str
) -> None:
    found = length_controlled(preferences, differences)
    assert (found.rate, found.values, found.why) == (None, (), why)


def test_ties_alone_are_a_half() -> None:
    found = length_controlled([0.5] * 12, [float(one) for one in range(12)])
    assert found.rate == pytest.approx(0.5)
    assert all(one == pytest.approx(0.5) for one in found.values)
