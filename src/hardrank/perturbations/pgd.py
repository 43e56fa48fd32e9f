"""Projected gradient ascent."""

import math
from typing import Literal

import torch
from pydantic import model_validator
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import Count, Positive, Share, spec

__all__ = ["PGD"]


@spec
class PGD:
    """Steps of steepest ascent, projected back into the ball; the strongest point is kept.

    Madry et al., ICLR 2018, arXiv:1706.06083, section 2.1. The paper returns the last
    iterate; here, unless `keep_best` is off, each row keeps its best over delta = 0, all
    iterates and all restarts, so no row ends weaker than unperturbed, and more restarts
    never weaken. With a fixed `step_size` and no decay the same holds for more steps.
    delta <- project(delta + step * steepest(g)), g = gradient of the loss at delta
    """

    kind: Literal["pgd"] = "pgd"
    norm: ball.Norm = "l2"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""
    steps: Count = 10
    """Gradient evaluations of each restart."""
    restarts: Count = 1
    """Independent climbs. Each but the first starts at a random point."""
    random_start: bool = False
    """Start the first climb, too, at a uniform point of the ball. Off, it starts at 0, which is
    exact for linear losses; a start elsewhere leaves flat places such as a saddle at 0."""
    step_size: Positive | None = None
    """Share of the radius moved in a step; None for 2.5 / steps, which together could cross
    the whole ball."""
    decay: Share = 0.0
    """Share of the step size that is gone by the last step, linearly."""
    keep_best: bool = True
    """Costs a forward pass for each restart and one at 0; off, the last iterate is taken, which
    in training often does."""

    @model_validator(mode="after")
    def _restarts_need_a_judge(self) -> "PGD":
        if self.restarts > 1 and not self.keep_best:
            raise ValueError("restarts above 1 need keep_best, to choose among them")
        return self

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
        if self.keep_best and self.random_start:
            best_loss = ball.evaluate(loss, best)
        for restart in range(self.restarts):
            delta = torch.zeros_like(like)
            if self.random_start or restart > 0:
                delta = ball.random_point(like, self.norm, radius, generator=generator, mask=mask)
            for step in range(self.steps):
                values, gradient = ball.climb(loss, delta)
                if self.keep_best:
                    best, best_loss = ball.keep_stronger(best, best_loss, delta, values)
                move = self._size(step) * radius * ball.ascent(gradient, self.norm, mask)
                delta = ball.project(delta + move, self.norm, radius)
            if not self.keep_best:
                return delta
            values = ball.evaluate(loss, delta)
            best, best_loss = ball.keep_stronger(best, best_loss, delta, values)
        return best

    def _size(self, step: int) -> float:
        """Share of the radius that step number `step`, from 0, moves."""
        full = self.step_size or 2.5 / self.steps
        return full * (1 - self.decay * step / max(self.steps - 1, 1))
