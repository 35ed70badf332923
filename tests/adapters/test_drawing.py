"""Draws follow the distribution they are drawn from, and a row's stream is fixed for good."""

from __future__ import annotations

import pytest

from selfalign.types import Sampling

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper  # noqa: E402

from selfalign.engines.drawing import drawn, inverse_cdf, uniforms  # noqa: E402


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(), Sampling(temperature=0.7), Sampling(top_k=5), Sampling(top_p=0.6), Sampling(top_k=40, top_p=0.8),
        Sampling(top_p=0.97, temperature=1.5),
    ],
)  # fmt: skip
def test_draws_follow_the_softmax(sampling: Sampling) -> None:
    """Chi-square of 20,000 draws, each from a stream of its own, against the library's own filters."""
    count, size = 20_000, 700
    logits_V = torch.randn(size, generator=torch.Generator().manual_seed(3)) * 2.5
    logits_V[::7] = -torch.inf
    expected = TemperatureLogitsWarper(sampling.temperature)(None, logits_V[None])
    if sampling.top_k:
        expected = TopKLogitsWarper(sampling.top_k)(None, expected)
    if sampling.top_p < 1:
        expected = TopPLogitsWarper(sampling.top_p)(None, expected)
    expected_V = expected[0].double().softmax(-1) * count
    uniform_N = torch.stack([uniforms(seed, 3)[2] for seed in range(count)])
    tokens_N = torch.cat(
        [drawn(logits_V.expand(len(part), -1), part, sampling=sampling) for part in uniform_N.split(500)]
    )
    seen_V = torch.bincount(tokens_N, minlength=size).double()
    assert seen_V[expected_V == 0].sum() == 0
    common = expected_V > 5
    rest = torch.stack([seen_V[~common].sum(), expected_V[~common].sum()])
    chi = ((seen_V[common] - expected_V[common]) ** 2 / expected_V[common]).sum() + (rest[0] - rest[1]) ** 2 / (
        rest[1] + 1
    )
    freedom = int(common.sum())
    assert float(chi) < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-53])
@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
def test_the_ends_of_the_scale_draw_tokens_that_have_weight(uniform: float, size: int) -> None:

    weights_V = torch.zeros(1, size)
    weights_V[0, size // 2] = 1e-30
    assert inverse_cdf(weights_V, torch.tensor([uniform], dtype=torch.float64)).tolist() == [size // 2]


def test_a_stream_is_uniform_and_its_beginning_does_not_depend_on_its_length() -> None:

    assert uniforms(5, 100)[:10].tolist() == uniforms(5, 10).tolist()
    assert uniforms(5, 10).tolist() != uniforms(6, 10).tolist()
    # fixed for good: a seed that draws other numbers tomorrow breaks every resumed run
    assert uniforms(5, 2).tolist() == PHILOX_OF_5
    numbers = uniforms(9, 100_000)
    assert 0 <= float(numbers.min()) <= float(numbers.max()) < 1
    assert float(numbers.mean()) == pytest.approx(0.5, abs=0.005)


PHILOX_OF_5 = [0.7337459554446363, 0.5905206445727093]
