"""Where a loss rises fastest, row by row, from the clean values of several sites at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hardrank.hardening.borrow import Draws, evaluating
from hardrank.hardening.worst import site_scale
from hardrank.perturbations import ball
from hardrank.training.objective import TrainableNetwork
from hardrank.types import Site

__all__ = ["Slope", "slopes"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Slope:
    """One site at the current weights."""

    like: Tensor
    """(..., D) clean values."""
    mask: Tensor | None
    """(...) True where a delta may be non-zero; None for everywhere."""
    scale: float
    """Mean L2 norm of the rows that may move."""
    direction: Tensor
    """(..., D) the gradient of the loss by each row, scaled to length 1; 0 where it is 0, as
    in every row that the batch does not touch."""

    def radius(self, radius: float, *, absolute: bool) -> float:
        """In the units of the values; `radius` is a share of `scale` unless absolute."""
        return radius if absolute else radius * self.scale


def slopes(
    network: TrainableNetwork, batch: Any, draws: Draws, sites: Sequence[Site]
) -> Mapping[Site, Slope]:
    """One forward and one backward pass, dropout off, for all sites together: at delta = 0 the
    gradient by one site does not depend on the others'."""
    assert isinstance(network, nn.Module)
    with evaluating(network):
        clean = {site: site_scale(network, batch, draws, site) for site in sites}
        deltas = {
            site: torch.zeros_like(like, requires_grad=True) for site, (like, _, _) in clean.items()
        }
        with draws.replayed(), torch.enable_grad():
            loss = network.loss(batch, deltas)
        gradients = torch.autograd.grad(
            loss, list(deltas.values()), allow_unused=True, materialize_grads=True
        )
    return {
        site: Slope(
            like=like, mask=mask, scale=scale, direction=ball.ascent(gradient, "token-l2", mask)
        )
        for (site, (like, mask, scale)), gradient in zip(clean.items(), gradients, strict=True)
    }
