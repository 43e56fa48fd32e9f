"""Two recommenders as one: a weighted sum of their standardised scores."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.models.common import (
    entry,
    holdout_ndcg,
    refuse_objective,
    same_items,
    tiles,
    top_of,
    whole,
)
from hardrank.models.hybrid import Hybrid
from hardrank.models.item_knn import ItemKnn
from hardrank.models.knn_tfidf import KnnTfidf
from hardrank.models.sasrec import Sasrec
from hardrank.models.text_sequence import TextSequence
from hardrank.models.tfidf import Tfidf
from hardrank.recommender import Recommender
from hardrank.types import Floats, NonNegative, Ranks, Scores, spec

__all__ = ["Blend", "Blended"]

Learned = Annotated[Hybrid | TextSequence | Sasrec, Field(discriminator="kind")]
Counted = Annotated[KnnTfidf | ItemKnn | Tfidf, Field(discriminator="kind")]
_WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Tried on validation NDCG@10 where `weight` is not given; 0 is the first model alone."""
_TRIED = 4000
"""Validation queries that the choice looks at, at most."""


@spec
class Blend:
    """A learned and a counted model: they make different mistakes.

    score(q, i) = z1(q, i) + weight * z2(q, i), z standardised over the catalogue for each
    query. What neighbours and shared words say directly a network with 64 dimensions only
    approximates; what it generalises the counts cannot know.
    """

    kind: Literal["blend"] = "blend"
    first: Learned
    """The learned model."""
    second: Counted
    """The counted one."""
    weight: NonNegative | None = None
    """Of the second; None for the best on validation data (0 without any)."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "Blended":
        """`start`'s weights are not gone on from. Raises `Unsupported` for an objective."""
        refuse_objective(self.kind, objective)
        first = self.first.fit(train, run, valid=valid)
        second = self.second.fit(train, run, valid=valid)
        weight = self.weight if self.weight is not None else _chosen(first, second, valid)
        return Blended(first, second, weight)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "Blended":
        parts = [
            {k.removeprefix(p): v for k, v in arrays.items() if k.startswith(p)}
            for p in ("first/", "second/")
        ]
        first: Recommender = self.first.restore(parts[0], items, run)
        second: Recommender = self.second.restore(parts[1], items, run)
        return Blended(first, second, float(entry(arrays, "weight", self.kind)))


@dataclass(eq=False)
class _Scale:
    """(Q, 1) mean and spread of a model's scores over the catalogue."""

    mean: Floats
    spread: Floats


class Blended:
    """What `Blend.fit` gives."""

    def __init__(
        self,
        first: Recommender,
        second: Recommender,
        weight: float,
        standing: tuple[Recommender, Recommender] | None = None,
    ) -> None:
        """standing: the two over the catalogue that scales are taken from; None for these."""
        self.first, self.second, self.weight = first, second, weight
        self._standing = standing or (first, second)
        self._scales: OrderedDict[str, tuple[_Scale, _Scale]] = OrderedDict()

    @property
    def items(self) -> pl.DataFrame:
        return self.first.items

    def score(self, queries: Queries, slate: Slate) -> Scores:
        one, two = self._scale(queries)
        scores = (self.first.score(queries, slate) - one.mean) / one.spread
        other = (self.second.score(queries, slate) - two.mean) / two.spread
        return np.asarray(scores + np.float32(self.weight) * other, dtype=np.float32)

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> "Blended":
        same_items(self.items, items)
        # The scales stay: else a rewritten text moved the scores of all other items.
        return Blended(
            self.first.on(items), self.second.on(items), self.weight, standing=self._standing
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        out = {f"first/{k}": v for k, v in self.first.arrays().items()}
        out |= {f"second/{k}": v for k, v in self.second.arrays().items()}
        return out | {"weight": np.array(self.weight)}

    def _scale(self, queries: Queries) -> tuple[_Scale, _Scale]:
        """Of the whole catalogue, so that a score does not depend on the rest of a slate."""
        key = queries.fingerprint
        if key not in self._scales:
            first, second = self._standing
            self._scales[key] = (_scale(first, queries), _scale(second, queries))
            while len(self._scales) > 4:
                self._scales.popitem(last=False)
        return self._scales[key]


def _scale(model: Recommender, queries: Queries) -> _Scale:
    slate = whole(model.items)
    found = [np.zeros((0, 2), dtype=np.float32)]
    for rows in tiles(len(queries), len(slate)):
        scores = model.score(queries.take(rows), slate)
        found.append(np.stack([scores.mean(axis=1), scores.std(axis=1)], axis=1))
    both = np.concatenate(found)
    return _Scale(both[:, :1], np.maximum(both[:, 1:], np.float32(1e-6)))


def _chosen(first: Recommender, second: Recommender, valid: Holdout | None) -> float:
    if valid is None or not len(valid):
        return 0.0
    some = valid.take(np.arange(min(len(valid), _TRIED)))
    return max(_WEIGHTS, key=lambda weight: holdout_ndcg(Blended(first, second, weight), some))
