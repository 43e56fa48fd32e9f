"""Adversarial training with a magnitude of its own for each user."""

import math
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from annotated_types import Gt, Lt
from torch import Tensor, nn

from hardrank.errors import Unsupported
from hardrank.hardening.borrow import Draws, evaluating
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.slopes import Slope, slopes
from hardrank.training.objective import PredictiveNetwork, Step, TrainableNetwork
from hardrank.types import NonNegative, Site, spec

__all__ = ["UserAdaptive", "magnitudes"]

_TINY = 1e-12


@runtime_checkable
class _TellsLosses(Protocol):
    """A network without rows of logits that can still say how well it fits each row."""

    def user_losses(self, batch: Any) -> Tensor:
        """(N,) the loss of each row of the batch, detached."""
        ...


@spec
class UserAdaptive:
    """APR with a radius for each user u: radius * m(u), m(u) = 2 sigmoid(r(u) - 1).

    `vulnerability`, VAT: r(u) = mean loss / loss(u). Zhang et al., RecSys 2024,
    arXiv:2409.17476: whom the model fits well a poisoner moves most. `embedding`, PamaCF:
    r(u) = ||e(u)||^2 / mean ||e||^2. Zhang et al., NeurIPS 2024, arXiv:2410.22844: a long
    vector stands a long perturbation. Both as in the authors' published code, where a factor
    lambda is tuned; ours is 2, so that a user of mean loss (length) gets exactly `radius`,
    all others from 0.54 to 2 times as much. Also ours: loss(u) is the mean of the user's rows
    in the batch (there their sum), and the mean is over the batch's users. Item vectors belong
    to many users at once and get `radius` (there each comparison moves its own copy). A user
    that nobody knows counts as a mean one.

    On sequence models e(u) is the vectors of the user's history: the mean of their squared
    lengths.

    Advice on warm-up and patience: see `pama-cf`.
    """

    kind: Literal["user-adaptive"] = "user-adaptive"
    rule: Literal["vulnerability", "embedding"] = "vulnerability"
    """What makes a user's radius larger: a low loss, or long vectors."""
    site: Literal["user-vectors", "history-vectors"] = "user-vectors"
    """Vectors that belong to a user: of matrix factorisation, or of a sequence model."""
    items: bool = True
    """Move `item-vectors` as well, by `radius`."""
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """L2 norm of the perturbation of a mean user's row, as a share of the mean L2 norm at its
    site."""
    absolute: bool = False
    """Read `radius` in the units of the vectors, as the papers do."""
    weight: NonNegative = 1.0
    """Of the adversarial loss."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` in force as training goes on."""

    @property
    def sites(self) -> tuple[Site, ...]:
        """All that move."""
        return (self.site, "item-vectors") if self.items else (self.site,)

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` if the network lacks a site, or losses by user."""
        for site in self.sites:
            require_site(network, site, self.kind)
        if not isinstance(network, PredictiveNetwork | _TellsLosses):
            raise Unsupported(
                f"'{self.kind}': this model tells no losses by user; use 'apr' or 'adversarial'"
            )

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        draws = Draws.now()
        share = self.radius * self.radius_schedule.at(step.progress)
        deltas = {}
        for site, slope in slopes(network, batch, draws, self.sites).items():
            deltas[site] = slope.radius(share, absolute=self.absolute) * slope.direction
            if site == self.site:
                deltas[site] = deltas[site] * self._factors(network, batch, draws, slope)
        clean = network.loss(batch)
        with draws.replayed():
            attacked = network.loss(batch, deltas)
        return clean + weight * attacked

    def _factors(self, network: TrainableNetwork, batch: Any, draws: Draws, slope: Slope) -> Tensor:
        """(..., 1) m(u) of the user of each row of the site, 1 where the batch knows none."""
        users = _users(batch, self.kind)
        if self.rule == "vulnerability":
            values = _losses(network, batch, draws)
        else:
            values = self._rows(slope, users).square().sum(-1)
        found = magnitudes(values, users, falling=self.rule == "vulnerability")
        out = torch.ones(slope.like.shape[:-1], device=slope.like.device)
        if self.site == "user-vectors":
            known = users >= 0
            out[users[known]] = found[known].to(out)
        else:
            out[_mask(slope)] = found.to(out)
        return out.unsqueeze(-1)

    def _rows(self, slope: Slope, users: Tensor) -> Tensor:
        """(N, D) the vectors of each prediction's user."""
        return slope.like[users] if self.site == "user-vectors" else slope.like[_mask(slope)]


def magnitudes(values: Tensor, users: Tensor, *, falling: bool) -> Tensor:
    """(N,) 2 sigmoid(r - 1) of each row's user, in (0.53, 2); 1 where the user is -1.

    values: (N,) at least 0, averaged over the rows of each user. r is a user's value by the
    mean over users, or the other way round if `falling`.
    """
    out, known = torch.ones_like(values), users >= 0
    if not bool(known.any()):
        return out
    distinct, owner = torch.unique(users[known], return_inverse=True)
    sums = values.new_zeros(len(distinct)).index_add(0, owner, values[known])
    own = sums / torch.bincount(owner, minlength=len(distinct)) + _TINY
    mean = own.mean()
    share = mean / own if falling else own / mean
    out[known] = 2 * torch.sigmoid(share - 1)[owner]
    return out


def _losses(network: TrainableNetwork, batch: Any, draws: Draws) -> Tensor:
    """(N,) the loss of each prediction, dropout off."""
    assert isinstance(network, nn.Module)
    with evaluating(network), draws.replayed(), torch.no_grad():
        if isinstance(network, PredictiveNetwork):
            said = network.predictions(batch)
            return F.cross_entropy(said.logits.float(), said.labels, reduction="none")
        assert isinstance(network, _TellsLosses)
        return network.user_losses(batch)


def _users(batch: Any, kind: str) -> Tensor:
    """(N,) row of the user each prediction is for, -1 where unknown."""
    users = getattr(batch, "users", None)
    if not isinstance(users, Tensor):
        raise Unsupported(f"'{kind}': the batches do not say whose they are; use 'apr'")
    return users


def _mask(slope: Slope) -> Tensor:
    """(B, L) True at each prediction's position, in the order of predictions."""
    assert slope.mask is not None, "histories have padding"
    return slope.mask
