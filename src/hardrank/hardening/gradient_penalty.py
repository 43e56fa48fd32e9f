"""Input-gradient penalty: a loss that is flat around the input."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from hardrank.hardening.borrow import Draws
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.hardening.worst import site_scale
from hardrank.training.objective import PredictiveNetwork, Step, TrainableNetwork
from hardrank.types import NonNegative, Site, spec

__all__ = ["GradientPenalty"]


@spec
class GradientPenalty:
    """L(theta) + weight * (scale * ||gradient of L by the values at the site||_2)^2.

    Drucker and LeCun, IEEE Trans. Neural Networks 1992 (double backpropagation); Ross and
    Doshi-Velez, AAAI 2018, arXiv:1711.09404, section 3. scale is the mean L2 norm at the
    site, held fixed: with it the root of the penalty is the rise of the loss, to first
    order, under the worst perturbation of relative radius 1, whatever the unit of the vectors.
    L in the penalty is the mean cross-entropy of `predictions`, without auxiliary heads, as a
    fused loss over the catalogue has no second derivative; a model of pairs is asked for its
    own loss. Gradient and loss draw the same dropout and negatives.

    Cost: a forward pass and a double backward pass. Attention runs in its plain form, for the
    fused ones have no second derivative either. Memory: about 6 tensors of (N, C).
    """

    kind: Literal["gradient-penalty"] = "gradient-penalty"
    site: Site = "item-vectors"
    """Whose values the gradient is taken by."""
    weight: NonNegative = 1.0
    """Of the penalty, in nats per squared relative radius."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is added."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks the site."""
        require_site(network, self.site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        draws = Draws.now()
        loss = network.loss(batch)
        return loss + weight * self._penalty(network, batch, draws)

    def _penalty(self, network: TrainableNetwork, batch: Any, draws: Draws) -> Tensor:
        like, mask, scale = site_scale(network, batch, draws, self.site)
        delta = torch.zeros_like(like).requires_grad_(True)
        with draws.replayed(), sdpa_kernel(SDPBackend.MATH):
            loss = _loss(network, batch, {self.site: delta})
        (gradient,) = torch.autograd.grad(loss, delta, create_graph=True)
        if mask is not None:
            gradient = gradient * mask.unsqueeze(-1)
        return (scale * gradient).square().sum()


def _loss(network: TrainableNetwork, batch: Any, deltas: Mapping[Site, Tensor]) -> Tensor:
    """One that can be differentiated twice."""
    if not isinstance(network, PredictiveNetwork):
        return network.loss(batch, deltas)
    said = network.predictions(batch, deltas)
    return F.cross_entropy(said.logits, said.labels)
