"""`item-features`: items like those of the history, by the numbers about them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import SchemaError, Unsupported
from hardrank.models.common import same_items, top_of
from hardrank.threats.features import Bounds
from hardrank.types import Floats, GoalKind, Ranks, Scores, spec

__all__ = ["ItemFeatures", "ItemFeaturesModel"]


@spec
class ItemFeatures:
    """Content-based ranking on numeric columns or image vectors.

    Features are standardised over the catalogue; a user is the mean of the items in the
    history; the score is the negative squared distance to that mean. Reads no text.
    """

    kind: Literal["item-features"] = "item-features"
    columns: tuple[str, ...] = ("price",)
    """Columns of the item table: numbers, or lists of numbers of one length (vectors). Missing
    numbers take the catalogue's mean."""
    fixed: tuple[str, ...] = ()
    """Those of the columns that no seller can write."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Any = None,
    ) -> "ItemFeaturesModel":
        """Raises `SchemaError` for a column that is not there or holds no numbers."""
        if objective is not None:
            raise Unsupported("item-features learns nothing: it takes no objective")
        raw, owners = self._raw(train.items)
        mean, spread = np.nanmean(raw, axis=0), np.nanstd(raw, axis=0)
        values = (np.where(np.isnan(raw), mean, raw) - mean) / np.where(spread > 0, spread, 1)
        writable = np.array([owner not in self.fixed for owner in owners], dtype=bool)
        return ItemFeaturesModel(
            items=train.items, features=values.astype(np.float32), writable=writable
        )

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "ItemFeaturesModel":
        return ItemFeaturesModel(
            items=items, features=arrays["features"], writable=arrays["writable"].astype(bool)
        )

    def _raw(self, items: pl.DataFrame) -> tuple[NDArray[np.float64], list[str]]:
        """((I, F) with NaN where missing, the column of each feature)."""
        parts, owners = list[NDArray[np.float64]](), list[str]()
        for name in self.columns:
            if name not in items.columns:
                raise SchemaError(f"the item table has no column '{name}'", field=name)
            column = items[name]
            if isinstance(column.dtype, pl.List | pl.Array):
                part = np.array(column.to_list(), dtype=np.float64)
            elif column.dtype.is_numeric():
                part = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()[:, None]
            else:
                raise SchemaError(f"column '{name}' holds {column.dtype}, no numbers", field=name)
            parts.append(part)
            owners += [name] * part.shape[1]
        return np.concatenate(parts, axis=1), owners


@dataclass(frozen=True, eq=False, kw_only=True)
class ItemFeaturesModel:
    """`Recommender` and `hardrank.threats.features.GivesFeatureGradient`."""

    items: pl.DataFrame
    features: Floats
    """(I, F), standardised."""
    writable: NDArray[np.bool_]
    """(F,)"""

    @cached_property
    def bounds(self) -> Bounds:
        """What the catalogue spans."""
        return Bounds(self.features.min(axis=0), self.features.max(axis=0), self.writable)

    def score(self, queries: Queries, slate: Slate) -> Scores:
        return self._scores(queries, self.features[slate.items])

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> "ItemFeaturesModel":
        same_items(self.items, items)
        return replace(self, items=items)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"features": self.features, "writable": self.writable}

    def feature_scores(self, queries: Queries, item: int, features: Floats) -> Scores:
        return self._scores(queries, features)

    def feature_gradient(
        self, goal: GoalKind, queries: Queries, item: int, features: Floats
    ) -> Floats:
        """Of the mean score over the queries; its negative to demote."""
        sign = 1.0 if goal == "promote" else -1.0
        slope = 2 * (self._profiles(queries) - features).mean(axis=0)
        return np.asarray(sign * slope, dtype=np.float32)

    def _profiles(self, queries: Queries) -> Floats:
        out = np.zeros((len(queries), self.features.shape[1]), dtype=np.float32)
        np.add.at(out, queries.owners, self.features[queries.items])
        return np.asarray(out / np.maximum(queries.lengths, 1)[:, None], dtype=np.float32)

    def _scores(self, queries: Queries, features: Floats) -> Scores:
        users = self._profiles(queries)
        # |u - f|^2 without the (Q, N, F) differences
        scores: Scores = 2 * users @ features.T - (features**2).sum(axis=1)
        scores -= (users**2).sum(axis=1, keepdims=True)
        return scores.astype(np.float32)
