"""Adversarial personalised ranking: user and item vectors that move together."""

import math
from typing import Annotated, Any, Literal

from annotated_types import Gt, Len, Lt
from pydantic import field_validator
from torch import Tensor

from hardrank.hardening.borrow import Draws
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.slopes import slopes
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import NonNegative, spec

__all__ = ["APR"]

VectorSite = Literal["item-vectors", "user-vectors", "history-vectors", "text-vectors"]


@spec
class APR:
    """L(theta) + weight * L(theta + delta), delta = radius * g / ||g|| in every vector.

    He et al., SIGIR 2018, arXiv:1808.03908, equations 4 to 9: g is the gradient of the loss
    by one row of a table, all tables move at once, delta is then held fixed. On the site
    `text-vectors` it is AMR (Tang et al., IEEE TKDE 2020, arXiv:1809.07062): the features of
    items move. The papers start from a trained model. Theirs normalises each row of a batch
    by its own length, as here; ours takes the radius relative to the vectors' mean length
    unless `absolute`, because a fixed one means less to a model whose vectors have grown.
    A sequence model has no user vectors: take `item-vectors`, alone or with `history-vectors`.
    """

    kind: Literal["apr"] = "apr"
    sites: Annotated[tuple[VectorSite, ...], Len(1)] = ("item-vectors", "user-vectors")
    """Which vectors move, all at once."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """L2 norm of each row's perturbation, as a share of the mean L2 norm at its site."""
    absolute: bool = False
    """Read `radius` in the units of the vectors, as the paper does (there 0.5)."""
    weight: NonNegative = 1.0
    """Of the adversarial loss."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` in force as training goes on."""

    @field_validator("sites")
    @classmethod
    def _each_once(cls, sites: tuple[VectorSite, ...]) -> tuple[VectorSite, ...]:
        if len(set(sites)) < len(sites):
            raise ValueError("a site stands there twice")
        return sites

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks one of the sites."""
        for site in self.sites:
            require_site(network, site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        draws = Draws.now()
        share = self.radius * self.radius_schedule.at(step.progress)
        deltas = {
            site: slope.radius(share, absolute=self.absolute) * slope.direction
            for site, slope in slopes(network, batch, draws, self.sites).items()
        }
        clean = network.loss(batch)
        with draws.replayed():
            attacked = network.loss(batch, deltas)
        return clean + weight * attacked
