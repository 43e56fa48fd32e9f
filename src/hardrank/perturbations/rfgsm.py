"""A random step, then a gradient step."""

from typing import Annotated, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import spec

__all__ = ["RFGSM"]


@spec
class RFGSM:
    """Leave the point first, at random, and spend the rest of the radius along the gradient.

    Tramer et al., ICLR 2018, arXiv:1705.07204, section 4.1, there for L-infinity; here for
    every ball. The gradient where training made the loss flat says little; a step away it
    speaks. Both steps add up to the radius, so nothing needs projecting. A uniform start
    with a projected step of 1.25 radii (Wong et al., 2020) is `fgsm` with `random_start`.

    delta' = start * radius * steepest(z), z ~ N(0, 1)
    delta = delta' + (1 - start) * radius * steepest(g), g = gradient of the loss at delta'

    Cost: one gradient.
    """

    kind: Literal["r-fgsm"] = "r-fgsm"
    norm: ball.Norm = "linf"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""
    start: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Share of the radius that the random step takes."""

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
        drawn = torch.randn(like.shape, generator=generator, device=generator.device)
        away = self.start * radius * ball.ascent(drawn.to(like), self.norm, mask)
        _, gradient = ball.climb(loss, away)
        delta = away + (1 - self.start) * radius * ball.ascent(gradient, self.norm, mask)
        return ball.project(delta, self.norm, radius)  # of the last bit, where rounding passed it
