"""What all inner maximisers share: the ball a perturbation may not leave, and climbing in it.

A perturbation `delta` has the shape of `like`, (B, ..., D). The norms:

* `l2`: L2 over everything but the batch, one ball for each row;
* `linf`: largest absolute coordinate;
* `token-l2`: L2 over the last axis, one ball for each position (word, event) of a row.

A mask (B, ...) is True where delta may be non-zero.
"""

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

__all__ = [
    "Loss",
    "Maximiser",
    "Norm",
    "absolute",
    "ascent",
    "axes",
    "climb",
    "evaluate",
    "finite",
    "idle",
    "keep_stronger",
    "length",
    "masked",
    "noise",
    "nonzero",
    "project",
    "random_point",
    "strongest_draw",
    "unit",
]

Norm = Literal["l2", "linf", "token-l2"]
_TINY = 1e-12
"""Norm below which squares of coordinates are no longer exact in single precision."""
Loss = Callable[[Tensor], Tensor]
"""delta -> (B,), one value per row that depends on that row's delta alone; or a scalar
(shape () or (1,)) where rows share one loss."""


class Maximiser(Protocol):
    """`maximise(loss, like, radius=..., generator=...)` gives a strong delta in the ball.

    delta is detached, exactly zero where the mask is False and everywhere at radius 0.
    Draws come from `generator` alone. Gradients are taken with respect to delta only, so
    nobody's `.grad` changes, also when the loss raises. A row whose loss or gradient is not
    finite does not disturb the others. Raises ValueError for a negative or infinite radius.
    """

    @property
    def norm(self) -> Norm: ...

    def __call__(
        self,
        loss: Loss,
        like: Tensor,
        *,
        radius: float,
        generator: torch.Generator,
        mask: Tensor | None = None,
    ) -> Tensor: ...


def absolute(share: float, scale: float, norm: Norm, size: int) -> float:
    """The radius in the units of the values, from a share of their mean L2 norm `scale`.

    For `linf` divided by sqrt(size), D of the vectors: the corners of that cube have the L2
    length share * scale, so that one share means comparable strength in every norm.
    """
    return share * scale / (math.sqrt(size) if norm == "linf" else 1.0)


def axes(delta: Tensor, norm: Norm) -> tuple[int, ...]:
    """The axes of delta that lie inside one ball."""
    return (-1,) if norm == "token-l2" else tuple(range(1, delta.ndim))


def length(delta: Tensor, norm: Norm) -> Tensor:
    """The norm of each ball's part of delta, with axes of size 1 that broadcast over it."""
    inside = axes(delta, norm)
    if norm == "linf":
        return delta.abs().amax(inside, keepdim=True)
    found: Tensor = torch.linalg.vector_norm(delta, dim=inside, keepdim=True)
    return found


def project(delta: Tensor, norm: Norm, radius: float) -> Tensor:
    """The nearest point of the ball: clamped for `linf`, shortened for the others."""
    if norm == "linf":
        return delta.clamp(-radius, radius)
    size = length(delta, norm)
    return delta * (radius / size.clamp_min(torch.finfo(delta.dtype).tiny)).clamp_max(1.0)


def ascent(gradient: Tensor, norm: Norm, mask: Tensor | None) -> Tensor:
    """The point of the unit ball with the largest inner product with the gradient.

    sign(g) for `linf`, g / ||g|| for the others; zero where g is zero or not finite.
    """
    gradient = finite(gradient, mask)
    if norm == "linf":
        return gradient.sign()
    size = length(gradient, norm)
    if bool((size > _TINY).all()):
        return gradient / size
    # Largest coordinate to one first: a gradient of 1e-30 has a square of zero.
    scaled = gradient / nonzero(gradient.abs().amax(axes(gradient, norm), keepdim=True))
    return unit(scaled, norm)


