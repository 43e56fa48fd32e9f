"""One normalised gradient step."""

from typing import Literal

import torch
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.types import spec

__all__ = ["FGM"]


@spec
class FGM:
    """One step along the L2-normalised gradient: exact where the loss is linear.

    Miyato et al., ICLR 2017, arXiv:1605.07725, equation 4.
    delta = radius * g / ||g||, g = gradient of the loss at 0
    """

    kind: Literal["fgm"] = "fgm"
    norm: Literal["l2", "token-l2"] = "l2"
    """`l2` shares the radius among a row's positions, as the paper does; `token-l2` gives it
    to each."""

    def __call__(
        self,
        loss: ball.Loss,
        like: Tensor,
        *,
        radius: float,
        generator: torch.Generator,
        mask: Tensor | None = None,
    ) -> Tensor:
        """See `Maximiser`. like: (B, ..., D); returns delta of that shape. Draws nothing."""
        if ball.idle(like, radius):
            return torch.zeros_like(like)
        _, gradient = ball.climb(loss, torch.zeros_like(like))
        return radius * ball.ascent(gradient, self.norm, mask)
