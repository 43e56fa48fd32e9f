"""Projected ascent that finds its own step size."""

import math
from typing import Literal

import torch
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import Count, spec

__all__ = ["APGD"]

_ALPHA, _RHO = 0.75, 0.75
"""Share of the new step in a move, and of steps that must rise: both fixed by the paper."""


@spec
class APGD:
    """Long steps first; where they stop paying, half the step and back to the best point.

    Croce and Hein, ICML 2020, arXiv:2003.01690, algorithm 1. The paper starts at a random
    point; here the first climb starts at 0, which is exact for linear losses, and each row
    keeps its best over delta = 0, all iterates and all restarts.

    z = project(delta_k + step * steepest(g)), step = 2 radii at first
    delta_k+1 = project(delta_k + 3/4 (z - delta_k) + 1/4 (delta_k - delta_k-1))

    At the checkpoints (22 %, 41 %, 57 %, ... of the steps) the step of a row is halved if
    less than 3/4 of the moves since the last one raised its loss, or if neither its step nor
    its best loss changed since. Cost of a restart: `steps` gradients and one forward pass.
    """

    kind: Literal["apgd"] = "apgd"
    norm: ball.Norm = "l2"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""
    steps: Count = 50
    """Gradient evaluations of each restart."""
    restarts: Count = 1
    """Independent climbs. Each but the first starts at a random point."""

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
        best = torch.zeros_like(like)
        if ball.idle(like, radius):
            return best
        best_loss = like.new_full((1,) * like.ndim, -math.inf)
        for restart in range(self.restarts):
            start = torch.zeros_like(like)
            if restart > 0:
                start = ball.random_point(like, self.norm, radius, generator=generator, mask=mask)
            found = self._climb(loss, start, radius, mask)
            best, best_loss = ball.keep_stronger(best, best_loss, *found)
        return best

    def _climb(
        self, loss: ball.Loss, start: Tensor, radius: float, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The best point of one climb and its loss."""
        marks, last = _checkpoints(self.steps), 0
        value, gradient = ball.climb(loss, start)
        at = before = best = start
        best_loss = torch.where(value.isfinite(), value, -math.inf)
        best_gradient, at_mark = gradient, best_loss
        step, rises = torch.full_like(value, 2 * radius), torch.zeros_like(value)
        halved = torch.zeros_like(value, dtype=torch.bool)
        for k in range(1, self.steps + 1):
            before, at = at, self._move(at, before, step, gradient, radius, mask)
            old, done = value, k == self.steps
            value, gradient = (ball.evaluate(loss, at), gradient) if done else ball.climb(loss, at)
            rises = rises + (value > old)
            better = value.isfinite() & (value > best_loss)
            best_gradient = torch.where(better, gradient, best_gradient)
            best, best_loss = ball.keep_stronger(best, best_loss, at, value)
            if k in marks:
                few = rises < _RHO * (k - last)
                halved = few | (~halved & (best_loss == at_mark))
                step = torch.where(halved, step / 2, step)
                at, gradient = (
                    torch.where(halved, there, here)
                    for there, here in ((best, at), (best_gradient, gradient))
                )
                value = torch.where(halved, best_loss, value)
                rises, at_mark, last = torch.zeros_like(rises), best_loss, k
        return best, best_loss

    def _move(
        self,
        at: Tensor,
        before: Tensor,
        step: Tensor,
        gradient: Tensor,
        radius: float,
        mask: Tensor | None,
    ) -> Tensor:
        """The next iterate; the first one (no iterate before) takes the whole step."""
        ahead = ball.project(at + step * ball.ascent(gradient, self.norm, mask), self.norm, radius)
        if before is at:
            return ahead
        moved = at + _ALPHA * (ahead - at) + (1 - _ALPHA) * (at - before)
        return ball.project(moved, self.norm, radius)


def _checkpoints(steps: int) -> set[int]:
    """ceil(p * steps) for p = 0.22 and on, each gap 0.03 shorter than the one before, 0.06 at
    least. In whole percent, as a float of 0.41 * 100 may be above 41."""
    marks, here, gap = set[int](), 22, 22
    while here <= 100:
        marks.add(math.ceil(here * steps / 100))
        gap = max(gap - 3, 6)
        here += gap
    return marks
