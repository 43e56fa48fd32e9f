"""Adversarial training with magnitudes by length of the user's vector, items included."""

import math
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from hardrank.errors import Unsupported
from hardrank.hardening.borrow import Draws
from hardrank.hardening.requires import require_site
from hardrank.hardening.schedule import Constant, Schedule
from hardrank.hardening.slopes import Slope, slopes
from hardrank.training.objective import Step, TrainableNetwork
from hardrank.types import NonNegative, Site, spec

__all__ = ["PamaCF", "item_magnitudes", "user_magnitudes"]

_TINY = 1e-12


@spec
class PamaCF:
    """L(theta) + weight * L(theta + delta), with a magnitude m(u) for all of user u's rows.

    The form of Zhang et al., NeurIPS 2024, arXiv:2410.22844: the bound on how much a poisoner
    moves a user's list grows with the perturbation that the user's vector withstands, and that
    with its length. Here

        m(u) = clip(||e(u)|| / mean ||e||, least, most)
        delta(u) = radius * m(u) * g(u) / ||g(u)||,    g: gradient of the loss by the row

    The paper has a sigmoid of the squared share in place of the clipped one, and a copy of an
    item's vector for each comparison that moves by the magnitude of the comparison's user. The
    sites of a network are tables, where a row moves alike for everybody; so an item's row gets
    the mean m(u) over the comparisons of the batch in which it stands. `user-adaptive` with
    the rule `embedding` is the sigmoid with items that all move by `radius`.

    Advice: from the first step a large radius drowns vectors that have just been drawn, and the
    model learns popularity only (from 0.3 of the mean length on with `bpr-mf`). Begin plainly,
    as the authors do (`weight_schedule` of `phases`), and give training more patience: it is
    slower. Epochs of the plain stretch are never kept; of the others training keeps the one that
    validates best on clean data, which may be the first: read `best_epoch` in its record.
    """

    sites: ClassVar[tuple[Site, ...]] = ("user-vectors", "item-vectors")
    kind: Literal["pama-cf"] = "pama-cf"
    radius: Annotated[float, Gt(0), Lt(math.inf)]
    """L2 norm of the perturbation of a mean user's row, as a share of the mean L2 norm at its
    site."""
    absolute: bool = False
    """Read `radius` in the units of the vectors, as the paper does."""
    least: Annotated[float, Ge(0), Le(1)] = 0.5
    """Smallest m(u): of users with short vectors, whom a small step already moves far."""
    most: Annotated[float, Ge(1), Lt(math.inf)] = 2.0
    """Largest m(u)."""
    weight: NonNegative = 1.0
    """Of the adversarial loss."""
    weight_schedule: Schedule = Constant()
    """Share of `weight` in force as training goes on. While it is 0 nothing is sought."""
    radius_schedule: Schedule = Constant()
    """Share of `radius` in force as training goes on."""

    def check(self, network: TrainableNetwork) -> None:
        """Raises `Unsupported` for a network without vectors of users and of items."""
        for site in self.sites:
            require_site(network, site, self.kind)

    def __call__(self, network: TrainableNetwork, batch: Any, step: Step) -> Tensor:
        """See `Objective`. Raises `Unsupported` for batches that do not say whose they are."""
        weight = self.weight * self.weight_schedule.at(step.progress)
        if weight == 0:
            return network.loss(batch)
        draws = Draws.now()
        share = self.radius * self.radius_schedule.at(step.progress)
        found = slopes(network, batch, draws, self.sites)
        factors = self._factors(found["user-vectors"], found["item-vectors"], batch)
        deltas = {
            site: slope.radius(share, absolute=self.absolute) * factors[site] * slope.direction
            for site, slope in found.items()
        }
        clean = network.loss(batch)
        with draws.replayed():
            attacked = network.loss(batch, deltas)
        return clean + weight * attacked

    def _factors(self, users: Slope, items: Slope, batch: Any) -> dict[Site, Tensor]:
        """(U, 1) and (I, 1), 1 in rows that the batch does not touch."""
        owners = getattr(batch, "users", None)
        if not isinstance(owners, Tensor):
            raise Unsupported(f"'{self.kind}': the batches do not say whose they are; use 'apr'")
        of_users = user_magnitudes(users.like, owners, least=self.least, most=self.most)
        sides = [getattr(batch, side, None) for side in ("liked", "other")]
        of_items = torch.ones(len(items.like), device=items.like.device)
        known = [rows for rows in sides if isinstance(rows, Tensor)]
        if known:
            of_items = item_magnitudes(of_users[owners], known, len(items.like))
        return {"user-vectors": of_users.unsqueeze(-1), "item-vectors": of_items.unsqueeze(-1)}


def user_magnitudes(table: Tensor, owners: Tensor, *, least: float, most: float) -> Tensor:
    """(U,) clipped length of each user's vector by the mean of the batch's users; 1 elsewhere.

    table: (U, D). owners: (B,) user rows, each may stand there many times and counts once.
    """
    out = table.new_ones(len(table))
    distinct = torch.unique(owners)
    lengths = table[distinct].norm(dim=-1)
    out[distinct] = (lengths / lengths.mean().clamp_min(_TINY)).clamp(least, most)
    return out


def item_magnitudes(of_rows: Tensor, sides: list[Tensor], n_items: int) -> Tensor:
    """(I,) mean over the comparisons in which an item stands; 1 where it stands in none.

    of_rows: (B,) magnitude of each comparison's user. sides: item rows, (B,) each.
    """
    items = torch.cat(sides)
    values = of_rows.repeat(len(sides))
    sums = of_rows.new_zeros(n_items).index_add(0, items, values)
    counts = torch.bincount(items, minlength=n_items)
    return torch.where(counts > 0, sums / counts.clamp_min(1), torch.ones_like(sums))
