"""A recommender whose reading of a listing is worth as much as whoever wrote it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import DataError, SchemaError, Unsupported
from hardrank.models.blend import Blend
from hardrank.models.common import same_items, top_of
from hardrank.models.hybrid import Hybrid
from hardrank.models.knn_tfidf import KnnTfidf
from hardrank.models.smoothed import Smoothed
from hardrank.models.standing import Standing
from hardrank.models.text_sequence import TextSequence
from hardrank.models.tfidf import Tfidf
from hardrank.recommender import (
    Change,
    Forecast,
    Recommender,
    Relaxed,
    TextGradient,
    mask_seen,
)
from hardrank.threats.desk import GivesTextGradient, GivesWords
from hardrank.types import Floats, GoalKind, Ints, Ranks, Scores, Share
from hardrank.types import spec as _spec

if TYPE_CHECKING:
    import torch

__all__ = ["Trusted", "TrustedRecommender"]

Base = Annotated[
    TextSequence | Hybrid | Tfidf | KnnTfidf | Blend | Smoothed, Field(discriminator="kind")
]


@_spec
class Trusted:
    """Bounded influence of text by who wrote it.

        score(q, i) = w s(q, i) + (1 - w) min(s(q, i), n(q, i))

    with s the base's score, w the trust in the item's seller and n the score of a neutral
    listing. At w = 1 this is the base to the last bit; at w = 0 no text lifts an item above
    neutral; between, what a text gains above neutral counts w times. Text that lowers an item
    counts in full: nobody needs trust for that. What a rewrite can gain grows with w.

    Trust comes from outside (age of the account, past removals, verified stock): nothing here
    learns it from what sellers write.
    """

    kind: Literal["trusted"] = "trusted"
    base: Base
    """What reads the texts. An objective hardens it as it would alone."""
    column: str = "seller"
    """Of the item table: who sells each item, looked up in `trust`; or, a column of numbers
    in [0, 1], the trust itself. Not one that sellers write."""
    trust: dict[str, Share] = Field(default_factory=dict)
    """Seller -> trust in [0, 1]; for a column of names."""
    otherwise: Share = 1.0
    """Trust in sellers that `trust` does not name, and in items that name none."""
    neutral: Literal["median", "empty"] = "median"
    """`median`: the (lower) median of the query's scores over the unseen items of the standing
    catalogue; at w = 0 no text gets an item into the top k of a query with 2k unseen items or
    more. `empty`: the item's own score with nothing in `field`, so that ids still count; right
    for models with ids, since a model of text alone may think anything of an empty text."""
    field: str = "title"
    """Column that sellers write; read for `neutral = "empty"`."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "TrustedRecommender":
        """Fits the base; `start` gives its base's weights. Raises `Unsupported` when the base
        refuses the objective, `SchemaError` without the column, `DataError` for a trust
        outside [0, 1]."""
        begun = start.base if isinstance(start, TrustedRecommender) else start
        weights_of(self, train.items)  # before an hour of training, not after
        return self.around(self.base.fit(train, run, valid=valid, objective=objective, start=begun))

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "TrustedRecommender":
        learned = {k.removeprefix("base/"): v for k, v in arrays.items()}
        return self.around(self.base.restore(learned, items, run))

    def around(self, base: Recommender) -> "TrustedRecommender":
        """Trust weights around any trained recommender."""
        return TrustedRecommender(base, self)


def weights_of(spec: Trusted, items: pl.DataFrame) -> Floats:
    """(I,) trust in each item's seller."""
    if spec.column not in items.columns:
        raise SchemaError(
            f"the item table has no column '{spec.column}' to look trust up by",
            field=spec.column,
            remedy=f"it has: {', '.join(items.columns)}",
        )
    column = items[spec.column]
    if not column.dtype.is_numeric():
        names = column.cast(pl.Utf8).to_list()
        found = [spec.otherwise if n is None else spec.trust.get(n, spec.otherwise) for n in names]
        return np.array(found, dtype=np.float32)
    if spec.trust:
        raise DataError(
            "holds numbers, so it is the trust itself, and a table of sellers says nothing of it",
            field=spec.column,
            remedy="leave `trust` out, or name the column of sellers",
        )
    values = column.cast(pl.Float64).fill_null(spec.otherwise).to_numpy()
    wrong = np.flatnonzero(~((values >= 0) & (values <= 1)))
    if len(wrong):
        raise DataError(
            f"trust {values[wrong[0]]:g} of item '{items['item_id'][int(wrong[0])]}'",
            field=spec.column,
            remedy="trust lies between 0 and 1",
        )
    return values.astype(np.float32)


