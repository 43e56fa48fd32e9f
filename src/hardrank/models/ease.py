"""Item-item regression in closed form."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import Diverged, Unsupported
from hardrank.models.common import entry, refuse_objective, same_items, top_of
from hardrank.models.neighbours import history_matrix
from hardrank.recommender import Recommender
from hardrank.types import Floats, Positive, Ranks, Scores, Share, spec

__all__ = ["Ease", "EaseRecommender"]

_MOST_ITEMS = 30_000
"""Their pairs take 7.2 GB in float64 and 3.6 GB in float32; fitting holds both."""
_ROWS = 1024
_LEAST_PIVOT = 1e-13
"""Share of the largest diagonal entry; smaller pivots are rounding errors."""


@spec
class Ease:
    """score(h, i) = sum over distinct j in h of B_ji, with B learned at once for all items.

        min over B of |X - X B|^2 + regularisation |B|^2 with diag(B) = 0, which is
        B = I - P diag(1 / diag(P)), P = (X'X + regularisation I)^-1

    Steck, WWW 2019, arXiv:1905.03375, equations 4 to 8. X is binary, (U, I). Ours weighs it:
    an event of weight w enters as sqrt(w), so that a user of weight w counts as w users do.
    Order within a history and text are not read.
    """

    kind: Literal["ease"] = "ease"
    regularisation: Positive = 100.0
    """Added to the diagonal of X'X: so many further users who saw nothing but that item."""
    user_norm: Share = 0.0
    """Each user's row is divided by (number of distinct items) ** user_norm: at 0 a user of n
    items pulls n^2 pairs with weight 1, at 0.5 every user has the same norm, and a long
    profile counts no more than a short one."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "EaseRecommender":
        """Nothing is random and nothing is stopped early; `valid` and `start` have no effect.

        Raises `Unsupported` when given an objective, or above 30,000 items, and `Diverged`
        when the regularisation is too small for X'X to be inverted.
        """
        refuse_objective(self.kind, objective)
        if train.n_items > _MOST_ITEMS:
            raise Unsupported(
                f"{self.kind} holds a weight for each pair of items, so {_MOST_ITEMS:,} items are "
                f"the most (the catalogue has {train.n_items:,}); use 'item-knn' or 'wmf', or "
                "leave rare items out"
            )
        seen = _seen(train, self.user_norm)
        gram = np.asarray((seen.T @ seen).toarray(), dtype=np.float64)
        np.fill_diagonal(gram, gram.diagonal() + self.regularisation)
        return EaseRecommender(items=train.items, weights=_weights(gram))

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "EaseRecommender":
        weights = entry(arrays, "weights", self.kind).astype(np.float32)
        return EaseRecommender(items=items, weights=weights)


@dataclass(frozen=True, eq=False, kw_only=True)
class EaseRecommender:
    """See `Ease`."""

    items: pl.DataFrame
    weights: Floats
    """(I, I), zero diagonal; row j is what having j says of each item."""

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """A query is answered from its history alone, whoever asks."""
        histories = history_matrix(queries, len(self.weights), 1.0).astype(np.float32)
        histories.data[:] = 1.0
        scores: Scores = np.asarray(histories @ self._columns(slate), dtype=np.float32)
        return scores

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"weights": self.weights}

    def _columns(self, slate: Slate) -> Floats:
        """(I, candidates); the matrix itself, not a copy, for the whole catalogue."""
        if np.array_equal(slate.items, np.arange(len(self.weights))):
            return self.weights
        return self.weights[:, slate.items]


def _seen(train: Dataset, user_norm: float) -> sparse.csr_matrix:
    """(U, I) root of the heaviest event of each pair, rows shortened by their length."""
    users = train.events["user"].to_numpy().astype(np.int64)
    keys, pair = np.unique(users * train.n_items + train.event_items, return_inverse=True)
    weight = np.zeros(len(keys))
    np.maximum.at(weight, pair, train.events["weight"].to_numpy().astype(np.float64))
    rows, columns = keys // train.n_items, keys % train.n_items
    lengths = np.bincount(rows, minlength=train.n_users)
    values = np.sqrt(weight) / lengths[rows].astype(np.float64) ** user_norm
    return sparse.csr_matrix((values, (rows, columns)), shape=(train.n_users, train.n_items))


def _weights(gram: NDArray[np.float64]) -> Floats:
    """(I, I) B of the regularised X'X, which is spent."""
    largest = float(gram.diagonal().max())
    factor, failed = lapack.dpotrf(gram.T, lower=True, overwrite_a=True, clean=True)
    if failed or float(factor.diagonal().min()) ** 2 < _LEAST_PIVOT * largest:
        raise Diverged("ease: X'X has no inverse in float64; raise `regularisation`")
    inverse, _ = lapack.dpotri(factor, lower=True, overwrite_c=True)
    # symmetric, but only the lower triangle was written; a whole copy would not fit
    weights = np.empty(inverse.shape, dtype=np.float32)
    for start in range(0, len(inverse), _ROWS):
        rows = slice(start, start + _ROWS)
        weights[rows] = -(inverse[rows] + inverse[:, rows].T) / inverse.diagonal()
    np.fill_diagonal(weights, 0.0)
    return weights
