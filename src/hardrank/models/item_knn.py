"""Item-item collaborative filtering on co-occurrence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.models.common import refuse_objective, same_items, top_of
from hardrank.models.neighbours import (
    cosine_arrays,
    history_matrix,
    item_cosines,
    restored_cosines,
)
from hardrank.recommender import Recommender
from hardrank.types import Ranks, Scores, Share, spec

__all__ = ["ItemKnn", "ItemKnnRecommender"]


@spec
class ItemKnn:
    """score(h, i) = sum over j in h of decay^age(j) * cos(i, j), the newest item of age 0.

    Cosine of binary user vectors (Sarwar et al., WWW 2001, section 3.1.1), all neighbours
    kept; the decay by age makes it sequential. Text is not read.
    """

    kind: Literal["item-knn"] = "item-knn"
    decay: Share = 0.7
    """Weight of an event relative to the next younger one."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "ItemKnnRecommender":
        """Nothing is random and nothing is stopped early; `valid` and `start` have no effect.
        Raises `Unsupported` when given an objective."""
        refuse_objective(self.kind, objective)
        return ItemKnnRecommender(items=train.items, cosines=item_cosines(train), decay=self.decay)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "ItemKnnRecommender":
        cosines = restored_cosines(arrays, items.height, self.kind)
        return ItemKnnRecommender(items=items, cosines=cosines, decay=self.decay)


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemKnnRecommender:
    """See `ItemKnn`."""

    items: pl.DataFrame
    cosines: sparse.csr_matrix
    """(I, I), zero diagonal."""
    decay: float

    def score(self, queries: Queries, slate: Slate) -> Scores:
        histories = history_matrix(queries, self.items.height, self.decay)
        scores: Scores = (histories @ self.cosines[:, slate.items]).astype(np.float32).toarray()
        return scores

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return cosine_arrays(self.cosines)
