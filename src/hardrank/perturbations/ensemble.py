"""The worst of several attacks, row by row."""

import math
from typing import Literal

import torch
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.perturbations.apgd import APGD
from hardrank.perturbations.fgm import FGM
from hardrank.perturbations.fgsm import FGSM
from hardrank.perturbations.pgd import PGD
from hardrank.types import spec

__all__ = ["Ensemble"]


@spec
class Ensemble:
    """Each row gets the strongest delta that any member finds for it: nothing to tune.

    The idea of AutoAttack (Croce and Hein, ICML 2020, arXiv:2003.01690, section 6), which
    judges a defence by the worst of attacks that fail in different ways. Its image attacks
    do not fit vectors; here they are APGD, which adapts its steps; PGD from 0 and from four
    random points, which leaves saddles; and the single step, exact where the loss is linear.

    Stronger than or equal to each of its members with the same generator, on every row.
    Cost: 151 gradients and 9 forward passes.
    """

    kind: Literal["ensemble"] = "ensemble"
    norm: ball.Norm = "l2"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""

    @property
    def members(self) -> tuple[ball.Maximiser, ...]:
        """PGD alone draws, so each member alone finds what it finds here."""
        one_step = FGSM() if self.norm == "linf" else FGM(norm=self.norm)
        return (APGD(norm=self.norm), PGD(norm=self.norm, steps=20, restarts=5), one_step)

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
        for member in self.members:
            delta = member(loss, like, radius=radius, generator=generator, mask=mask)
            values = ball.evaluate(loss, delta)
            best, best_loss = ball.keep_stronger(best, best_loss, delta, values)
        return best
