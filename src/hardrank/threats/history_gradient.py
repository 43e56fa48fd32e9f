"""What a white-box attacker of histories reads: the slope of the goal by each event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from hardrank.data import Queries
from hardrank.recommender import LossSurface
from hardrank.types import Floats, GoalKind, Ints, Site

if TYPE_CHECKING:
    import torch

__all__ = ["GivesHistoryGradient", "HistoryGradient", "slopes"]


@dataclass(frozen=True, eq=False, kw_only=True)
class HistoryGradient:
    """First-order gain of the goal by each event's vector: replacing event l by item j
    gains about slope[l] . (vectors[j] - current[l])."""

    slope: Floats
    """(L, D)"""
    current: Floats
    """(L, D) the vector that stands there now."""
    vectors: Floats
    """(I, D) the catalogue's."""
    first: int
    """Position in the whole history of the first event that the model reads."""


@runtime_checkable
class GivesHistoryGradient(Protocol):
    """A victim whose loss can be seen as a function of its history's vectors."""

    @property
    def vectors(self) -> "torch.Tensor":
        """(I, D) of the catalogue."""
        ...

    def surface(
        self, site: Site, goal: GoalKind, queries: Queries, items: Ints, texts: Sequence[str] = ()
    ) -> LossSurface: ...


def slopes(
    victim: GivesHistoryGradient, query: Queries, watched: Ints, goal: GoalKind
) -> HistoryGradient:
    """For `promote` of the watched items' mean log-likelihood, else of its negative."""
    import torch

    rows = query.take(np.zeros(len(watched), dtype=np.int64))
    surface = victim.surface("history-vectors", "degrade", rows, watched)
    with torch.enable_grad():
        delta = torch.zeros_like(surface.like).requires_grad_(True)
        (slope,) = torch.autograd.grad(surface.loss(delta).mean(), delta)
    sign = -1.0 if goal == "promote" else 1.0
    length = surface.like.shape[1]
    return HistoryGradient(
        slope=np.asarray(sign * slope.sum(0).numpy(), dtype=np.float32),
        current=surface.like[0].numpy(),
        vectors=victim.vectors.detach().numpy(),
        first=int(query.lengths[0]) - length,
    )
