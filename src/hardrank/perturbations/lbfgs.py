"""The smallest perturbation that succeeds, by a quasi-Newton method."""

from collections import deque
from typing import Literal

import torch
from pydantic import FiniteFloat
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.perturbations.shortest import Search
from hardrank.types import Count, spec

__all__ = ["LBFGS"]

_ARMIJO = 1e-4
"""A step has to bring this share of the fall that the slope promises."""
_STEEP = 1e-8
"""A pair whose cosine is below says nothing of the curvature."""

_Pair = tuple[Tensor, Tensor, Tensor]
"""A step s, the change y of the gradient along it, and 1 / (s . y)."""


@spec
class LBFGS:
    """The first adversarial attack: a penalised loss, minimised by L-BFGS, for the best c.

    Szegedy et al., ICLR 2014, arXiv:1312.6199, section 4.1, without the box of pixels. How
    `shortest` chooses c is ours. L-BFGS as in Nocedal and Wright, Numerical Optimization,
    algorithm 7.4, but for all rows at once, each with its own curvature and step length:
    `torch.optim.LBFGS` would give the rows one of each, and a row then depends on the others.

    minimise ||delta||^2 - c * loss(delta); bisection on c

    The length is the L2 norm of a row. As a maximiser in a ball it shortens what it found to
    the ball: its own question is `smallest`. Draws nothing. Cost: 1 + searches * steps
    gradients, 9 forward passes.
    """

    kind: Literal["lbfgs"] = "lbfgs"
    norm: ball.Norm = "l2"
    """Of the ball that what was found is cut to."""
    threshold: FiniteFloat = 0.0
    """The loss that counts as success: 0 for margins."""
    steps: Count = 20
    """Gradients for each c: steps, and trials of steps that proved too long."""
    searches: Count = 8
    """Values of c that are tried."""
    memory: Count = 8
    """Steps whose curvature is remembered."""

    def __call__(
        self,
        loss: ball.Loss,
        like: Tensor,
        *,
        radius: float,
        generator: torch.Generator,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `Maximiser`. like: (B, ..., D); returns delta of that shape."""
        if ball.idle(like, radius):
            return torch.zeros_like(like)
        return self._search(loss, like, mask).within(self.norm, radius)

    def smallest(
        self, loss: ball.Loss, like: Tensor, *, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(delta, reached): the shortest delta found, shaped like `like`, and whether each row
        reaches the threshold, (B,); where it does not, the delta of the highest loss seen."""
        if not like.numel():
            return torch.zeros_like(like), like.new_zeros(len(like), dtype=torch.bool)
        return self._search(loss, like, mask).found()

    def _search(self, loss: ball.Loss, like: Tensor, mask: Tensor | None) -> Search:
        search = Search(loss, like, mask, self.threshold)
        for _ in range(self.searches):
            if search.done:
                break
            search.narrow(self._descend(search) >= search.threshold)
        return search

    def _descend(self, search: Search) -> Tensor:
        """The loss at the minimum for this c. Every row tries one step at each gradient: it
        goes on from there if the step falls enough, and else tries half of it next."""
        at, loss, value = search.zero, search.clean, -search.c * search.clean
        gradient = -search.c * search.slope
        pairs: deque[_Pair] = deque(maxlen=self.memory)
        share, scale = torch.ones_like(value), torch.full_like(value, 0.5)  # of ||delta||^2
        direction = -scale * gradient
        for _ in range(self.steps):
            step = share * direction
            there = at + step
            tried, up = search.look(there)
            cost = search.inner(there, there) - search.c * tried
            enough = value + _ARMIJO * search.inner(gradient, step)
            good = cost.isfinite() & (cost <= enough)
            slope = 2 * there - search.c * up
            bend = slope - gradient
            rho = _curvature(search, step, bend, good)
            pairs.append((step, bend, rho))
            scale = torch.where(rho > 0, 1 / (rho * search.inner(bend, bend)), scale)
            at, gradient = torch.where(good, there, at), torch.where(good, slope, gradient)
            loss, value = torch.where(good, tried, loss), torch.where(good, cost, value)
            direction = torch.where(good, -_newton(search, gradient, pairs, scale), direction)
            share = torch.where(good, 1.0, share / 2)
        return loss


def _curvature(search: Search, step: Tensor, bend: Tensor, good: Tensor) -> Tensor:
    """1 / (s . y), or 0, by which a pair is passed over: not taken, or not curved upwards."""
    both = search.inner(step, bend)
    size = (search.inner(step, step) * search.inner(bend, bend)).sqrt()
    kept = good & (both > _STEEP * size) & (1 / both).isfinite()
    return torch.where(kept, 1 / both, 0.0)


def _newton(search: Search, gradient: Tensor, pairs: deque[_Pair], scale: Tensor) -> Tensor:
    """The inverse Hessian, as far as it is known, times the gradient: the two-loop recursion."""
    out, weights = gradient, []
    for step, bend, rho in reversed(pairs):
        weights.append(rho * search.inner(step, out))
        out = out - torch.where(rho > 0, weights[-1] * bend, 0.0)
    out = scale * out
    for (step, bend, rho), weight in zip(pairs, reversed(weights), strict=True):
        out = out + torch.where(rho > 0, (weight - rho * search.inner(bend, out)) * step, 0.0)
    return out
