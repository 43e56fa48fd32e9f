"""What the two players want of each other, in logits."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu, softplus

if TYPE_CHECKING:
    from hardrank.generators.interest_gan import GanLoss

__all__ = ["critic_loss", "deceiving_loss", "gradient_penalty", "mode_seeking", "value"]

Critic = Callable[[Tensor], Tensor]


def value(real: Tensor, fake: Tensor) -> Tensor:
    """V(D, G) = E log D(x) + E log(1 - D(G(z))), a scalar at most 0; -2 log 2 for D = 0.5.

    The discriminator climbs it, the generator wants it low (Goodfellow et al. 2014, equation
    1). real, fake: (B,) logits; expectations, not sums.
    """
    return logsigmoid(real).mean() + logsigmoid(-fake).mean()


def critic_loss(kind: "GanLoss", real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimises. real, fake: (B,) logits (critic values for
    `wasserstein`)."""
    if kind == "wasserstein":
        return fake.mean() - real.mean()
    if kind == "hinge":
        return relu(1 - real).mean() + relu(1 + fake).mean()
    return -value(real, fake)


def deceiving_loss(kind: "GanLoss", fake: Tensor) -> Tensor:
    """What the generator minimises: -log D(G(z)) for `non-saturating`, else -D(G(z))."""
    return softplus(-fake).mean() if kind == "non-saturating" else -fake.mean()


def gradient_penalty(
    kind: "GanLoss", critic: Critic, real: Tensor, fake: Tensor, generator: torch.Generator
) -> Tensor:
    """A scalar with a graph. `wasserstein`: mean (|grad at a random point between| - 1)^2; else
    mean |grad at real|^2 (R1). Gradients by the mean vector's share of one item: they are
    multiplied by the set's size, so that long profiles do not escape."""
    point = real
    if kind == "wasserstein":
        share = torch.rand((len(real), 1), generator=generator)
        point = share * real + (1 - share) * fake
    point = point.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(point).sum(), point, create_graph=True)
    size = point.detach().sum(1).clamp(min=1)
    squares = slope.square().mean(1) * size.square()
    if kind == "wasserstein":
        return ((squares + 1e-12).sqrt() - 1).square().mean()
    return squares.mean()


def mode_seeking(one: Tensor, other: Tensor, noise_one: Tensor, noise_other: Tensor) -> Tensor:
    """d(z, z') / d(G(z), G(z')), low where other noise gives other samples.

    one, other: (B, I) logits of the same conditions; their distance is the total variation of
    their distributions. Mao et al., CVPR 2019, equation 4, as a quotient to minimise.
    """
    apart = (one.softmax(1) - other.softmax(1)).abs().sum(1).mean() / 2
    return (noise_one - noise_other).abs().mean() / (apart + 0.05)
