"""One sign step."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import spec

__all__ = ["FGSM"]


@spec
class FGSM:
    """One step of the sign of the gradient: exact where the loss is linear.

    Goodfellow et al., ICLR 2015, arXiv:1412.6572, section 4. With `random_start` the
    variant of Wong et al., ICLR 2020, arXiv:2001.03994, algorithm 3.
    delta = radius * sign(g), g = gradient of the loss at 0
    """

    kind: Literal["fgsm"] = "fgsm"
    norm: ClassVar[ball.Norm] = "linf"
    random_start: bool = False
    """Take the gradient at a uniform point of the ball, step 1.25 radii, project: in
    training it keeps the model from learning to defeat the first-order step alone."""

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
        start, step = torch.zeros_like(like), radius
        if self.random_start:
            start = ball.random_point(like, "linf", radius, generator=generator, mask=mask)
            step = 1.25 * radius
        _, gradient = ball.climb(loss, start)
        return ball.project(start + step * ball.ascent(gradient, "linf", mask), "linf", radius)
