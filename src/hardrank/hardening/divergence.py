"""How far apart two predictions are: Kullback-Leibler divergences of rows of logits."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["divergence", "kl", "symmetric_kl"]

_TILE_BYTES = 2 << 20
"""Rows worked on at a time fit in the cache, so that memory is the logits and little else."""


def kl(p: Tensor, q: Tensor) -> Tensor:
    """(N,) KL(softmax p || softmax q) of each row. p, q: (N, C) logits."""
    return divergence(p, q, forward=1.0, reverse=0.0)


def symmetric_kl(p: Tensor, q: Tensor) -> Tensor:
    """(N,) KL(p || q) + KL(q || p) of each row. p, q: (N, C) logits."""
    return divergence(p, q, forward=1.0, reverse=1.0)


def divergence(p: Tensor, q: Tensor, *, forward: float, reverse: float) -> Tensor:
    """(N,) forward * KL(p || q) + reverse * KL(q || p) of each row of (N, C) logits.

    Never below 0, exactly 0 for equal logits, and exact for near ones: each term is summed
    as p (log p - log q) - p + q, which is not negative, instead of terms that cancel. Both
    gradients are written in closed form; no second derivatives. Memory: p and q are kept,
    and the backward pass makes one gradient for each that needs one, so at most 4 tensors
    of (N, C) at once, 3 where one side is constant.
    """
    p, q = (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in (p, q))
    rows: Tensor = _Divergence.apply(p, q, forward, reverse)  # type: ignore[no-untyped-call]
    return rows


class _Divergence(torch.autograd.Function):
    """With r = log p - log q (of the probabilities), row by row:

    KL(p||q) = sum p r,  d/dp_j = p_j (r_j - KL(p||q)),  d/dq_j = q_j - p_j,
    and the same with p and q exchanged and r negated for KL(q||p).
    """

    @staticmethod
    def forward(ctx: Any, p: Tensor, q: Tensor, forward: float, reverse: float) -> Tensor:
        ctx.save_for_backward(p, q)
        ctx.weights = forward, reverse
        out = p.new_empty(len(p))
        for rows in _tiles(p):
            probs_p, probs_q, ratio = _read(p[rows], q[rows])
            out[rows] = 0.0
            if forward:
                out[rows] += forward * _mean_ratio(probs_p, probs_q, ratio)
            if reverse:
                out[rows] += reverse * _mean_ratio(probs_q, probs_p, -ratio)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, up: Tensor) -> tuple[Tensor | None, ...]:
        p, q = ctx.saved_tensors
        forward, reverse = ctx.weights
        grad_p = torch.empty_like(p) if ctx.needs_input_grad[0] else None
        grad_q = torch.empty_like(q) if ctx.needs_input_grad[1] else None
        for rows in _tiles(p):
            probs_p, probs_q, ratio = _read(p[rows], q[rows])
            slope = up[rows, None]
            if grad_p is not None:
                grad_p[rows] = slope * _slope(probs_p, probs_q, ratio, forward, reverse)
            if grad_q is not None:
                grad_q[rows] = slope * _slope(probs_q, probs_p, -ratio, reverse, forward)
        return grad_p, grad_q, None, None


def _tiles(p: Tensor) -> list[slice]:
    rows = max(1, _TILE_BYTES // max(1, p[:1].nbytes))
    return [slice(start, start + rows) for start in range(0, len(p), rows)]


def _read(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities of both and log p - log q."""
    log_p, log_q = p.log_softmax(1), q.log_softmax(1)
    return log_p.exp(), log_q.exp(), log_p - log_q


def _mean_ratio(one: Tensor, other: Tensor, ratio: Tensor) -> Tensor:
    """sum of one * ratio, ratio = log one - log other."""
    near = one * (ratio + torch.expm1(-ratio.clamp(-1, 1))).clamp_min(0)
    far = (one * ratio - one + other).clamp_min(0)
    return torch.where(ratio.abs() < 1, near, far).sum(1)


def _slope(one: Tensor, other: Tensor, ratio: Tensor, own: float, others: float) -> Tensor:
    """d (own * KL(one || other) + others * KL(other || one)) / d logits of one."""
    out = torch.zeros_like(one)
    if own:
        out += own * one * (ratio - (one * ratio).sum(1, keepdim=True))
    if others:
        out += others * (one - other)
    return out
