"""Consistency: a random or adversarial neighbour should be ranked for as the point itself."""

import math
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt
from torch import Tensor

from hardrank.hardening.borrow import Draws
from hardrank.hardening.divergence import symmetric_kl
from hardrank.hardening.farthest import farthest_delta, logits_under
from hardrank.hardening.requires import require_predictions, require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.perturbations import Gaussian, Inner
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import NonNegative, Site, spec

__all__ = ["KLConsistency"]


@spec
class KLConsistency:
    """L(theta) + weight * mean over rows of KL(p(x) || p(x')) + KL(p(x') || p(x)).

    With Gaussian noise for x' this is stability training (Zheng et al., CVPR 2016,
    arXiv:1604.04326, section 3), there with one direction of the divergence; with a
    maximiser it is the smoothness term of SMART (Jiang et al., ACL 2020, arXiv:1911.03437,
    section 3.1) alone. Unlike `trades`, a neighbour that is surer than the point costs as
    much as one that is less sure. Both passes draw the same dropout and negatives.

    Cost: the inner problem (none for one draw of noise but a forward pass) and two more
    forward passes than plain training. Memory: at most 4 tensors of (N, C).
    """

    kind: Literal["kl-consistency"] = "kl-consistency"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    inner: Inner = Gaussian()
    """Chooses the neighbour: noise, or a search for the largest divergence."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """Norm bound of the perturbation, in the norm of `inner`, as a share of the mean L2 norm
    of the vectors at the site at the current weights."""
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
        delta = farthest_delta(
            network, batch, step, draws, site=self.site, inner=self.inner,
            radius=self.radius * self.radius_schedule.at(step.progress), apart=symmetric_kl,
        )  # fmt: skip
        loss = network.loss(batch)
        here = logits_under(network, batch, draws)
        there = logits_under(network, batch, draws, {self.site: delta})
        return loss + weight * symmetric_kl(here, there).mean()
