"""Content-based ranking by word overlap, without any training events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.models.common import refuse_objective, top_of
from hardrank.models.neighbours import history_matrix
from hardrank.models.textspace import TextSpace
from hardrank.recommender import Recommender
from hardrank.types import Ranks, Scores, Share, spec

__all__ = ["Tfidf", "TfidfRecommender"]


@spec
class Tfidf:
    """score(h, i) = sum over j in h of decay^age(j) * cos(text i, text j).

    For one history this orders items as the cosine of the decayed text profile does. A
    rewritten item is read anew with the vocabulary and idf of the fit (`TextSpace`).
    """

    kind: Literal["tfidf"] = "tfidf"
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that are read."""
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
    ) -> "TfidfRecommender":
        """Nothing is random and nothing is stopped early; `valid` and `start` have no effect.
        Raises `Unsupported` when given an objective, `SchemaError` for an unknown field."""
        refuse_objective(self.kind, objective)
        return TfidfRecommender(space=TextSpace.fitted(train.items, self.fields), decay=self.decay)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "TfidfRecommender":
        return TfidfRecommender(
            space=TextSpace.restored(arrays, items, self.fields), decay=self.decay
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class TfidfRecommender:
    """See `Tfidf`."""

    space: TextSpace
    decay: float

    @property
    def items(self) -> pl.DataFrame:
        return self.space.items

    def score(self, queries: Queries, slate: Slate) -> Scores:
        histories = history_matrix(queries, self.items.height, self.decay)
        return self.space.scores(histories, slate)

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, space=self.space.on(items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self.space.arrays()
