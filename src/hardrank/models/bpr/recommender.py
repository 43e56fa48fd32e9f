"""Matrix factorisation as it ranks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Queries, Slate
from hardrank.models.bpr import surfaces
from hardrank.models.common import dot_scores, same_items, top_of
from hardrank.models.neighbours import history_matrix
from hardrank.models.sequence import losses
from hardrank.recommender import LossSurface
from hardrank.types import Floats, GoalKind, Ints, RankingLoss, Ranks, Scores, Site

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BprMfRecommender"]


@dataclass(frozen=True, eq=False, kw_only=True)
class BprMfRecommender:
    """See `BprMf`. `hardrank.recommender.Recommender` and `Differentiable`.

    A query of a user with training events is answered from the user's own factors, whatever
    its history says. Any other query is answered from the mean item factors of its history
    (a folded-in user); with no history either, from the item biases alone.
    """

    items: pl.DataFrame
    users: Floats
    """(U, D)"""
    factors: Floats
    """(I, D)"""
    biases: Floats
    """(I,)"""
    known: NDArray[np.bool_]
    """(U,) True for users with training events."""

    def score(self, queries: Queries, slate: Slate) -> Scores:
        left = np.column_stack([self.profiles(queries), np.ones(len(queries), np.float32)])
        right = np.column_stack([self.factors, self.biases])[slate.items]
        return dot_scores(left, right)

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "users": self.users,
            "factors": self.factors,
            "biases": self.biases,
            "known": self.known,
        }

    def profiles(self, queries: Queries) -> Floats:
        """(Q, D) what each query is answered from."""
        sums = history_matrix(queries, len(self.factors), 1.0).astype(np.float32) @ self.factors
        out: Floats = sums / np.maximum(queries.lengths, 1)[:, None].astype(np.float32)
        own = (queries.users >= 0) & (queries.users < len(self.known))
        own[own] = self.known[queries.users[own]]
        out[own] = self.users[queries.users[own]]
        return out

    # White box

    @property
    def sites(self) -> tuple[Site, ...]:
        return ("item-vectors", "user-vectors")

    def surface(
        self,
        site: Site,
        goal: GoalKind,
        queries: Queries,
        items: Ints,
        texts: Sequence[str] = (),
        *,
        loss: RankingLoss | None = None,
    ) -> LossSurface:
        """`promote` and `demote` at `item-vectors`, `degrade` at `user-vectors`."""
        return surfaces.surface(self, site, goal, queries, items, loss)

    def perturbed_scores(
        self, site: Site, goal: GoalKind, queries: Queries, items: Ints, delta: "Tensor"
    ) -> Scores:
        return surfaces.perturbed_scores(self, site, goal, queries, items, delta)

    def doors(self, queries: Queries) -> "Tensor":
        """(Q, 2) see `losses.doors`."""
        return losses.doors(self, queries)
