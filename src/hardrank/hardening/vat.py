"""Virtual adversarial training: local smoothness of the predictions, without labels."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Le, Lt
from torch import Tensor

from hardrank.hardening.borrow import Draws
from hardrank.hardening.divergence import kl
from hardrank.hardening.farthest import farthest_delta, logits_under
from hardrank.hardening.requires import require_predictions, require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.perturbations import Loss, Norm
from hardrank.perturbations.ball import ascent, climb, idle, length, noise
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Count, NonNegative, Site, spec

__all__ = ["VAT"]


@spec
class VAT:
    """L(theta) + weight * mean over rows of KL(p(x; theta fixed) || p(x + delta; theta)).

    Miyato et al., TPAMI 2018, arXiv:1704.03976, section 3.2 and algorithm 1; on word
    embeddings Miyato, Dai and Goodfellow, ICLR 2017, arXiv:1605.07725. delta has the full
    radius and points where the divergence curves most, found by power iteration

        d <- unit(gradient of KL(p(x) || p(x + probe * radius * d)) by d)

    from a random d. No label is read, so `smoothness` serves unlabelled rows too. Unlike
    `trades` the clean side is a constant: only the neighbour is taught. Miyato's embeddings
    are normalised; here the radius is relative to their length, to the same end. Both sides
    draw the same dropout and negatives, so radius 0 gives exactly 0.

    Cost: `iterations` gradients and three more forward passes than plain training. Memory:
    at most 3 tensors of (N, C).
    """

    kind: Literal["vat"] = "vat"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    norm: Literal["l2", "token-l2"] = "l2"
    """One ball for each row (text, item), or for each position of a row."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """L2 norm of the perturbation, as a share of the mean L2 norm of the vectors at the site
    at the current weights."""
    iterations: Count = 1
    """Power iterations; the paper finds one to be enough."""
    probe: Annotated[float, Gt(0), Le(1)] = 0.05
    """Share of the radius at which the curvature is felt. Less is nearer to the curvature at
    the point itself, but drowns in rounding."""
    weight: NonNegative = 1.0
    """Of the divergence, in nats."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` in force as training goes on."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site or has no rows of logits."""
        require_predictions(network, self.kind)
        require_site(network, self.site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        draws = Draws.now()
        smoothness = self.smoothness(network, batch, step, draws)
        return network.loss(batch) + weight * smoothness

    def smoothness(self, network: TrainableNetwork, batch: Any, step: Step, draws: Draws) -> Tensor:
        """The divergence alone, a scalar of at least 0. The batch's labels are never read."""
        delta = farthest_delta(
            network, batch, step, draws, site=self.site, apart=kl, nudged=False,
            inner=_Power(self.norm, self.iterations, self.probe),
            radius=self.radius * self.radius_schedule.at(step.progress),
        )  # fmt: skip
        with torch.no_grad():
            here = logits_under(network, batch, draws)
        return kl(here, logits_under(network, batch, draws, {self.site: delta})).mean()


@dataclass(frozen=True)
class _Power:
    """The sharpest direction of a function with its minimum at 0, at the full radius."""

    norm: Norm
    iterations: int
    probe: float

    def __call__(
        self,
        loss: Loss,
        like: Tensor,
        *,
        radius: float,
        generator: torch.Generator,
        mask: Tensor | None = None,
    ) -> Tensor:
        if idle(like, radius):
            return torch.zeros_like(like)
        direction = noise(like, self.norm, generator, mask)
        for _ in range(self.iterations):
            _, gradient = climb(loss, self.probe * radius * direction)
            found = ascent(gradient, self.norm, mask)
            # A ball that nothing depends on (an item that is no candidate) keeps its noise.
            direction = torch.where(length(found, self.norm) > 0, found, direction)
        return radius * direction
