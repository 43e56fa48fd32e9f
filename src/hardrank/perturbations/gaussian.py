"""Noise: what any attack must beat."""

from typing import Literal

import torch
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import Count, spec

__all__ = ["Gaussian"]


@spec
class Gaussian:
    """A Gaussian direction, scaled to the surface of the ball: the control for every attack.

    delta = radius * z / ||z||, z ~ N(0, 1)
    """

    kind: Literal["gaussian"] = "gaussian"
    norm: ball.Norm = "l2"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""
    draws: Count = 1
    """Keep the strongest of so many draws, row by row: a control that spends as many loss
    evaluations as the attack beside it. One draw evaluates nothing."""

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

        def draw() -> Tensor:
            return radius * ball.noise(like, self.norm, generator, mask)

        return ball.strongest_draw(loss, draw, self.draws)
