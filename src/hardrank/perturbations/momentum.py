"""Projected ascent along remembered gradients."""

import math
from typing import Literal

import torch
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import Count, NonNegative, Positive, spec

__all__ = ["Momentum"]


@spec
class Momentum:
    """Steps along a sum of past gradients: steadier where the loss is rough, and such
    perturbations carry over to other models better than those of `pgd`.

    Dong et al., CVPR 2018, arXiv:1710.06081, algorithm 1 and equations 6 to 8. The paper
    returns the last iterate; here each row keeps its best over delta = 0, all iterates and
    all restarts.

    m <- momentum * m + g / ||g||_1, delta <- project(delta + step * steepest(m))

    Cost of a restart: `steps` gradients and one forward pass.
    """

    kind: Literal["momentum"] = "momentum"
    norm: ball.Norm = "linf"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""
    steps: Count = 10
    """Gradient evaluations of each restart."""
    restarts: Count = 1
    """Independent climbs. The first starts at 0, each other one at a random point."""
    step_size: Positive | None = None
    """Share of the radius moved in a step; None for 1 / steps, as in the paper."""
    momentum: NonNegative = 1.0
    """Of the sum of earlier gradients, how much is left at the next; 0 for none."""

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
        move = radius * (self.step_size or 1 / self.steps)
        for restart in range(self.restarts):
            delta, memory = torch.zeros_like(like), torch.zeros_like(like)
            if restart > 0:
                delta = ball.random_point(like, self.norm, radius, generator=generator, mask=mask)
            for _ in range(self.steps):
                values, gradient = ball.climb(loss, delta)
                best, best_loss = ball.keep_stronger(best, best_loss, delta, values)
                memory = self.momentum * memory + self._of_one(gradient, mask)
                delta = delta + move * ball.ascent(memory, self.norm, mask)
                delta = ball.project(delta, self.norm, radius)
            values = ball.evaluate(loss, delta)
            best, best_loss = ball.keep_stronger(best, best_loss, delta, values)
        return best

    def _of_one(self, gradient: Tensor, mask: Tensor | None) -> Tensor:
        """Scaled to an L1 norm of one in every ball, so that each step counts alike."""
        norm: ball.Norm = "token-l2" if self.norm == "token-l2" else "l2"
        scaled = ball.ascent(gradient, norm, mask)
        return scaled / ball.nonzero(scaled.abs().sum(ball.axes(scaled, norm), keepdim=True))
