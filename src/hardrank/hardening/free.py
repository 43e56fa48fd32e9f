"""Free adversarial training: one backward pass for the weights and for the adversary."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from hardrank.hardening.borrow import Draws, evaluating
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.hardening.worst import site_scale
from hardrank.perturbations import PGD, Norm, absolute, ball
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Count, Positive, Share, Site, spec

__all__ = ["Free"]


@dataclass(eq=False)
class _Held:
    """What a step leaves to the next one."""

    batch: Any
    draws: Draws
    """Of the batch's first replay."""
    mask: Tensor | None
    scale: float
    """Mean L2 norm at the site."""
    delta: Tensor
    """A leaf: the backward pass of the weights leaves its gradient in `delta.grad`."""


@spec
class Free:
    """The loss at x + delta, where delta climbs by the gradient that is there anyway.

    Shafahi et al., NeurIPS 2019, arXiv:1904.12843, algorithm 1. Each batch is trained on
    `replays` times in a row; the backward pass that moves the weights also gives the
    gradient by delta, by which delta moves before the next replay:

    delta <- project(delta + step_size * radius * steepest(gradient of the last step))

    Cost: one forward and one backward pass a step, so `epochs` / m epochs of m replays
    cost what `epochs` epochs of plain training do: divide `epochs` by `replays`. As in the
    paper delta goes on to the next batch, as far as that has the shape: always for vectors
    of the whole catalogue. Elsewhere it begins anew, and then `replays` 1 never climbs. It
    is forgotten when an epoch begins, so that a resumed training ends with the same bits.

    All replays of a batch draw the same dropout and negatives: a delta of this step's
    candidates has to meet the same candidates in the next. Ours may keep a share of the
    clean loss, and its radius is relative.
    """

    kind: Literal["free"] = "free"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    norm: Norm = "linf"
    """Of the ball: `l2` over a row, `token-l2` over each position, `linf` over coordinates."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """Norm bound of the perturbation, as a share of the mean L2 norm of the vectors at the
    site when the batch begins (see `perturbations.absolute`)."""
    replays: Count = 4
    """Steps in a row on each batch, m."""
    step_size: Positive = 1.0
    """Share of the radius moved in a step."""
    random_start: bool = False
    """Begin at a uniform point of the ball, not at 0 (Wong et al., ICLR 2020)."""
    weight: Share = 1.0
    """Of the adversarial loss; the clean loss has the rest. Below 1 each step computes two
    losses, one at 1, as in the paper. At 0 each step is one of plain training (on batches
    that are still replayed)."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` in force as training goes on."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    @property
    def inner(self) -> PGD:
        """The attack that `stop` judges by."""
        return PGD(norm=self.norm)

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site."""
        require_site(network, self.site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        share = self.radius * self.radius_schedule.at(step.progress)
        held = step.memory[self.kind] = self._held(network, batch, step, share)
        with held.draws.replayed():
            attacked = network.loss(batch, {self.site: held.delta})
        if weight == 1:
            return attacked
        with held.draws.replayed():
            return (1 - weight) * network.loss(batch) + weight * attacked

    def _held(self, network: TrainableNetwork, batch: Any, step: Step, share: float) -> _Held:
        """The notes for this step, their delta moved by the last step's gradient."""
        last: _Held | None = step.memory.get(self.kind)
        if last is not None and last.batch is batch:
            radius = self._absolute(share, last.scale, last.delta)
            delta = self._moved(last.delta, last.mask, radius)
            return _Held(batch, last.draws, last.mask, last.scale, delta)
        draws = Draws.now()
        with evaluating(network):  # type: ignore[arg-type]
            like, mask, scale = site_scale(network, batch, draws, self.site)
        radius = self._absolute(share, scale, like)
        if last is not None and last.delta.shape == like.shape:
            delta = self._moved(last.delta, mask, radius)
        elif self.random_start:
            delta = ball.random_point(
                like, self.norm, radius, generator=step.generator, mask=mask
            ).requires_grad_(True)
        else:
            delta = torch.zeros_like(like).requires_grad_(True)
        return _Held(batch, draws, mask, scale, delta)

    def _moved(self, last: Tensor, mask: Tensor | None, radius: float) -> Tensor:
        delta = last.detach()
        if last.grad is not None:
            move = self.step_size * radius
            delta = delta + move * ball.ascent(last.grad, self.norm, mask)
        delta = ball.project(ball.masked(delta, mask), self.norm, radius)
        return delta.detach().requires_grad_(True)

    def _absolute(self, share: float, scale: float, like: Tensor) -> float:
        return absolute(share, scale, self.norm, like.shape[-1])
