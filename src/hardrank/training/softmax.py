"""Cross-entropy over a whole catalogue without ever holding all logits."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["catalogue_cross_entropy"]

_TILE_BYTES = 8 << 20
"""A tile of logits that stays in the cache is about twice as fast as one of 64 MiB."""


def catalogue_cross_entropy(
    states: Tensor,
    items: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    *,
    half: bool = False,
) -> Tensor:
    """Mean of -log softmax(states @ items.T + bias)[target], a scalar.

    states: (N, D); items: (I, D); targets: (N,) rows of `items`; bias: (I,) or None.
    Works through tiles of rows and accumulates both gradients on the way, so memory is one
    tile instead of (N, I); the value and gradients equal `F.cross_entropy`'s. With `half`
    the three matrix products run in bfloat16 and everything else in float32. The gradients
    come without a graph of their own: differentiating them again raises `RuntimeError`.
    """
    loss: Tensor = _Tiled.apply(states, items, targets, bias, half)  # type: ignore[no-untyped-call]
    return loss


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, items: Tensor, targets: Tensor, bias: Tensor | None, half: bool
    ) -> Tensor:
        need_states, need_items, _, need_bias, _ = ctx.needs_input_grad
        kind = torch.bfloat16 if half else items.dtype
        narrow, n = items.to(kind), len(states)
        transposed = narrow.t()
        grad_states = torch.empty_like(states) if need_states else None
        grad_items = torch.zeros_like(items) if need_items else None
        grad_bias = torch.zeros_like(bias) if need_bias and bias is not None else None
        total = states.new_zeros(())
        rows = max(16, _TILE_BYTES // (4 * len(items)))
        # One tile for all chunks: fresh memory for each would cost more in page faults than
        # the arithmetic on it.
        tile = torch.empty(min(rows, n), len(items), dtype=torch.float32)
        narrow_tile = torch.empty_like(tile, dtype=kind) if kind != tile.dtype else tile
        for start in range(0, n, rows):
            chunk, wanted = states[start : start + rows], targets[start : start + rows, None]
            logits, weights = tile[: len(chunk)], narrow_tile[: len(chunk)]
            torch.mm(chunk.to(kind), transposed, out=weights)
            if narrow_tile is not tile:
                logits.copy_(weights)
            if bias is not None:
                logits += bias
            peak = logits.amax(1, keepdim=True)
            hit = logits.gather(1, wanted)
            mass = logits.sub_(peak).exp_().sum(1, keepdim=True)
            total += (mass.log() + peak - hit).sum()
            # d loss / d logits = (softmax - onehot) / n; the division by mass is folded
            # into the small operand, so the big tile is never touched again.
            share = (mass * n).reciprocal_()
            if narrow_tile is not tile:
                weights.copy_(logits)
            if grad_states is not None:
                part = (weights @ narrow).float().mul_(share)
                grad_states[start : start + rows] = part.sub_(items[wanted[:, 0]] / n)
            if grad_items is not None:
                grad_items += (weights.t() @ (chunk * share).to(kind)).float()
                grad_items.index_add_(0, wanted[:, 0], chunk, alpha=-1.0 / n)
            if grad_bias is not None:
                grad_bias += (logits * share).sum(0)
                grad_bias.index_add_(0, wanted[:, 0], torch.full_like(hit[:, 0], -1.0 / n))
        ctx.save_for_backward(states, items, bias)
        ctx.gradients = (grad_states, grad_items, grad_bias)
        return total / n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (up,) = grads
        found = [None if g is None else g * up for g in ctx.gradients]
        if torch.is_grad_enabled():
            given = (up, *(t for t in ctx.saved_tensors if t is not None))
            found = [None if g is None else _Final.apply(g, *given) for g in found]  # type: ignore[no-untyped-call]
        states, items, bias = found
        return states, items, None, bias, None


class _Final(torch.autograd.Function):
    """A gradient that is known to depend on all that was given, but not how.

    `once_differentiable` would miss it: it looks at the incoming gradient alone, which of a
    loss is a constant, and a penalty on the slope would then silently count for nothing.
    """

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *given: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "catalogue_cross_entropy has no second derivative; "
            "take F.cross_entropy of the network's predictions"
        )