def noise(like: Tensor, norm: Norm, generator: torch.Generator, mask: Tensor | None) -> Tensor:
    """A Gaussian direction of norm 1: for `l2` and `token-l2` uniform on the unit sphere."""
    drawn = torch.randn(like.shape, generator=generator, device=generator.device)
    return unit(masked(drawn.to(like), mask), norm)


def nonzero(size: Tensor) -> Tensor:
    """size, or one where there is nothing to divide."""
    return torch.where(size > 0, size, 1.0)


def unit(delta: Tensor, norm: Norm) -> Tensor:
    """delta scaled to norm 1 in every ball; zero stays zero."""
    return delta / nonzero(length(delta, norm))


def random_point(
    like: Tensor, norm: Norm, radius: float, *, generator: torch.Generator, mask: Tensor | None
) -> Tensor:
    """Uniform in the ball of the unmasked coordinates."""
    if norm == "linf":
        drawn = torch.rand(like.shape, generator=generator, device=generator.device)
        return masked((drawn.to(like) * 2 - 1) * radius, mask)
    direction = noise(like, norm, generator, mask)
    free = masked(torch.ones_like(like), mask)
    count = free.sum(axes(like, norm), keepdim=True)
    drawn = torch.rand(count.shape, generator=generator, device=generator.device).to(like)
    return direction * radius * drawn ** (1 / count.clamp_min(1))


def finite(gradient: Tensor, mask: Tensor | None) -> Tensor:
    """The gradient with zeros where it is masked or not finite."""
    return masked(torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0), mask)


def masked(delta: Tensor, mask: Tensor | None) -> Tensor:
    """delta (B, ..., D) with exact zeros where mask (B, ...) is False."""
    return delta if mask is None else torch.where(mask.unsqueeze(-1), delta, 0.0)


def idle(like: Tensor, radius: float) -> bool:
    """True where nothing can move. Raises ValueError for a radius that bounds nothing."""
    if not 0 <= radius < math.inf:
        raise ValueError(f"radius must be finite and at least 0 (is {radius})")
    return radius == 0 or like.numel() == 0


def climb(loss: Loss, delta: Tensor) -> tuple[Tensor, Tensor]:
    """The loss at delta and its gradient by delta, both detached. No other `.grad` is touched."""
    with torch.enable_grad():
        point = delta.detach().requires_grad_(True)
        values = loss(point)
        if not values.requires_grad:  # a constant: flat everywhere
            return _rows(values, delta), torch.zeros_like(delta)
        (gradient,) = torch.autograd.grad(values.sum(), point, materialize_grads=True)
    return _rows(values.detach(), delta), gradient


@torch.no_grad()
def evaluate(loss: Loss, delta: Tensor) -> Tensor:
    """The loss at delta, shaped to broadcast over it."""
    return _rows(loss(delta), delta)


def keep_stronger(
    best: Tensor, best_loss: Tensor, delta: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Row by row (all rows together for a scalar loss) the delta of higher finite loss."""
    better = values.isfinite() & (values > best_loss)
    return torch.where(better, delta, best), torch.where(better, values, best_loss)


def strongest_draw(loss: Loss, draw: Callable[[], Tensor], draws: int) -> Tensor:
    """Row by row the best of so many draws; a single one is taken without asking the loss."""
    best = draw()
    if draws == 1:
        return best
    best_loss = evaluate(loss, best)
    for _ in range(draws - 1):
        delta = draw()
        best, best_loss = keep_stronger(best, best_loss, delta, evaluate(loss, delta))
    return best


def _rows(values: Tensor, delta: Tensor) -> Tensor:
    if tuple(values.shape) not in {(), (1,), (len(delta),)}:
        raise ValueError(
            f"the loss gave shape {tuple(values.shape)}; expected ({len(delta)},), one value"
            " per row, or a scalar"
        )
    return _over(values.reshape(-1), delta)


def _over(rows: Tensor, delta: Tensor) -> Tensor:
    return rows.reshape(-1, *(1,) * (delta.ndim - 1))
