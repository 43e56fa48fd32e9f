"""The two-number hybrid: co-occurrence plus words, nothing trained but a decay and a mix."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.metrics.ranking import ndcg, ranks_of_targets
from hardrank.models.common import entry, refuse_objective, tiles, top_of, whole
from hardrank.models.neighbours import (
    cosine_arrays,
    history_matrix,
    item_cosines,
    restored_cosines,
)
from hardrank.models.textspace import TextSpace
from hardrank.recommender import Recommender, mask_seen
from hardrank.types import NonNegative, Ranks, Scores, Share, spec

__all__ = ["KnnTfidf", "KnnTfidfRecommender"]


@spec
class KnnTfidf:
    """score(h, i) = sum over j in h of decay^age(j) * (cos(i, j) + mix * cos(text i, text j)).

    The parts are `item-knn` and `tfidf`. Without `valid` the first decay and the first mix
    are taken; with it, the pair with the best validation NDCG@10.
    """

    kind: Literal["knn-tfidf"] = "knn-tfidf"
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that are read."""
    decays: tuple[Share, ...] = (0.7, 0.5, 0.9)
    """Candidate weights of an event relative to the next younger one."""
    mixes: tuple[NonNegative, ...] = (0.6, 0.1, 0.3, 1.0)
    """Candidate weights of the text part relative to the co-occurrence part."""

    def __post_init__(self) -> None:
        if not self.decays or not self.mixes:
            raise ValueError("decays and mixes need at least one value each")

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "KnnTfidfRecommender":
        """Nothing is random; `start` has no effect. Raises `Unsupported` when given an
        objective, `SchemaError` for an unknown field."""
        refuse_objective(self.kind, objective)
        first = KnnTfidfRecommender(
            space=TextSpace.fitted(train.items, self.fields),
            cosines=item_cosines(train),
            decay=self.decays[0],
            mix=self.mixes[0],
        )
        if valid is None or not len(valid) or len(self.decays) * len(self.mixes) == 1:
            return first
        found = {
            d: self._gains(replace(first, decay=d), valid)
            for d in run.track(self.decays, self.kind)
        }
        decay = max(self.decays, key=lambda d: found[d].max())
        return replace(first, decay=decay, mix=self.mixes[int(found[decay].argmax())])

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "KnnTfidfRecommender":
        decay, mix = entry(arrays, "decay_mix", self.kind).tolist()
        return KnnTfidfRecommender(
            space=TextSpace.restored(arrays, items, self.fields),
            cosines=restored_cosines(arrays, items.height, self.kind),
            decay=decay,
            mix=mix,
        )

    def _gains(self, model: "KnnTfidfRecommender", valid: Holdout) -> NDArray[np.float64]:
        """(mixes,) validation NDCG@10 at the model's decay; both parts are computed once."""
        total, slate = np.zeros(len(self.mixes)), whole(model.items)
        for rows in tiles(len(valid), len(slate)):
            part = valid.take(rows)
            together, text = model.parts(part.queries, slate)
            for n, mix in enumerate(self.mixes):
                scores = mask_seen(together + np.float32(mix) * text, part.queries)
                total[n] += ndcg(ranks_of_targets(scores, part.targets), 10).sum()
        return total / len(valid)


@dataclass(frozen=True, eq=False, kw_only=True)
class KnnTfidfRecommender:
    """See `KnnTfidf`."""

    space: TextSpace
    cosines: sparse.csr_matrix
    """(I, I), zero diagonal."""
    decay: float
    mix: float

    @property
    def items(self) -> pl.DataFrame:
        return self.space.items

    def parts(self, queries: Queries, slate: Slate) -> tuple[Scores, Scores]:
        """(Q, I) each: the co-occurrence scores and the text scores before mixing."""
        histories = history_matrix(queries, self.items.height, self.decay)
        together = (histories @ self.cosines[:, slate.items]).astype(np.float32)
        return together.toarray(), self.space.scores(histories, slate)

    def score(self, queries: Queries, slate: Slate) -> Scores:
        together, text = self.parts(queries, slate)
        return together + np.float32(self.mix) * text

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, space=self.space.on(items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        chosen = np.array([self.decay, self.mix])
        return {**self.space.arrays(), **cosine_arrays(self.cosines), "decay_mix": chosen}
