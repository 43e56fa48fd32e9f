"""Adversarial weight perturbation: weights that stay good when they are moved a little."""

import math
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Lt
from pydantic import model_validator
from torch import Tensor, nn

from hardrank.hardening.borrow import Draws
from hardrank.hardening.carry import Gradients, carrying, graded, learning, shifted
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.hardening.worst import worst_delta
from hardrank.perturbations import Inner
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Share, Site, spec

__all__ = ["AWP"]


@spec
class AWP:
    """The gradient of the loss at weights moved to where it is worst, stepped from where
    the weights are.

    Wu et al., NeurIPS 2020, arXiv:2004.05884, section 4, with one alternation and one
    step for the weights, the paper's defaults. A flat loss in the
    weights narrows the gap between training and test that adversarial training suffers
    from (Rice et al., ICML 2020). Layer by layer, g the gradient of the loss at delta:

    v = gamma * ||w|| * g / ||g||, theta <- theta - rate * gradient at theta + v

    Each tensor of two or more axes is a layer. Biases and the scales of norms stay: many
    begin at zero, where a relative bound allows nothing. With `inner` and `radius` the loss
    is the one at the worst input perturbation, sought at the unmoved weights; without them
    it is the clean loss (compare SAM, Foret et al., ICLR 2021, where one norm spans all
    layers). All losses draw the same dropout and negatives. The weights themselves are never
    written to. Cost: two forward and two backward passes beside those of `inner`.
    """

    kind: Literal["awp"] = "awp"
    gamma: Annotated[float, Gt(0), Lt(1)] = 0.005
    """Norm of the perturbation of each layer, as a share of the L2 norm of its weights."""
    site: Site = "item-vectors"
    """Where the input perturbation is added, if there is one."""
    inner: Inner | None = None
    """Seeks the worst input perturbation; None perturbs weights only."""
    radius: Annotated[float, Gt(0), Lt(math.inf)] | None = None
    """Norm bound of the input perturbation, in the norm of `inner`, as a share of the mean
    L2 norm at the site (see `perturbations.absolute`); given if and only if `inner` is."""
    weight: Share = 1.0
    """Of the loss at the moved weights; the clean loss has the rest. At 1, as in the paper,
    it is not computed."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` and of `gamma` in force as training goes on."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did. They judge by `inner`."""

    @model_validator(mode="after")
    def _an_attack_is_whole(self) -> "AWP":
        if (self.inner is None) != (self.radius is None):
            raise ValueError("give both inner and radius, or neither to perturb weights only")
        if self.stop and self.inner is None:
            raise ValueError("stop needs inner and radius: its rules judge by that attack")
        return self

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site of the input perturbation."""
        if self.inner is not None:
            require_site(network, self.site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        attacked = self._moved(network, batch, step, Draws.now())
        return attacked if weight == 1 else (1 - weight) * network.loss(batch) + weight * attacked

    def _moved(self, network: TrainableNetwork, batch: Any, step: Step, draws: Draws) -> Tensor:
        share, deltas = self.radius_schedule.at(step.progress), {}
        if self.inner is not None and self.radius is not None:
            deltas[self.site] = worst_delta(
                network, batch, step, draws, site=self.site, inner=self.inner,
                radius=self.radius * share,
            )  # fmt: skip
        parameters = learning(network)
        with draws.replayed():
            slopes = graded(network.loss(batch, deltas), parameters)
        with shifted(parameters, _shifts(parameters, slopes, self.gamma * share)):
            with draws.replayed():
                loss = network.loss(batch, deltas)
            gradients = graded(loss, parameters)
        return carrying(loss, parameters, gradients)


@torch.no_grad()
def _shifts(parameters: list[nn.Parameter], slopes: Gradients, gamma: float) -> list[Tensor]:
    """v of each parameter; zero where nothing pulls, or not finitely."""
    return [
        torch.zeros_like(p) if g is None or p.ndim < 2 else gamma * p.norm() * _direction(g)
        for p, g in zip(parameters, slopes, strict=True)
    ]


def _direction(slope: Tensor) -> Tensor:
    slope = torch.nan_to_num(slope, nan=0.0, posinf=0.0, neginf=0.0)
    # Largest coordinate to one first: a gradient of 1e-30 has a square of zero.
    slope = slope / slope.abs().max().clamp_min(torch.finfo(slope.dtype).tiny)
    found: Tensor = nn.functional.normalize(slope.flatten(), dim=0).view_as(slope)
    return found
