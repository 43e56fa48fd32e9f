"""Uniform noise: the second control."""

from typing import Literal

import torch
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import Count, spec

__all__ = ["Uniform"]


@spec
class Uniform:
    """A point of the cube, scaled to the surface of the ball: a control with other directions.

    delta = radius * z / ||z||, z ~ U(-1, 1) in each coordinate. For `l2` it leans to the
    corners of the cube, where Gaussian noise leans nowhere; for `linf` its coordinates are
    spread evenly, where those of Gaussian noise crowd around 0.
    """

    kind: Literal["uniform"] = "uniform"
    norm: ball.Norm = "linf"
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
            drawn = torch.rand(like.shape, generator=generator, device=generator.device)
            return radius * ball.unit(ball.masked(drawn.to(like) * 2 - 1, mask), self.norm)

        return ball.strongest_draw(loss, draw, self.draws)
