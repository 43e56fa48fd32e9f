"""FreeLB: every ascent step of the adversary also teaches the weights."""

import math
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from hardrank.hardening.borrow import Draws, evaluating
from hardrank.hardening.carry import Gradients, carrying, graded, learning
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.hardening.worst import site_scale
from hardrank.perturbations import PGD, Norm, absolute, ball
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Count, Positive, Share, Site, spec

__all__ = ["FreeLB"]


@spec
class FreeLB:
    """The mean of the losses at the K points that an ascent passes through.

    Zhu et al., ICLR 2020, arXiv:1909.11764, algorithm 1 and section 3.3 (one dropout mask
    for all steps of a batch). Ours may keep a share of the clean loss, and bounds the
    perturbation relative to the vectors at the site.

    g <- g + 1/K * gradient by the weights of L(theta, delta_t)
    delta_{t+1} <- project(delta_t + move * steepest(gradient by delta of L(theta, delta_t)))

    Each point costs one forward and one backward pass, which gives both gradients; what is
    returned carries their mean. K graphs kept for one backward pass over the mean of the
    losses would give the same, at K times the memory and K - 1 more backward passes, as
    each ascent step needs its own. So K forward and K backward passes, against K + 3 and
    K + 2 of `adversarial` with K steps of `pgd`, which spends most of them on the adversary.
    """

    kind: Literal["freelb"] = "freelb"
    site: Site = "token-embeddings"
    """Where the perturbation is added."""
    norm: Norm = "l2"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """Norm bound of the perturbation, as a share of the mean L2 norm of the vectors at the
    site at the current weights (see `perturbations.absolute`)."""
    steps: Count = 3
    """Points, K: forward and backward passes a batch."""
    step_size: Positive | None = None
    """Share of the radius moved from one point to the next; None for 2.5 / steps."""
    random_start: bool = True
    """First point: uniform in the cube inside the ball, as in the paper. Off: at 0, where
    the first loss is the clean one."""
    weight: Share = 1.0
    """Of the adversarial loss; the clean loss has the rest. At 1, as in the paper, it is not
    computed."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` in force as training goes on."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    @property
    def inner(self) -> PGD:
        """The attack that `stop` judges by: the same ascent, its strongest point kept."""
        return PGD(norm=self.norm, steps=self.steps, step_size=self.step_size)

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site."""
        require_site(network, self.site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        attacked = self._ascended(network, batch, step, Draws.now())
        return attacked if weight == 1 else (1 - weight) * network.loss(batch) + weight * attacked

    def _ascended(self, network: TrainableNetwork, batch: Any, step: Step, draws: Draws) -> Tensor:
        with evaluating(network):  # type: ignore[arg-type]
            like, mask, scale = site_scale(network, batch, draws, self.site)
        share = self.radius * self.radius_schedule.at(step.progress)
        radius = absolute(share, scale, self.norm, like.shape[-1])
        move = radius * (self.step_size or 2.5 / self.steps)
        parameters = learning(network)
        sums: Gradients = (None,) * len(parameters)
        total, delta = like.new_zeros(()), self._start(like, mask, radius, step.generator)
        for _ in range(self.steps):
            delta = delta.requires_grad_(True)
            with draws.replayed():
                loss = network.loss(batch, {self.site: delta})
            slope, *gradients = graded(loss, [delta, *parameters])
            total, sums = total + loss.detach(), _added(sums, tuple(gradients))
            delta = delta.detach()
            if slope is not None:
                delta = delta + move * ball.ascent(slope, self.norm, mask)
                delta = ball.project(delta, self.norm, radius)
        mean = tuple(None if g is None else g / self.steps for g in sums)
        return carrying(total / self.steps, parameters, mean)

    def _start(
        self, like: Tensor, mask: Tensor | None, radius: float, generator: torch.Generator
    ) -> Tensor:
        """delta_0 = U(-radius, radius) / sqrt(N), N the free coordinates of a ball; for `linf`
        the cube is the ball."""
        if not self.random_start:
            return torch.zeros_like(like)
        cube = ball.random_point(like, "linf", radius, generator=generator, mask=mask)
        if self.norm == "linf":
            return cube
        free = ball.masked(torch.ones_like(like), mask)
        count = free.sum(ball.axes(like, self.norm), keepdim=True)
        return cube / count.clamp_min(1).sqrt()


def _added(sums: Gradients, more: Gradients) -> Gradients:
    return tuple(
        b if a is None else a if b is None else a + b for a, b in zip(sums, more, strict=True)
    )
