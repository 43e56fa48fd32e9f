"""Parts that any recommender may use: texts of a slate, tiled ranking, steady products."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Holdout, Queries, Slate, render
from hardrank.errors import BundleError, SchemaError, Unsupported
from hardrank.metrics.ranking import ndcg, ranks_of_targets
from hardrank.recommender import best, mask_seen
from hardrank.types import Floats, Ints, Ranks, Scores

__all__ = [
    "Scorer",
    "decayed",
    "dot_scores",
    "entry",
    "holdout_ndcg",
    "refuse_objective",
    "same_items",
    "slate_texts",
    "target_ranks",
    "tiles",
    "top_of",
    "whole",
]

_CELLS = 1 << 23
"""Scores held at once while ranking: 32 MiB of float32."""
_ROWS, _COLUMNS = 64, 512
"""Tile of `dot_scores`; multiples of any BLAS micro-kernel."""


class Scorer(Protocol):
    """As much of a recommender as ranking needs."""

    @property
    def items(self) -> pl.DataFrame: ...

    def score(self, queries: Queries, slate: Slate) -> Scores: ...


def slate_texts(items: pl.DataFrame, slate: Slate, fields: tuple[str, ...]) -> list[str]:
    """(I,): what a model that reads `fields` sees of each candidate of the slate.

    A rewritten field takes its place among the item's other fields, which are the
    catalogue's. A rewrite of a field that the model does not read changes nothing. Raises
    `SchemaError` when a field, read or rewritten, is not a column of the item table.
    """
    rows = items[slate.items]
    if slate.texts is not None:
        if slate.field not in items.columns:
            raise SchemaError(
                f"the slate rewrites '{slate.field}', which the item table does not have",
                field=slate.field,
                remedy=f"it has: {', '.join(items.columns)}",
            )
        rows = rows.with_columns(pl.Series(slate.field, slate.texts, dtype=pl.Utf8))
    return render(rows, fields)


def whole(items: pl.DataFrame) -> Slate:
    """The slate of the whole catalogue, in its order."""
    return Slate(items=np.arange(items.height))


def tiles(n_queries: int, n_items: int) -> list[Ints]:
    """Rows of queries in blocks whose scores fit in 32 MiB (one query at least)."""
    step = max(1, _CELLS // max(1, n_items))
    return [np.arange(s, min(s + step, n_queries)) for s in range(0, n_queries, step)]


def top_of(model: Scorer, queries: Queries, k: int) -> Ranks:
    """(Q, min(K, I)) best unseen items, best first, ties by item row; tiled over queries.

    A query that has not so many unseen items left has -1 in its last places: a seen item
    is never returned.
    """
    slate = whole(model.items)
    parts = [np.empty((0, min(k, len(slate))), dtype=np.int64)]
    for rows in tiles(len(queries), len(slate)):
        part = queries.take(rows)
        scores = mask_seen(model.score(part, slate), part)
        ranks = best(scores, k)
        ranks[np.isneginf(np.take_along_axis(scores, ranks, axis=1))] = -1
        parts.append(ranks)
    return np.concatenate(parts)


def target_ranks(model: Scorer, holdout: Holdout) -> Ints:
    """(Q,) rank from 1 of each held-out item among the items its query has not seen; ties
    count against the model."""
    slate = whole(model.items)
    out = np.empty(len(holdout), dtype=np.int64)
    for rows in tiles(len(holdout), len(slate)):
        part = holdout.take(rows)
        scores = mask_seen(model.score(part.queries, slate), part.queries)
        out[rows] = ranks_of_targets(scores, part.targets)
    return out


def holdout_ndcg(model: Scorer, holdout: Holdout, k: int = 10) -> float:
    """Mean NDCG@k over the held-out items: what models stop and choose on."""
    return float(ndcg(target_ranks(model, holdout), k).mean())


def dot_scores(left: Floats, right: Floats) -> Scores:
    """(Q, D), (I, D) -> (Q, I) inner products, the same to the last bit whatever else is asked.

    A BLAS picks another order of summation for another shape of matrix, so that a pair's
    product may differ in its last bit with its companions. Here every product is taken in
    zero-padded tiles of one fixed shape.
    """
    n_left, n_right = len(left), len(right)
    a = np.zeros((-(-n_left // _ROWS) * _ROWS, left.shape[1]), dtype=np.float32)
    b = np.zeros((left.shape[1], -(-n_right // _COLUMNS) * _COLUMNS), dtype=np.float32)
    a[:n_left], b[:, :n_right] = left, right.T
    out = np.empty((len(a), b.shape[1]), dtype=np.float32)
    for column in range(0, b.shape[1], _COLUMNS):
        panel = np.ascontiguousarray(b[:, column : column + _COLUMNS])
        for row in range(0, len(a), _ROWS):
            out[row : row + _ROWS, column : column + _COLUMNS] = a[row : row + _ROWS] @ panel
    return out[:n_left, :n_right]


def decayed(queries: Queries, decay: float) -> NDArray[np.float64]:
    """(sum of lengths,) weight decay^age of each history entry; the newest has age 0."""
    age = queries.offsets[1:][queries.owners] - 1 - np.arange(len(queries.items))
    return np.asarray(np.power(decay, age, dtype=np.float64))


def refuse_objective(kind: str, objective: Any) -> None:
    """Raises `Unsupported`: silently training without it would make a false hardened arm."""
    if objective is not None:
        raise Unsupported(
            f"{kind} minimises no such loss, so the objective "
            f"'{getattr(objective, 'kind', type(objective).__name__)}' would have no effect; "
            "harden a 'text-sequence' or 'sasrec' model, or leave the objective out"
        )


def same_items(old: pl.DataFrame, new: pl.DataFrame) -> pl.DataFrame:
    """`new`, if it lists the same items in the same order; else raises `SchemaError`."""
    if not old["item_id"].equals(new["item_id"]):
        raise SchemaError(
            "the other catalogue lists other items or another order",
            field="item_id",
            remedy="fit again for new items; `on` takes rewritten texts only",
        )
    return new


def entry(arrays: Mapping[str, NDArray[Any]], name: str, kind: str) -> NDArray[Any]:
    """One learned array. Raises `BundleError` when it is missing."""
    if name not in arrays:
        raise BundleError(f"{kind}: the array '{name}' is missing; it has: {', '.join(arrays)}")
    return arrays[name]
