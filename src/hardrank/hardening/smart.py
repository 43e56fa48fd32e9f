"""SMART: smooth predictions, and updates that do not leave recent predictions far behind."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from hardrank.hardening.borrow import Draws
from hardrank.hardening.divergence import symmetric_kl
from hardrank.hardening.farthest import farthest_delta, logits_under
from hardrank.hardening.requires import require_predictions, require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.perturbations import Inner
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import NonNegative, Site, spec

__all__ = ["SMART"]


@spec
class SMART:
    """L(theta) + weight * (smoothness + proximity * nearness), both means over rows.

    Jiang et al., ACL 2020, arXiv:1911.03437, sections 3.1 and 3.2. With the symmetric
    divergence J(p, q) = KL(p || q) + KL(q || p):

        smoothness = max over ||delta|| <= radius of J(p(x; theta), p(x + delta; theta))
        nearness   = J(p(x; theta), p(x; theta'))
        theta'    <- momentum * theta' + (1 - momentum) * theta, at each step's beginning

    The paper weighs the two apart; here `weight` scales both, so that 0 is plain training.
    theta' lasts for an epoch: each epoch begins it anew at the weights of that moment, so
    that a resumed training has the same. In an epoch's first step nearness is therefore 0.

    Cost: the inner problem, and three more forward passes than plain training (two with
    proximity 0). Memory: a copy of the weights that learn, and up to 6 tensors of (N, C)
    in the backward pass.
    """

    kind: Literal["smart"] = "smart"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    inner: Inner
    """Seeks the neighbour of the largest divergence."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """Norm bound of the perturbation, in the norm of `inner`, as a share of the mean L2 norm
    of the vectors at the site at the current weights."""
    weight: NonNegative = 1.0
    """Of both added terms."""
    proximity: NonNegative = 1.0
    """Of the nearness to the averaged weights, beside the smoothness; 0 keeps no copy."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.99
    """Share of the averaged weights kept at each step; 0 takes the weights themselves."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought or kept."""
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
        before = self._before(network, batch, step, draws) if self.proximity else None
        delta = farthest_delta(
            network, batch, step, draws, site=self.site, inner=self.inner,
            radius=self.radius * self.radius_schedule.at(step.progress), apart=symmetric_kl,
        )  # fmt: skip
        loss = network.loss(batch)
        here = logits_under(network, batch, draws)
        there = logits_under(network, batch, draws, {self.site: delta})
        added = symmetric_kl(here, there).mean()
        if before is not None:
            added = added + self.proximity * symmetric_kl(here, before).mean()
        return loss + weight * added

    def _before(self, network: TrainableNetwork, batch: Any, step: Step, draws: Draws) -> Tensor:
        """(N, C) logits of the averaged weights, which first take in the present ones."""
        assert isinstance(network, nn.Module)
        now = {n: p.detach() for n, p in network.named_parameters() if p.requires_grad}
        kept: dict[str, Tensor] = step.memory.setdefault("smart", {})
        for name, value in now.items():
            if name in kept:
                kept[name].lerp_(value, 1 - self.momentum)
            else:
                kept[name] = value.clone()
        with _standing_in(network, kept), torch.no_grad():
            return logits_under(network, batch, draws)


@contextmanager
def _standing_in(network: nn.Module, values: Mapping[str, Tensor]) -> Iterator[None]:
    """The parameters hold these values inside, and their own again afterwards.

    By storage, not by copying, and on the parameters themselves: a module outside the
    network that shares them (a partly frozen encoder) then reads the same values.
    """
    own = {name: (p, p.data) for name, p in network.named_parameters() if name in values}
    try:
        for name, (parameter, _) in own.items():
            parameter.data = values[name]
        yield
    finally:
        for parameter, value in own.values():
            parameter.data = value
