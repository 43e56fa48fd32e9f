"""The inner problem: the perturbation that makes a loss worst, sought at the current weights."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hardrank.hardening.borrow import Draws, evaluating
from hardrank.perturbations import Maximiser, absolute
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import Site

__all__ = ["site_scale", "worst_delta"]


def worst_delta(
    network: TrainableNetwork,
    batch: Any,
    step: Step,
    draws: Draws,
    *,
    site: Site,
    inner: Maximiser,
    radius: float,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """The delta that `inner` finds, detached, shaped as the site's clean values.

    radius: a share of the mean L2 norm at the site. loss: of a delta, a scalar to climb; None
    for the network's own loss of the batch. Dropout is off, and every call of the loss draws
    the same negatives (`draws`), so there is one function to climb.
    """
    assert isinstance(network, nn.Module)

    def own(delta: Tensor) -> Tensor:
        return network.loss(batch, {site: delta})

    def climbed(delta: Tensor) -> Tensor:
        with draws.replayed():
            return (loss or own)(delta)

    with evaluating(network):
        like, mask, scale = site_scale(network, batch, draws, site)
        return inner(
            climbed,
            like,
            radius=absolute(radius, scale, inner.norm, like.shape[-1]),
            generator=step.generator,
            mask=mask,
        )


def site_scale(
    network: TrainableNetwork, batch: Any, draws: Draws, site: Site
) -> tuple[Tensor, Tensor | None, float]:
    """(clean values at the site, where a delta may be non-zero, mean L2 norm there). Each is
    asked under the same draws: a site may depend on the negatives that are drawn."""
    with draws.replayed():
        like = network.clean(site, batch)
    with draws.replayed():
        mask = network.writable(site, batch)
    norms = like.norm(dim=-1)
    norms = norms if mask is None else norms[mask]
    return like, mask, float(norms.mean()) if norms.numel() else 0.0
