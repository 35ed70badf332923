"""Log-probabilities of answers and the losses over them: tensors in, tensors out.

Knows no model, tokenizer, optimiser or method. Shapes: `_N` answer positions of a micro-batch, `_S` sequences, `_P`
pairs, `_D` hidden size, `_V` vocabulary. Log-probabilities are natural logarithms (nats) in float32.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

CHUNK_POSITIONS = 256  # 256 rows keep the matrix products efficient; 256 × 128k words in float32 are 128 MiB


def answer_log_probabilities(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    *,
    targets_N: Tensor,
    bias_V: Tensor | None = None,
    chunk_positions: int = CHUNK_POSITIONS,
) -> Tensor:
    """The log-probability of each target at each position, float32 of shape N; the N × V logits never exist at once.

    log p_n = z_n[target_n] - log Σ_v exp z_n[v], with z_n = W h_n + b. Values and gradients are those of the full
    computation, up to the rounding of one chunk.

    Args:
        hidden_ND: what the last layer says at the position *before* each answer token.
        weight_VD: the language-model head.
        targets_N: the answer tokens (int64).
        bias_V: the head's bias, if it has one; it gets no gradient.
        chunk_positions: how many positions have their logits in memory at a time.
    """
    log_probabilities: Tensor = HeadInChunks.apply(hidden_ND, weight_VD, bias_V, targets_N, chunk_positions)  # type: ignore[no-untyped-call]
    return log_probabilities


class HeadInChunks(torch.autograd.Function):
    """The head and its log-softmax, a chunk of positions at a time.

    d log p_n / d h_n = W[target_n] - Σ_v p_n[v] W[v] does not depend on the loss, so while logits are there anyway it
    is computed at once and kept (N × D), and a frozen head costs no second product. The head's own gradient does
    depend on the loss: a trained head computes each chunk's logits again in the backward pass instead.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor, chunk_positions: int
    ) -> Tensor:
        """See `answer_log_probabilities`."""
        keep_slope = ctx.needs_input_grad[0] and not ctx.needs_input_grad[1]
        log_p_N = hidden_ND.new_empty(len(hidden_ND), dtype=torch.float32)
        norm_N = torch.empty_like(log_p_N)
        slope_ND = torch.empty_like(hidden_ND) if keep_slope else None
        for rows in chunks(len(hidden_ND), chunk_positions):
            logits = chunk_logits(hidden_ND[rows], weight_VD, bias_V)
            norm_N[rows] = torch.logsumexp(logits, dim=-1)
            log_p_N[rows] = logits.gather(-1, targets_N[rows, None])[:, 0] - norm_N[rows]
            if slope_ND is not None:
                probability = logits.sub_(norm_N[rows, None]).exp_().to(weight_VD.dtype)
                slope_ND[rows] = weight_VD[targets_N[rows]] - probability @ weight_VD
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N, norm_N, slope_ND)
        ctx.chunk_positions = chunk_positions
        return log_p_N

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        """Gradients for the hidden states and, if it is trained, the head."""
        hidden_ND, weight_VD, bias_V, targets_N, norm_N, slope_ND = ctx.saved_tensors
        given_N = gradients[0]
        if slope_ND is not None:
            return (slope_ND * given_N[:, None].to(slope_ND.dtype)), None, None, None, None
        if not ctx.needs_input_grad[1]:
            return None, None, None, None, None
        d_hidden_ND = torch.empty_like(hidden_ND)
        d_weight_VD = torch.zeros_like(weight_VD)
        for rows in chunks(len(hidden_ND), ctx.chunk_positions):
            d_logits = chunk_logits(hidden_ND[rows], weight_VD, bias_V).sub_(norm_N[rows, None]).exp_().neg_()
            d_logits.scatter_add_(-1, targets_N[rows, None], torch.ones_like(norm_N[rows, None]))
            d_logits = d_logits.mul_(given_N[rows, None]).to(weight_VD.dtype)
            d_hidden_ND[rows] = d_logits @ weight_VD
            d_weight_VD.addmm_(d_logits.T, hidden_ND[rows])
        return (d_hidden_ND if ctx.needs_input_grad[0] else None), d_weight_VD, None, None, None


def chunks(positions: int, size: int) -> list[slice]:
    """Slices of at most `size` that cover 0 … `positions`."""
    return [slice(start, min(start + size, positions)) for start in range(0, positions, size)]


def chunk_logits(hidden: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
    """Logits of a few positions, float32; the product itself runs in the dtype of the hidden states."""
    logits = hidden @ weight_VD.T
    return (logits if bias_V is None else logits + bias_V).float()


def sequence_log_probabilities(log_p_N: Tensor, *, sequence_N: Tensor, sequences: int) -> Tensor:
    """The *sum* of answer-token log-probabilities of each sequence, float32 of shape S (never the mean: SPIN § 1.2).

    Args:
        log_p_N: log-probability of each answer token of the micro-batch.
        sequence_N: which sequence each of them belongs to (int64, 0 … `sequences` - 1).
        sequences: S.
    """
    return torch.zeros(sequences, dtype=torch.float32, device=log_p_N.device).index_add(0, sequence_N, log_p_N.float())


def margins(
    chosen_P: Tensor, rejected_P: Tensor, *, reference_chosen_P: Tensor, reference_rejected_P: Tensor
) -> Tensor:
    """How much more the model moved towards the chosen than the rejected answer, in nats, shape P.

    m = [log p(y⁺|x) - log p_ref(y⁺|x)] - [log p(y⁻|x) - log p_ref(y⁻|x)]  (SPIN eq. 4.7 without lambda).
    """
    return (chosen_P - reference_chosen_P) - (rejected_P - reference_rejected_P)


def pair_losses(
    margin_P: Tensor, *, beta: float, loss: Literal["logistic", "hinge", "exponential", "correlation"]
) -> Tensor:
    """l(u) of each pair, u = `beta` × margin, shape P: convex, decreasing, l'(0) < 0 (SPIN Assumption 5.1).

    logistic log(1 + e^-u) · hinge max(0, 1 - u) · exponential e^-u · correlation 1 - u. The correlation loss is
    linear, hence unbounded below: it never saturates and only a small number of steps keeps it in check (SPIN § 4.1).
    """
    u_P = beta * margin_P
    if loss == "logistic":
        return torch.nn.functional.softplus(-u_P)
    if loss == "hinge":
        return torch.relu(1.0 - u_P)
    if loss == "exponential":
        return torch.exp(-u_P)
    return 1.0 - u_P


def negative_log_likelihood(log_p_N: Tensor, *, answer_tokens: int) -> Tensor:
    """-Σ log p / `answer_tokens`: a micro-batch's share of the mean NLL per answer token of the *global* batch.

    Shares of all micro-batches and processes sum to the loss, so how a batch is cut changes it by rounding only.
    """
    return -log_p_N.float().sum() / answer_tokens
