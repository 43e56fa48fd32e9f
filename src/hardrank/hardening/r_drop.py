"""R-Drop: two dropout masks should give one ranking."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from hardrank.errors import Unsupported
from hardrank.hardening.borrow import Draws
from hardrank.hardening.divergence import symmetric_kl
from hardrank.hardening.farthest import logits_under
from hardrank.hardening.requires import require_predictions
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.stopping import Stop
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import NonNegative, spec

__all__ = ["RDrop"]


@spec
class RDrop:
    """L(theta) + weight * mean over rows of (KL(p || q) + KL(q || p)) / 2.

    Liang et al., NeurIPS 2021, arXiv:2106.14448, equations 2 to 4. p and q are predictions
    of the same batch under two draws of dropout, both differentiated. The paper adds the
    losses of both passes, half of which is L on average; here L is the first pass's alone,
    the same in expectation, so that weight 0 is plain training. `weight` is alpha / 2 of
    equation 4.

    A network that samples its candidates draws them from the same random numbers as its
    dropout; two draws would then rank two different sets, so it is refused.

    Cost: two more forward passes than plain training. Memory: at most 4 tensors of (N, C).
    """

    kind: Literal["r-drop"] = "r-drop"
    weight: NonNegative = 1.0
    """Of the divergence, in nats."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 there is one pass."""
    stop: tuple[Stop, ...] = ()
    """Rules that end training early; the log states which one did."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network without rows of logits, without dropout, or with
        sampled candidates."""
        require_predictions(network, self.kind)
        if getattr(network, "negatives", 0):
            raise Unsupported(
                f"'{self.kind}' compares two draws of dropout over the same candidates, and this "
                "model draws its candidates anew; set `negatives = 0` to rank the whole "
                "catalogue, or use 'kl-consistency', whose two passes share one draw"
            )
        if not _drops(network):
            raise Unsupported(
                f"'{self.kind}' compares two draws of dropout, and this model has none; set "
                "`dropout` above 0, or use 'kl-consistency'"
            )

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        draws = Draws.now()
        loss = network.loss(batch)
        one = logits_under(network, batch, draws)
        other = logits_under(network, batch, _others(step.generator))
        return loss + weight * symmetric_kl(one, other).mean() / 2


def _others(generator: torch.Generator) -> Draws:
    """Other draws than those about to be made, which stay as they are."""
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    with Draws.now().replayed():
        torch.manual_seed(seed)
        return Draws.now()


def _drops(network: TrainableNetwork) -> bool:
    assert isinstance(network, nn.Module)
    layers = any(isinstance(m, _DropoutNd) and m.p > 0 for m in network.modules())
    return layers or getattr(network, "id_dropout", 0.0) > 0
