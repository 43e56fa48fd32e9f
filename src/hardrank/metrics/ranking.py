"""Rank of a held-out item among all unseen items, and what is read off it.

Full ranking, one held-out item a query. Ties, and scores that are not numbers, count
against the model: a constant model ranks every target last.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hardrank.types import Ints, Scores

__all__ = ["hit", "ndcg", "ranks_of_scores", "ranks_of_targets", "reciprocal"]

Doubles = NDArray[np.float64]


def ranks_of_targets(scores: Scores, targets: Ints) -> Ints:
    """(Q,) ranks from 1: `1 + #{j != t : not s_j < s_t}`.

    scores: (Q, I) with -inf where an item may not be shown (seen); targets: (Q,) columns.
    """
    return ranks_of_scores(scores, scores[np.arange(len(scores)), targets])


def ranks_of_scores(scores: Scores, values: Scores) -> Ints:
    """(Q,) how many of a row's items are not below `values[q]`; an item that scores
    `values[q]` and stands in the row counts itself, so this is its rank.

    The negated `<` puts NaN on the target's wrong side. Rows are counted one by one:
    `count_nonzero` of one row is vectorised by numpy, along an axis it is not.
    """
    ranks = np.full(len(scores), scores.shape[1], dtype=np.int64)
    below = np.empty(scores.shape[1], dtype=np.bool_)
    for q in range(len(scores)):
        np.less(scores[q], values[q], out=below)
        ranks[q] -= np.count_nonzero(below)
    return ranks


def hit(ranks: ArrayLike, k: int) -> Doubles:
    """1 where rank <= k, else 0; NaN stays NaN. With one held-out item this is also recall."""
    r = np.asarray(ranks, dtype=np.float64)
    return np.where(np.isnan(r), np.nan, (r <= k).astype(np.float64))


def ndcg(ranks: ArrayLike, k: int) -> Doubles:
    """1 / log2(rank + 1) where rank <= k, else 0 (the ideal DCG of one item is 1)."""
    r = np.asarray(ranks, dtype=np.float64)
    return np.where(r <= k, 1.0 / np.log2(r + 1.0), np.where(np.isnan(r), np.nan, 0.0))


def reciprocal(ranks: ArrayLike) -> Doubles:
    """1 / rank; its mean is MRR, without a cut-off."""
    return 1.0 / np.asarray(ranks, dtype=np.float64)
