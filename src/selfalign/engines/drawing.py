"""From logits to tokens: greedy, or one inverse-CDF draw per row from that row's own stream of uniform numbers."""

from __future__ import annotations

import numpy as np
import torch

from selfalign.types import Sampling

BLOCK = 256
# How many of the likeliest tokens are sorted first for top_p; rows that need more are sorted whole.
LIKELIEST = 512


def uniforms(seed: int, count: int) -> torch.Tensor:
    """The first `count` numbers in [0, 1) of a seed's stream, float64.

    Philox raw bits are specified for good; numpy's distributions are not, so the numbers are made from the bits.
    """
    bits = np.random.Philox(key=seed).random_raw(count)
    return torch.from_numpy((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def drawn(logits_NV: torch.Tensor, uniform_N: torch.Tensor, *, sampling: Sampling) -> torch.Tensor:
    """One token per row, [N]: the likeliest at temperature 0, else the row's draw. Row i uses `uniform_N[i]` only."""
    if sampling.temperature == 0:
        return logits_NV.argmax(dim=-1)
    if sampling.top_k > 0 or sampling.top_p < 1:
        return drawn_of_few(logits_NV.float() / sampling.temperature, uniform_N, sampling=sampling)
    weights_NV = (logits_NV.float() - logits_NV.amax(dim=-1, keepdim=True).float()).div_(sampling.temperature).exp_()
    return inverse_cdf(weights_NV, uniform_N)


def inverse_cdf(weights_NV: torch.Tensor, uniform_N: torch.Tensor) -> torch.Tensor:
    """The first token of each row at which the cumulative share of the weights passes the row's uniform number, [N].

    In two levels, blocks and then tokens of one block, so that V cumulative sums shrink to V / 256 + 256: for 64 rows
    of 49,152 tokens a tenth of what softmax and multinomial take. Sums are float64. A weight of 0 is never drawn.
    """
    rows, size = weights_NV.shape
    spare = -size % BLOCK
    blocks = torch.nn.functional.pad(weights_NV, (0, spare)) if spare else weights_NV
    blocks = blocks.view(rows, -1, BLOCK)
    block_N1, rest_N = passed(blocks.sum(dim=-1).double().cumsum(dim=-1), uniform_N, share=True)
    inside = blocks.gather(1, block_N1[:, :, None].expand(rows, 1, BLOCK))[:, 0].double().cumsum(dim=-1)
    token_N1, _ = passed(inside, rest_N, share=False)
    return (block_N1 * BLOCK + token_N1)[:, 0]


def passed(sums: torch.Tensor, target_N: torch.Tensor, *, share: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each row of cumulative sums passes its target, [N, 1], and what is left of the target there, [N].

    `share`: the target is a share of the row's total. A target that rounding put at or above the total falls just
    below it, so that the place found always has a weight above 0.
    """
    total_N1 = sums[:, -1:]
    target_N1 = target_N.to(sums)[:, None] * total_N1 if share else target_N[:, None]
    target_N1 = torch.minimum(target_N1, torch.nextafter(total_N1, torch.zeros_like(total_N1)))
    place_N1 = torch.searchsorted(sums, target_N1, right=True)
    before_N1 = torch.where(place_N1 > 0, sums.gather(1, (place_N1 - 1).clamp(min=0)), torch.zeros_like(total_N1))
    return place_N1, (target_N1 - before_N1)[:, 0]


def drawn_of_few(scaled_NV: torch.Tensor, uniform_N: torch.Tensor, *, sampling: Sampling) -> torch.Tensor:
    """One token per row among the `top_k` likeliest, and of these the fewest whose share reaches `top_p`, [N]."""
    size = scaled_NV.shape[-1]
    if sampling.top_k > 0:
        kept_NK, token_NK = scaled_NV.topk(min(sampling.top_k, size), dim=-1)
        total_N1 = kept_NK.double().logsumexp(dim=-1, keepdim=True)
        return drawn_sorted(kept_NK, token_NK, total_N1, uniform_N, top_p=sampling.top_p)
    total_N1 = scaled_NV.double().logsumexp(dim=-1, keepdim=True)
    kept_NK, token_NK = scaled_NV.topk(min(LIKELIEST, size), dim=-1)
    tokens_N = drawn_sorted(kept_NK, token_NK, total_N1, uniform_N, top_p=sampling.top_p)
    lacking = (kept_NK.double() - total_N1).exp().sum(dim=-1) < sampling.top_p
    if size > LIKELIEST and bool(lacking.any()):
        all_NV, token_NV = scaled_NV[lacking].sort(dim=-1, descending=True)
        tokens_N[lacking] = drawn_sorted(
            all_NV, token_NV, total_N1[lacking], uniform_N[lacking.to(uniform_N.device)], top_p=sampling.top_p
        )
    return tokens_N


def drawn_sorted(
    kept_NK: torch.Tensor, token_NK: torch.Tensor, total_N1: torch.Tensor, uniform_N: torch.Tensor, *, top_p: float
) -> torch.Tensor:
    """One token per row from logits sorted downwards: tokens before which less than `top_p` has gathered, [N]."""
    share_NK = (kept_NK.double() - total_N1).exp()
    before_NK = share_NK.cumsum(dim=-1) - share_NK
    sums_NK = torch.where(before_NK < top_p, share_NK, torch.zeros_like(share_NK)).cumsum(dim=-1)
    place_N1, _ = passed(sums_NK, uniform_N, share=True)
    return token_NK.gather(1, place_N1)[:, 0]
