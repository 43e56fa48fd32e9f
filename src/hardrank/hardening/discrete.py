"""Training on rewritten texts instead of noise: as wrong answers, or as the items they were."""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from hardrank.hardening.forged import require_forge, require_pool
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Count, NonNegative, spec

__all__ = ["Discrete", "TextAugmentation"]


@spec
class Discrete:
    """Cross-entropy over the catalogue and attacked texts, which nobody ever picks.

    L = -log( e^{s(target)} / (sum_i e^{s(i)} + weight * sum_j e^{s(attacked j)}) )

    with `per_step` attacked texts j drawn from a pool that attacks write against the model
    as it stands (`forge`). The labels of users stay what they were. Items without events may
    be rewritten, too: no label is needed for a wrong answer. One softmax a little wider
    than the catalogue, so about the cost of plain training; forging comes on top. It is
    discrete adversarial training (Ivgi & Berant, EMNLP 2021, arXiv:2104.05062) for rankings:
    there the attacked text keeps its label, here it is what the label is told apart from.
    """

    kind: Literal["discrete"] = "discrete"
    weight: NonNegative = 1.0
    """Listings that each attacked text counts for."""
    per_step: Count = 256
    """Attacked texts in a step."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported`: the attacks that write the texts come with `Forged`."""
        self.require(network)
        require_forge(self.kind)

    def require(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network that reads no texts."""
        require_pool(network, self.kind)

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0 or not len(network.attacked):
            loss: Tensor = network.loss(batch)
            return loss
        rows = torch.randint(len(network.attacked), (self.per_step,), generator=step.generator)
        beside: Tensor = network.loss_beside(batch, rows, math.log(weight))
        return beside


@spec
class TextAugmentation:
    """In each step some items read as an attacker rewrote them, and stay what they are.

    The control of `discrete`: the same texts, as harmless variety. Data augmentation keeps
    the label, so an item that stuffs its title is taught to keep its users.
    """

    kind: Literal["text-augmentation"] = "text-augmentation"
    per_step: Count = 256
    """Attacked texts in a step; of two for one item the later drawn counts."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported`: the attacks that write the texts come with `Forged`."""
        self.require(network)
        require_forge(self.kind)

    def require(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network that reads no texts."""
        require_pool(network, self.kind)

    def __call__(self, network: Any, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        pool = network.attacked
        known = torch.nonzero(pool.owners >= 0)[:, 0]
        if not len(known):
            loss: Tensor = network.loss(batch)
            return loss
        drawn = torch.randint(len(known), (self.per_step,), generator=step.generator)
        rows = known[drawn]
        delta = torch.zeros_like(network.encoded)
        delta[pool.owners[rows]] = pool.encoded[rows] - network.encoded[pool.owners[rows]]
        rewritten: Tensor = network.loss(batch, {"text-vectors": delta})
        return rewritten
