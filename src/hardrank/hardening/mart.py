"""MART: adversarial training that minds the rows the model gets wrong anyway."""

import math
from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from hardrank.hardening.borrow import Draws
from hardrank.hardening.divergence import kl
from hardrank.hardening.requires import require_predictions, require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.hardening.worst import worst_delta
from hardrank.perturbations import Inner
from hardrank.training.objective import (
    Predictions,
    PredictiveNetwork,
    Step,
    TrainableNetwork,
)
from hardrank.types import NonNegative, Share, Site, spec

__all__ = ["MART"]


@spec
class MART:
    """(1 - weight) * L(theta) + weight * mean over rows of

        - log p_y(x') - log(1 - max over k != y of p_k(x'))
        + emphasis * (1 - p_y(x)) * KL(p(x) || p(x'))

    Wang et al., ICLR 2020, "Improving adversarial robustness requires revisiting misclassified
    examples", section 3 (boosted cross-entropy and misclassification-aware regularisation).
    x' = x + delta, where delta climbs the loss itself (`Adversarial`), not the divergence. The
    first term is the network's own loss at x', with whatever heads it has besides. The paper
    is weight 1; a smaller one keeps a share of the clean loss, and 0 is plain training.

    Over thousands of items nearly every row is wrong in the sense of 1 - p_y, so there the
    last term is close to that of `trades`; with few classes it picks rows out.

    Cost: the inner problem and two more forward passes than plain training (three below
    weight 1). Memory: at most 6 tensors of (N, C).
    """

    kind: Literal["mart"] = "mart"
    site: Site = "item-vectors"
    """Where the perturbation is added."""
    inner: Inner
    """Seeks the worst perturbation."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """Norm bound of the perturbation, in the norm of `inner`, as a share of the mean L2 norm
    of the vectors at the site at the current weights."""
    weight: Share = 1.0
    """Share of this loss; the rest is the clean loss."""
    emphasis: NonNegative = 5.0
    """Of the divergence of rows that are wrong, beside the boosted cross-entropy; lambda in
    the paper."""
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
        delta = worst_delta(
            network, batch, step, draws, site=self.site, inner=self.inner,
            radius=self.radius * self.radius_schedule.at(step.progress),
        )  # fmt: skip
        assert isinstance(network, PredictiveNetwork)
        # First without replay, so that the generators go on as in plain training.
        attacked = network.loss(batch, {self.site: delta})
        with draws.replayed():
            here = network.predictions(batch)
        with draws.replayed():
            there = network.predictions(batch, {self.site: delta})
        mart = attacked + _added(here, there, self.emphasis)
        if weight == 1:
            return mart
        with draws.replayed():
            return (1 - weight) * network.loss(batch) + weight * mart


def _added(here: Predictions, there: Predictions, emphasis: float) -> Tensor:
    """What MART adds to the cross-entropy at the attacked point, a mean over rows."""
    right = here.labels[:, None]
    surest = there.logits.detach().scatter(1, right, -torch.inf).argmax(1, keepdim=True)
    rest = there.logits.scatter(1, surest, -torch.inf)
    boost = there.logits.logsumexp(1) - rest.logsumexp(1)
    if emphasis == 0:
        return boost.mean()
    hit = (here.logits.gather(1, right)[:, 0] - here.logits.logsumexp(1)).exp()
    return (boost + emphasis * kl(here.logits, there.logits) * (1 - hit)).mean()