class TrustedRecommender:
    """What `Trusted` makes."""

    def __init__(self, base: Recommender, spec: Trusted, standing: Standing | None = None) -> None:
        self.base, self.spec = base, spec
        self.weights = weights_of(spec, base.items)
        """(I,)"""
        self._standing = standing or Standing(base, _median)

    @property
    def items(self) -> pl.DataFrame:
        return self.base.items

    def score(self, queries: Queries, slate: Slate) -> Scores:
        scores = self.base.score(queries, slate)
        return _trimmed(scores, self.weights[slate.items], self._neutral(queries, slate.items))

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> "TrustedRecommender":
        same_items(self.items, items)
        return TrustedRecommender(self.base.on(items), self.spec, self._standing)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {f"base/{name}": array for name, array in self.base.arrays().items()}

    # White box

    def text_gradient(
        self, goal: GoalKind, queries: Queries, item: int, text: str, *, field: str = "title"
    ) -> TextGradient:
        """The base's as it is: the trim is flat where nothing is to be gained, and a gradient
        of zero would only hide which words the base likes. Raises `Unsupported` when the base
        grants none, as the three below do."""
        if not isinstance(self.base, GivesTextGradient):
            raise Unsupported("the base of this trusted model grants no gradients")
        return self.base.text_gradient(goal, queries, item, text, field=field)

    def word_embeddings(self, words: Sequence[str]) -> Floats:
        return self._words().word_embeddings(words)

    def forecast(self, queries: Queries, item: int, text: str, *, field: str = "title") -> Forecast:
        given = self._words().forecast(queries, item, text, field=field)
        weight, neutral = self._of(queries, item)

        def scores(changes: Sequence[Change]) -> Scores:
            return _trimmed(given(changes), weight, neutral)

        return scores

    def relaxed(
        self,
        queries: Queries,
        item: int,
        text: str,
        slots: Sequence[int],
        words: Sequence[str],
        *,
        field: str = "title",
    ) -> Relaxed:
        import torch

        given = self._words().relaxed(queries, item, text, slots, words, field=field)
        weight, level = float(self.weights[item]), torch.from_numpy(self._of(queries, item)[1].T)

        def scores(weights: "torch.Tensor") -> "torch.Tensor":
            found = given(weights)
            return weight * found + (1 - weight) * torch.minimum(found, level)

        return scores

    def _of(self, queries: Queries, item: int) -> tuple[Floats, Floats]:
        """(1,) trust in the item's seller and (Q, 1) its neutral score."""
        row = np.array([item], dtype=np.int64)
        return self.weights[row], self._neutral(queries, row)

    def _neutral(self, queries: Queries, rows: Ints) -> Floats:
        """(Q, 1) or (Q, I)."""
        if self.spec.neutral == "median":
            return self._standing(queries)
        bare = Slate(items=rows, texts=("",) * len(rows), field=self.spec.field)
        return self.base.score(queries, bare)

    def _words(self) -> GivesWords:
        if not isinstance(self.base, GivesWords):
            raise Unsupported("the base of this trusted model does not show how it reads words")
        return self.base


def _trimmed(scores: Scores, weights: Floats, neutral: Floats) -> Scores:
    """(Q, I); weights (I,), neutral (Q, 1) or (Q, I). Exact at weights 0 and 1; rounding never
    carries a score beyond the two that it lies between."""
    low = np.minimum(scores, neutral)
    mixed = weights * scores + (1 - weights) * low
    return np.asarray(np.clip(mixed, low, scores), dtype=np.float32)


def _median(scores: Scores, queries: Queries) -> Floats:
    """(Q, I) -> (Q, 1) over the items that the query has not seen; the lower one of two."""
    ascending = np.sort(mask_seen(scores.copy(), queries), axis=1)
    seen = np.isneginf(ascending).sum(axis=1, keepdims=True)
    middle = seen + np.maximum(scores.shape[1] - seen - 1, 0) // 2
    found = np.take_along_axis(ascending, np.minimum(middle, scores.shape[1] - 1), axis=1)
    return found.astype(np.float32)
