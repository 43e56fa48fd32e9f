"""The smallest perturbation that succeeds, by Adam."""

from typing import Literal

import torch
from pydantic import FiniteFloat
from torch import Tensor

from hardrank.perturbations import ball
from hardrank.perturbations.shortest import Search
from hardrank.types import Count, Positive, spec

__all__ = ["CarliniWagner"]


@spec
class CarliniWagner:
    """As little as possible, as much as needed: the shortest delta whose loss reaches a threshold.

    Carlini and Wagner, S&P 2017, arXiv:1608.04644, sections V and VI.A, without the change
    of variable that keeps pixels in a box. How `shortest` chooses c is ours.

    minimise ||delta||^2 + c * max(threshold - loss(delta), 0) by Adam; bisection on c

    The length is the L2 norm of a row. As a maximiser in a ball it shortens what it found to
    the ball, and is weaker than `pgd` where that is too short to reach the threshold: its own
    question is `smallest`. Draws nothing. Cost: 1 + searches * steps gradients, 9 forward
    passes.
    """

    kind: Literal["cw"] = "cw"
    norm: ball.Norm = "l2"
    """Of the ball that what was found is cut to."""
    threshold: FiniteFloat = 0.0
    """The loss that counts as success: 0 for margins."""
    steps: Count = 50
    """Steps of Adam for each c."""
    searches: Count = 6
    """Values of c that are tried."""
    learning_rate: Positive = 0.05
    """Of Adam, as a share of the norm of the row, as a maximiser of the radius; doubled for a
    row after each search that did not reach the threshold."""

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
        reach = torch.full_like(ball.length(like, "l2"), radius)
        return self._search(loss, like, mask, reach).within(self.norm, radius)

    def smallest(
        self, loss: ball.Loss, like: Tensor, *, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(delta, reached): the shortest delta found, shaped like `like`, and whether each row
        reaches the threshold, (B,); where it does not, the delta of the highest loss seen."""
        if not like.numel():
            return torch.zeros_like(like), like.new_zeros(len(like), dtype=torch.bool)
        reach = ball.nonzero(ball.length(ball.masked(like, mask), "l2"))
        return self._search(loss, like, mask, reach).found()

    def _search(self, loss: ball.Loss, like: Tensor, mask: Tensor | None, reach: Tensor) -> Search:
        search = Search(loss, like, mask, self.threshold)
        free = ball.masked(torch.ones_like(like), mask).sum(ball.axes(like, "l2"), keepdim=True)
        unit = reach / free.clamp_min(1).sqrt()
        for _ in range(self.searches):
            if search.done:
                break
            reached = self._descend(search, unit)
            unit = torch.where(reached, unit, 2 * unit)  # or it was the way that was too short
            search.narrow(reached)
        return search

    def _descend(self, search: Search, unit: Tensor) -> Tensor:
        """Whether any point on the way reached the threshold. In coordinates of `unit`, a
        gradient is about one whatever the scale of the loss, as Adam's epsilon wants it."""
        point = torch.zeros_like(search.zero, requires_grad=True)
        adam = torch.optim.Adam([point], lr=self.learning_rate)
        values, gradient = search.clean, search.slope
        reached = values >= search.threshold
        for _ in range(self.steps):
            short = values < search.threshold
            pull = torch.where(short, search.c / unit * gradient, 0.0)
            point.grad = 2 * point.detach() - pull
            adam.step()
            values, gradient = search.look(point.detach() * unit)
            reached = reached | (values >= search.threshold)
        return reached
