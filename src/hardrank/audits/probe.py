"""A victim under one bounded attack, as the checks of the attack itself need it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hardrank.audits.checks import Check
from hardrank.context import derive
from hardrank.data import Queries
from hardrank.errors import Unsupported
from hardrank.perturbations import Inner, absolute, ball
from hardrank.recommender import Differentiable, LossSurface, Recommender
from hardrank.types import GoalKind, Ints, RankingLoss, Site

__all__ = ["Probe", "lacking", "losses", "percent", "shortfall"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """One site, goal and radius of a model, and the attack whose figures are to be trusted.

    Rows are what `Differentiable.surface` says: items for `promote`, queries for `degrade`.
    """

    model: Recommender
    site: Site
    goal: GoalKind
    queries: Queries
    items: Ints
    """(B,) to promote, or the held-out item of each query."""
    inner: Inner
    radius: float
    """Share of the mean norm at the site."""
    subject: str
    seed: int | None = None
    loss: RankingLoss | None = None

    @cached_property
    def surface(self) -> LossSurface:
        """Raises `Unsupported` when the model grants no such surface."""
        return self.surface_of(np.arange(len(self.items)))

    def surface_of(self, rows: Ints) -> LossSurface:
        """Of these rows alone, repeated as often as they are named."""
        if not isinstance(self.model, Differentiable):
            raise Unsupported("this model grants no gradients")
        queries = self.queries.take(rows) if self.goal == "degrade" else self.queries
        return self.model.surface(self.site, self.goal, queries, self.items[rows], loss=self.loss)

    @cached_property
    def clean(self) -> Tensor:
        """(B,) the loss of each row, unperturbed."""
        return losses(self.surface.loss, torch.zeros_like(self.surface.like))

    @cached_property
    def own(self) -> Tensor:
        """(B, ..., D) what the attack itself finds."""
        return self.climb(self.inner)

    def climb(self, inner: Inner, name: str = "") -> Tensor:
        """What another attack finds in the same ball; `name` tells draws apart."""
        return inner(
            self.surface.loss, self.surface.like, radius=self.length(inner.norm),
            generator=self.generator(name), mask=self.surface.mask,
        )  # fmt: skip

    def length(self, norm: ball.Norm) -> float:
        """The radius in the units of the site."""
        return absolute(self.radius, self.surface.scale, norm, self.surface.like.shape[-1])

    def generator(self, *names: str | int) -> torch.Generator:
        seed = derive(self.seed or 0, "probe", self.site, self.goal, *names)
        return torch.Generator().manual_seed(seed)

    def gains(self, delta: Tensor) -> Tensor:
        """(B,) how much each row's loss rises; 0 where it is not finite."""
        return torch.nan_to_num(losses(self.surface.loss, delta) - self.clean, 0.0, 0.0, 0.0)

    def check(self, name: str, passed: bool | None, reason: str, **more: Any) -> Check:
        return Check(
            gate="sanity", name=name, subject=self.subject, seed=self.seed, passed=passed,
            reason=reason, goal=self.goal, site=self.site,
            concerns={"audit": "curve", "site": self.site, "goal": self.goal}, **more,
        )  # fmt: skip


def losses(loss: Callable[[Tensor], Tensor], delta: Tensor) -> Tensor:
    """(B,) detached; a loss that all rows share is everyone's."""
    with torch.no_grad():
        values = loss(delta).detach().reshape(-1)
    return values.expand(len(delta)) if len(values) == 1 else values


def shortfall(own: Tensor, best: Tensor) -> float | None:
    """Share of the mean gain `best` that `own` misses, below 0 where it has more; None where
    neither gains anything that arithmetic could not."""
    mine, theirs = float(own.mean()), float(best.mean())
    top = max(abs(mine), abs(theirs))
    return None if top <= 1e-6 else (theirs - mine) / top


def lacking(probe: Probe, name: str, reason: str) -> Check:
    """The check could not be asked."""
    return probe.check(name, None, reason)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"
