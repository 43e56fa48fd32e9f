"""Denoising of implicit feedback: a click that the model cannot explain may be no liking."""

from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from hardrank.hardening.requires import require_predictions
from hardrank.hardening.rows import mean_of_rows, note_share
from hardrank.hardening.schedule import Ramp, Schedule
from hardrank.training.objective import Predictions, Step, TrainableNetwork
from hardrank.types import NonNegative, spec

__all__ = ["ReweightedCrossEntropy", "TruncatedCrossEntropy"]


@spec
class TruncatedCrossEntropy:
    """T-CE: the rows of largest loss in each batch count nothing.

    Wang et al., WSDM 2021, arXiv:2006.04153, the truncated loss of adaptive denoising
    training. Models learn true feedback first, so noise stands out by its loss early on;
    the share that is dropped rises in a line to its maximum, e(T) = min(a T, e_max). The
    paper drops among clicks and keeps all sampled negatives; every row here is a click,
    and its negatives are the other candidates.
    """

    kind: Literal["truncated-cross-entropy"] = "truncated-cross-entropy"
    drop: Annotated[float, Ge(0), Lt(1)] = 0.1
    """e_max: share of a batch's rows that is dropped once the schedule is through, rounded
    down to whole rows. The share of noise that is expected."""
    drop_schedule: Schedule = Ramp(until=0.3)
    """Share of `drop` in force as training goes on."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network without rows of logits."""
        require_predictions(network, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`. Notes the share of rows dropped as `dropped_share`."""
        drop = self.drop * self.drop_schedule.at(step.progress)
        if drop == 0:
            return network.loss(batch)

        def rule(said: Predictions, losses: Tensor) -> Tensor:
            # The least more than nothing: 0.3 * 10 rows is 3, not 2.
            gone = int(drop * len(losses) + 1e-9)
            note_share(step, "dropped_share", gone, len(losses))
            kept = torch.ones_like(losses, dtype=torch.bool)
            kept[losses.detach().argsort(descending=True, stable=True)[:gone]] = False
            return torch.where(kept, losses, 0.0)

        return mean_of_rows(network, batch, rule)


@spec
class ReweightedCrossEntropy:
    """R-CE: each row's cross-entropy times p^beta, p the probability of its label.

    Wang et al., WSDM 2021, arXiv:2006.04153, the reweighted loss of adaptive denoising
    training, where p is a sigmoid; here it is the softmax over the candidates. The weight
    is held fixed in the gradient, which is therefore that of `generalised-cross-entropy`
    with q = beta: among softmax losses the two differ in their value alone.
    """

    kind: Literal["reweighted-cross-entropy"] = "reweighted-cross-entropy"
    beta: NonNegative = 0.2
    """0 is the plain loss; the larger, the less an unlikely row counts. The paper's lie between
    0.05 and 0.25; with few classes that changes little."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network without rows of logits."""
        require_predictions(network, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        if self.beta == 0:
            return network.loss(batch)

        def rule(said: Predictions, losses: Tensor) -> Tensor:
            return torch.exp(-self.beta * losses.detach()) * losses

        return mean_of_rows(network, batch, rule)
