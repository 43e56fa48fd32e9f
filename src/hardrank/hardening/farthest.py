"""The neighbour whose predictions are farthest from those of the point itself; no labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardrank.hardening.borrow import Draws, evaluating
from hardrank.hardening.worst import worst_delta
from hardrank.perturbations import Loss, Maximiser, Norm
from hardrank.perturbations.ball import idle, noise, project
from hardrank.training.objective import PredictiveNetwork, Step, TrainableNetwork
from hardrank.types import Site

__all__ = ["farthest_delta", "logits_under"]

_NUDGE = 0.05
"""Share of the radius. Large enough for the change of a row of scores to stand clear of
rounding in single precision, small enough for the gradient there to be that of the curvature."""


def logits_under(
    network: TrainableNetwork, batch: Any, draws: Draws, deltas: Mapping[Site, Tensor] | None = None
) -> Tensor:
    """(N, C) logits under these draws: the same dropout and the same candidates each time."""
    assert isinstance(network, PredictiveNetwork)
    with draws.replayed():
        return network.predictions(batch, deltas).logits


def farthest_delta(
    network: TrainableNetwork,
    batch: Any,
    step: Step,
    draws: Draws,
    *,
    site: Site,
    inner: Maximiser,
    radius: float,
    apart: Callable[[Tensor, Tensor], Tensor],
    nudged: bool = True,
) -> Tensor:
    """The delta that `inner` finds for mean `apart(clean logits, logits at delta)`, detached.

    radius: relative, see `worst_delta`. Dropout is off, the weights are fixed. A divergence
    is flat at delta = 0, where most maximisers begin, so they begin a little beside it, at a
    random point of length 0.05 radius, unless `nudged` is off. Memory: the clean logits, those
    at delta and their gradient, 3 tensors of (N, C).
    """
    with evaluating(network), torch.no_grad():  # type: ignore[arg-type]
        here = logits_under(network, batch, draws)

    def distance(delta: Tensor) -> Tensor:
        return apart(here, logits_under(network, batch, draws, {site: delta})).mean()

    inner = _Nudged(inner) if nudged else inner
    return worst_delta(
        network, batch, step, draws, site=site, inner=inner, radius=radius, loss=distance
    )


@dataclass(frozen=True)
class _Nudged:
    """A maximiser that begins beside 0. The point judged is the point returned, but for what
    the projection takes off at the edge: at most an eighth of a percent of the radius."""

    inner: Maximiser

    @property
    def norm(self) -> Norm:
        return self.inner.norm

    def __call__(
        self,
        loss: Loss,
        like: Tensor,
        *,
        radius: float,
        generator: torch.Generator,
        mask: Tensor | None = None,
    ) -> Tensor:
        if idle(like, radius):
            return torch.zeros_like(like)
        nudge = _NUDGE * radius * noise(like, self.norm, generator, mask)
        found = self.inner(
            lambda delta: loss(delta + nudge), like, radius=radius, generator=generator, mask=mask
        )
        return project(found + nudge, self.norm, radius)
