"""Generalised cross-entropy: between cross-entropy, which fits fast, and mean absolute
error, which wrong labels cannot lead astray."""

from typing import Any, Literal

import torch
from torch import Tensor

from hardrank.hardening.requires import require_predictions
from hardrank.hardening.rows import mean_of_rows
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.training.objective import Predictions, Step, TrainableNetwork
from hardrank.types import Share, spec

__all__ = ["GeneralisedCrossEntropy"]


@spec
class GeneralisedCrossEntropy:
    """(1 - p^q) / q for the probability p of the label, instead of -log p.

    Zhang and Sabuncu, NeurIPS 2018, arXiv:1805.07836, equation 6. The limit q -> 0 is
    cross-entropy, q = 1 the mean absolute error (half of it). The gradient is p^q times
    that of cross-entropy: rows that the model finds unlikely, as wrong labels are, pull
    less. Ours: q may grow with time, for among thousands of items every p is small at
    first, and all gradients with it.
    """

    kind: Literal["generalised-cross-entropy"] = "generalised-cross-entropy"
    q: Share = 0.7
    """0 is the plain loss, 1 the most robust and the slowest to fit. The paper's for few
    classes is 0.7. Among thousands of items, whose p differ by orders of magnitude, the same
    q tells rows apart far more sharply: begin lower."""
    q_schedule: Schedule = Constant()
    """Share of `q` in force as training goes on."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network without rows of logits."""
        require_predictions(network, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        q = self.q * self.q_schedule.at(step.progress)
        if q == 0:
            return network.loss(batch)

        def rule(said: Predictions, losses: Tensor) -> Tensor:
            # 1 - p^q with p = exp(-loss): exact also where p^q rounds to one.
            return -torch.expm1(-q * losses) / q

        return mean_of_rows(network, batch, rule)
