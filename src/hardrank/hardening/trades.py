"""TRADES: trade accuracy against the divergence of the worst neighbour's predictions."""

import math
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt
from torch import Tensor

from hardrank.hardening.borrow import Draws
from hardrank.hardening.divergence import kl
from hardrank.hardening.farthest import farthest_delta, logits_under
from hardrank.hardening.requires import require_predictions, require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.perturbations import Inner
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import NonNegative, Site, spec

__all__ = ["TRADES"]


@spec
class TRADES:
    """L(theta) + weight * max over ||delta|| <= radius of mean KL(p(x) || p(x + delta)).

    Zhang et al., ICML 2019, arXiv:1901.08573, section 3 and algorithm 1; weight is 1 / lambda
    there. p is the model's own distribution over the candidates: all items, or the classes.
    The inner problem climbs the divergence, not the loss, so labels play no part in it; both
    sides of the outer divergence are differentiated, as in the authors' code. One delta
    serves the batch where the site is shared by it (item vectors). Clean and attacked passes
    draw the same dropout and negatives, so delta = 0 gives exactly 0.

    Cost: the inner problem, and two more forward passes than plain training. Memory: at most
    4 tensors of (N, C), 72 MB each at 1,500 targets and 12,000 items.
    """

    kind: Literal["trades"] = "trades"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    inner: Inner
    """Seeks the neighbour of the largest divergence."""
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
            radius=self.radius * self.radius_schedule.at(step.progress), apart=kl,
        )  # fmt: skip
        loss = network.loss(batch)
        here = logits_under(network, batch, draws)
        there = logits_under(network, batch, draws, {self.site: delta})
        return loss + weight * kl(here, there).mean()
