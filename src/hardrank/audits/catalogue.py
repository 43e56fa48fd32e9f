"""What audits share: tiles of queries against the whole catalogue, ranks, popularity groups."""

from collections.abc import Iterator, Sequence

import numpy as np

from hardrank.data import Holdout, Queries, Slate
from hardrank.metrics.popularity import popularity_groups
from hardrank.metrics.ranking import ranks_of_targets
from hardrank.recommender import Recommender, mask_seen
from hardrank.types import Ints, Scores

__all__ = [
    "GROUPS",
    "PROTOCOL",
    "full_ranks",
    "popularity_groups",
    "query_names",
    "tiles",
    "whole",
]

PROTOCOL = "full ranking over all unseen items; seen items removed; ties count against the model"
GROUPS = ("head", "mid", "tail", "cold")

_TILE = 16 * 2**20
"""Bytes of scores in one tile: enough rows to keep a model busy, few enough to stay in the
last-level cache while ranks are counted."""


def whole(recommender: Recommender) -> Slate:
    return Slate(items=np.arange(recommender.items.height, dtype=np.int64))


def tiles(
    recommender: Recommender, queries: Queries, *, rows: int | None = None
) -> Iterator[tuple[slice, Queries, Scores]]:
    """Queries in order, `rows` at a time, with their (B, I) scores; seen items are -inf.

    The full (Q, I) matrix is never there at once.
    """
    slate = whole(recommender)
    rows = rows or max(32, _TILE // (4 * max(len(slate), 1)))
    for start in range(0, len(queries), rows):
        part = slice(start, min(start + rows, len(queries)))
        chunk = queries.take(np.arange(part.start, part.stop))
        scores = np.array(recommender.score(chunk, slate), dtype=np.float32, copy=None)
        if not scores.flags.writeable:
            scores = scores.copy()
        yield part, chunk, mask_seen(scores, chunk)


def full_ranks(recommender: Recommender, holdout: Holdout, *, rows: int | None = None) -> Ints:
    """(Q,) ranks from 1. `rows` queries are scored at a time (default: what fits a cache)."""
    out = np.empty(len(holdout), dtype=np.int64)
    for part, _, scores in tiles(recommender, holdout.queries, rows=rows):
        out[part] = ranks_of_targets(scores, holdout.targets[part])
    return out


def query_names(holdout: Holdout, names: Sequence[str] = ()) -> list[str]:
    """The user id of each query, else its row as text, else `#` and its number."""
    return [
        (names[u] if len(names) else str(u)) if u >= 0 else f"#{q}"
        for q, u in enumerate(holdout.queries.users.tolist())
    ]
