"""Training a second head beside the ranking: was this text written by an attacker?"""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hardrank.errors import Unsupported
from hardrank.hardening.forged import require_forge, require_pool
from hardrank.hardening.stopping import Stop
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Count, NonNegative, spec

__all__ = ["Recognition"]


@spec
class Recognition:
    """The model's own loss and a head that tells attacked texts from clean ones.

    L = L_rank + weight * (mean_j BCE(h(v_j), 1) + mean_j BCE(h(v_i(j)), 0)) / 2

    v_j is what the item tower makes of an attacked text j, the very layers that the ranking
    loss trains; i(j) is the item that j rewrites, as it reads by itself; h is a small network. Both
    sides of a pair are of one item, so nothing is to be learned from which items were attacked.
    The ranking loss sees clean texts only and users keep their labels. The idea of a detector
    that is trained on the model's own inner representation is Metzen et al., ICLR 2017,
    arXiv:1702.04267; there the model is frozen, here both losses train what they share
    (hard parameter sharing: Caruana, Machine Learning 28, 1997).

    The head stays with the model: `SequenceRecommender.recognise`. Of an exact copy of
    another item's text it can say nothing: the text is clean elsewhere. The ranking loss reads
    the clean texts of the catalogue, so one that is merely new looks a little attacked.
    """

    kind: Literal["recognition"] = "recognition"
    weight: NonNegative = 1.0
    """Of the head's loss, beside a ranking loss of weight 1. 0 for plain training."""
    per_step: Count = 256
    """Attacked texts in a step, each with its clean one."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    @property
    def recognises(self) -> bool:
        """Whether the network gets a head before training; with weight 0 it has none."""
        return self.weight > 0

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported`: the attacks that write the texts come with `Forged`."""
        self.require(network)
        require_forge(self.kind)

    def require(self, network: Any) -> None:
        """Raises `Unsupported` for a network without item texts, or with an encoder that
        learns: attacked texts are read once, not in each step."""
        require_pool(network, self.kind)
        live = getattr(network, "live", None)
        if live is not None and live.learns:
            raise Unsupported(
                f"'{self.kind}' reads attacked texts by a frozen encoder: set `unfreeze` to 0"
            )

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        ranking: Tensor = network.loss(batch)
        if self.weight == 0:
            return ranking
        pool = network.attacked
        known = torch.nonzero(pool.owners >= 0)[:, 0]
        if not len(known):
            return ranking
        rows = known[torch.randint(len(known), (self.per_step,), generator=step.generator)]
        attacked = network.suspicion(pool.texts[rows])
        clean = network.suspicion(network.texts[pool.owners[rows]])
        told = F.softplus(-attacked).mean() + F.softplus(clean).mean()
        return ranking + self.weight * told / 2
