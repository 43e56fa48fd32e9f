"""The shortest perturbation that reaches a given loss: what `cw` and `lbfgs` share.

Both minimise, row by row,

    ||delta||^2 - c * loss(delta)

(`cw` with the loss cut off at the threshold) for growing and shrinking c: too small a c
stays below the threshold, too large a one pays for loss that nobody asked for. The length
is the L2 norm of a whole row; rows that share a scalar loss are one, their squares add up.
"""

import math

import torch
from torch import Tensor

from hardrank.perturbations import ball

__all__ = ["Search"]

_FACTOR = 10.0
"""From one c to the next while one side of the bracket is open."""
_HALVINGS = 8
"""Forward passes that shorten what was found: to 1/256 of its length."""


class Search:
    """What is known of the shortest perturbation, over every point that was looked at.

    Two things spare searches. The first c is the one that is exact where the loss is linear,
    2 (threshold - loss) / ||g||^2, so that no unit has to be guessed; the paper of `cw`
    starts at 1e-3 whatever the loss. And what was found is shortened along its ray at the
    end, by bisection with forward passes.
    """

    def __init__(
        self, loss: ball.Loss, like: Tensor, mask: Tensor | None, threshold: float
    ) -> None:
        """One gradient, at 0."""
        self._loss, self._mask, self.threshold = loss, mask, threshold
        self.zero = torch.zeros_like(like)
        self._shortest = self._strongest = self.zero
        self.clean, self.slope = ball.climb(loss, self.zero)
        self.slope = ball.finite(self.slope, mask)
        self._one = len(self.clean) == 1
        self._length = torch.full_like(self.clean, math.inf)
        self._highest = torch.full_like(self.clean, -math.inf)
        self._record(self.zero, self.clean)
        gap = (threshold - self.clean).clamp_min(0)
        c = 2 * gap / self.inner(self.slope, self.slope)
        self.c = torch.where(c.isfinite() & (c > 0), c, 1.0)
        self._low = torch.zeros_like(self.c)
        self._high = torch.full_like(self.c, math.inf)

    @property
    def done(self) -> bool:
        """True when every row reaches the threshold unperturbed."""
        return bool((self._length == 0).all())

    def inner(self, one: Tensor, other: Tensor) -> Tensor:
        """Inner products by row (of all rows together where they share one loss), shaped to
        broadcast over delta."""
        rows = (one * other).flatten(1).sum(1).reshape(-1, *(1,) * (one.ndim - 1))
        return rows.sum(0, keepdim=True) if self._one else rows

    def look(self, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and its gradient at delta, zero where not finite or masked; one gradient."""
        values, gradient = ball.climb(self._loss, delta)
        self._record(delta, values)
        return values, ball.finite(gradient, self._mask)

    def narrow(self, reached: Tensor) -> None:
        """Choose the next c, from whether this one reached the threshold."""
        self._high = torch.where(reached, self.c, self._high)
        self._low = torch.where(reached, self._low, self.c)
        between = self._low.sqrt() * self._high.sqrt()
        up, down = self.c * _FACTOR, self.c / _FACTOR
        closed = torch.where(self._low > 0, between, down)
        self.c = torch.where(self._high.isinf(), up, closed)

    def found(self) -> tuple[Tensor, Tensor]:
        """(delta, reached): the shortest delta that reaches the threshold, where none does the
        one of the highest loss; and whether it does, (B,)."""
        reached = self._length.isfinite()
        low, high = torch.zeros_like(self._length), torch.ones_like(self._length)
        if bool((reached & (self._length > 0)).any()):
            for _ in range(_HALVINGS):
                middle = (low + high) / 2
                enough = ball.evaluate(self._loss, middle * self._shortest) >= self.threshold
                low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
        delta = torch.where(reached, high * self._shortest, self._strongest)
        return delta, reached.flatten().expand(len(delta))

    def within(self, norm: ball.Norm, radius: float) -> Tensor:
        """What was found, cut to the ball, or 0 where that is stronger; one forward pass."""
        cut = ball.project(self.found()[0], norm, radius)
        values = ball.evaluate(self._loss, cut)
        return ball.keep_stronger(self.zero, self.clean, cut, values)[0]

    def _record(self, delta: Tensor, values: Tensor) -> None:
        length = self.inner(delta, delta)
        seen = torch.where(length.isfinite(), values, -math.inf)
        self._strongest, self._highest = ball.keep_stronger(
            self._strongest, self._highest, delta, seen
        )
        shorter = seen.isfinite() & (seen >= self.threshold) & (length < self._length)
        self._shortest = torch.where(shorter, delta, self._shortest)
        self._length = torch.where(shorter, length, self._length)
