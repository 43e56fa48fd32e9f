"""The same list for everyone: the floor that a recommender has to clear."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.models.common import entry, refuse_objective, same_items, top_of
from hardrank.recommender import Recommender
from hardrank.types import Floats, Ranks, Scores, spec

__all__ = ["Popularity", "PopularityRecommender"]


@spec
class Popularity:
    """Score of an item: its number of training events. Text and history are not read."""

    kind: Literal["popularity"] = "popularity"

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "PopularityRecommender":
        """Nothing is random and nothing is stopped early; `valid` and `start` have no effect.
        Raises `Unsupported` when given an objective."""
        refuse_objective(self.kind, objective)
        return PopularityRecommender(items=train.items, counts=train.counts.astype(np.float32))

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "PopularityRecommender":
        counts = entry(arrays, "counts", self.kind).astype(np.float32)
        return PopularityRecommender(items=items, counts=counts)


@dataclass(frozen=True, eq=False, kw_only=True)
class PopularityRecommender:
    """See `Popularity`."""

    items: pl.DataFrame
    counts: Floats
    """(I,) training events."""

    def score(self, queries: Queries, slate: Slate) -> Scores:
        return np.tile(self.counts[slate.items], (len(queries), 1))

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"counts": self.counts}
