"""Exposure of items before and after their scores change, over all queries, exactly."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hardrank.audits.catalogue import tiles
from hardrank.data import Queries
from hardrank.metrics.exposure import exposure, ratio
from hardrank.recommender import Recommender
from hardrank.types import Ints, Scores

__all__ = ["Shown", "observe"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Shown:
    """Each (M,), over the eligible queries: those that have not seen the item."""

    eligible: Ints
    hits_before: Ints
    """Eligible queries that have the item in their top k."""
    hits_after: Ints
    rank_before: Doubles
    """Mean rank among unseen items, ties against; NaN without eligible queries."""
    rank_after: Doubles
    shift: Doubles
    """Prediction shift: mean score after - before."""

    @cached_property
    def er_before(self) -> Doubles:
        return exposure(self.hits_before, self.eligible)

    @cached_property
    def er_after(self) -> Doubles:
        return exposure(self.hits_after, self.eligible)


def observe(
    recommender: Recommender,
    queries: Queries,
    rows: Ints,
    after: Scores,
    *,
    changed: NDArray[np.bool_],
    k: int,
) -> Shown:
    """What happens when item `rows[m]` alone gets the scores `after[:, m]`, for each m.

    rows: (M,) item rows, the same one as often as there are versions of it. after: (Q, M).
    changed: (M,) False where nothing changed: then after is before to the last bit,
    whatever stands in `after`. The catalogue is scored once.
    """
    counts = np.zeros((3, len(rows)), dtype=np.int64)
    sums = np.zeros((3, len(rows)))
    for part, chunk, scores in tiles(recommender, queries):
        own = scores[:, rows]
        new = np.where(changed, after[part], own)
        free = ~_have_seen(chunk, rows, scores.shape[1])
        ascending = np.sort(scores, axis=1)
        first, then = _ranks(ascending, own, own), _ranks(ascending, own, new)
        shift = np.subtract(new, own, out=np.zeros_like(own), where=free)
        counts += [x.sum(axis=0) for x in (free, free & (first <= k), free & (then <= k))]
        sums += [np.where(free, x, 0).sum(axis=0, dtype=np.float64) for x in (first, then, shift)]
    return Shown(
        eligible=counts[0],
        hits_before=counts[1],
        hits_after=counts[2],
        rank_before=ratio(sums[0], counts[0]),
        rank_after=ratio(sums[1], counts[0]),
        shift=ratio(sums[2], counts[0]),
    )


def _ranks(ascending: Scores, own: Scores, new: Scores) -> Ints:
    """(B, M) ranks among the unseen items when an item that scored `own` scores `new`.

    ascending: (B, I) sorted rows. The item's own old score does not compete; what is not
    below counts against it. NaN sorts last, above all; a target that scores NaN is below all.
    """
    new = np.where(np.isnan(new), np.float32(-np.inf), new)
    below = np.stack(
        [
            np.searchsorted(row, values, side="left")
            for row, values in zip(ascending, new, strict=True)
        ]
    )
    ranks: Ints = 1 + ascending.shape[1] - below - ~(own < new)
    return ranks


def _have_seen(queries: Queries, rows: Ints, n_items: int) -> NDArray[np.bool_]:
    """(B, M) whether the query's history holds the item."""
    place = np.full(n_items, -1)
    distinct, which = np.unique(rows, return_inverse=True)
    place[distinct] = np.arange(len(distinct))
    columns = place[queries.items]
    out = np.zeros((len(queries), len(distinct)), dtype=np.bool_)
    out[queries.owners[columns >= 0], columns[columns >= 0]] = True
    return out[:, which]
