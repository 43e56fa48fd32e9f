"""Matrix factorisation of ratings with biases."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import DataError, Unsupported
from hardrank.models.common import dot_scores, entry, refuse_objective, same_items, top_of
from hardrank.models.least_squares import Groups, ridge_rows
from hardrank.models.neighbours import history_matrix
from hardrank.recommender import Recommender
from hardrank.types import Count, Floats, Ints, Positive, Ranks, Scores, spec

__all__ = ["RatingMf", "RatingMfRecommender"]

Numbers = NDArray[np.float64]


@spec
class RatingMf:
    """score(u, i) = mu + b_u + b_i + p_u . q_i, the rating that u would give to i.

        sum over events of weight (rating - score(u, i))^2
            + regularisation (sum |p_u|^2 + sum |q_i|^2 + sum b_u^2 + sum b_i^2)

    Koren, Bell and Volinsky, Computer 42(8), 2009, equations 4 and 5, by alternating least
    squares; mu is the weighted mean rating. Ours counts each norm once, not once an event, so
    that few ratings say little: the bias of an item with n ratings is the mean of what they
    leave unexplained, times n / (n + regularisation). Needs the rating of every event. Scores
    are not clipped to the scale, which would tie the best. Order within a history and text are
    not read.
    """

    kind: Literal["rating-mf"] = "rating-mf"
    factors: Count = 16
    """Factors per user and item, without the biases."""
    regularisation: Positive = 12.0
    """Weight of the squared L2 norms, in ratings."""
    sweeps: Count = 15
    """Half-steps for all users and then all items; from a `start`, 1 to 5 are enough."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "RatingMfRecommender":
        """Begins from random item factors, or from the items of `start`; its users, of whom
        there may be more or fewer, follow from them. Nothing is stopped early: `valid` has no
        effect. Raises `DataError` unless every event has a rating, `Unsupported` when given an
        objective or a `start` of another shape."""
        refuse_objective(self.kind, objective)
        ratings, weights = _rated(train)
        items = self._first(train, run) if start is None else self._begun(start, train)
        mean = float(np.average(ratings, weights=weights))
        fitting = _Fitting(train, ratings - mean, weights, self.regularisation)
        for _ in run.track(range(self.sweeps), "rating-mf: sweeps"):
            users = fitting.users(items)
            items = fitting.items(users)
        return RatingMfRecommender(
            items=train.items,
            users=fitting.users(items).astype(np.float32),
            vectors=items.astype(np.float32),
            known=np.diff(train.offsets) > 0,
            level=np.array([mean, np.sqrt(np.average((ratings - mean) ** 2, weights=weights))]),
            spec=self,
        )

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "RatingMfRecommender":
        users, vectors = (
            entry(arrays, name, self.kind).astype(np.float32) for name in ("users", "vectors")
        )
        known = entry(arrays, "known", self.kind).astype(np.bool_)
        level = entry(arrays, "level", self.kind).astype(np.float64)
        return RatingMfRecommender(
            items=items, users=users, vectors=vectors, known=known, level=level, spec=self
        )

    def _first(self, train: Dataset, run: RunContext) -> Numbers:
        rng = np.random.default_rng(derive(run.seed, self.kind, "start"))
        vectors = rng.normal(0, 0.1, (train.n_items, self.factors))
        return np.column_stack([vectors, np.zeros(train.n_items)])

    def _begun(self, start: Recommender, train: Dataset) -> Numbers:
        shape = (train.n_items, self.factors + 1)
        if not isinstance(start, RatingMfRecommender) or start.vectors.shape != shape:
            raise Unsupported(f"{self.kind} can begin only from a {self.kind} of equal shape")
        return start.vectors.astype(np.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class RatingMfRecommender:
    """See `RatingMf`.

    A query of a user with training events is answered from the user's own factors and bias,
    whatever its history says. Any other query is folded in: nobody knows how its items were
    rated, so each is taken for liked, one standard deviation of all ratings above what others
    give it, and the user's bias for 0. Without a history: the mean and the items' biases.
    """

    items: pl.DataFrame
    users: Floats
    """(U, D + 1) factors, and last the bias."""
    vectors: Floats
    """(I, D + 1) factors, and last the bias."""
    known: NDArray[np.bool_]
    """(U,) True for users with training events."""
    level: Numbers
    """(2,) mean and standard deviation of the training ratings."""
    spec: RatingMf

    def score(self, queries: Queries, slate: Slate) -> Scores:
        people, things = self.profiles(queries), self.vectors[slate.items]
        left = np.column_stack([people[:, :-1], np.ones(len(people), np.float32)])
        ratings = dot_scores(left, things)
        return ratings + (people[:, -1:] + np.float32(self.level[0]))

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "users": self.users,
            "vectors": self.vectors,
            "known": self.known,
            "level": self.level,
        }

    def profiles(self, queries: Queries) -> Floats:
        """(Q, D + 1) what each query is answered from: factors, and last the bias."""
        own = (queries.users >= 0) & (queries.users < len(self.known))
        own[own] = self.known[queries.users[own]]
        out = np.zeros((len(queries), self.vectors.shape[1]), dtype=np.float32)
        out[own] = self.users[queries.users[own]]
        strangers = np.flatnonzero(~own)
        out[strangers, :-1] = self._folded(queries.take(strangers))
        return out

    def _folded(self, queries: Queries) -> Floats:
        """(Q, D)"""
        histories = history_matrix(queries, len(self.vectors), 1.0)
        liked = np.ones(histories.nnz)
        made = ridge_rows(
            Groups(histories.indptr.astype(np.int64), np.arange(histories.nnz)),
            histories.indices.astype(np.int64),
            weights=liked,
            pulls=self.level[1] * liked,
            vectors=self.vectors[:, :-1].astype(np.float64),
            base=self.spec.regularisation * np.eye(self.vectors.shape[1] - 1),
        )
        return made.astype(np.float32)


class _Fitting:
    """The two half-steps. A side's rows are (factors, bias); the other side reads a 1 there."""

    def __init__(
        self, train: Dataset, residuals: Numbers, weights: Numbers, regularisation: float
    ) -> None:
        """residuals, weights: (E,), the ratings less their mean."""
        self.rows = train.events["user"].to_numpy().astype(np.int64), train.event_items
        self.groups = tuple(
            Groups.of(rows, n)
            for rows, n in zip(self.rows, (train.n_users, train.n_items), strict=True)
        )
        self.residuals, self.weights, self.regularisation = residuals, weights, regularisation

    def users(self, items: Numbers) -> Numbers:
        """(U, D + 1) from (I, D + 1)."""
        return self._solved(0, items)

    def items(self, users: Numbers) -> Numbers:
        """(I, D + 1) from (U, D + 1)."""
        return self._solved(1, users)

    def _solved(self, side: int, other: Numbers) -> Numbers:
        columns: Ints = self.rows[1 - side]
        features = np.column_stack([other[:, :-1], np.ones(len(other))])
        return ridge_rows(
            self.groups[side],
            columns,
            weights=self.weights,
            pulls=self.weights * (self.residuals - other[columns, -1]),
            vectors=features,
            base=self.regularisation * np.eye(other.shape[1]),
        )


def _rated(train: Dataset) -> tuple[Numbers, Numbers]:
    """(E,) ratings and weights of all events. Raises `DataError` when a rating is missing."""
    ratings = train.events["rating"].to_numpy().astype(np.float64)
    missing = int((~np.isfinite(ratings)).sum())
    if missing or not len(ratings):
        what = f"{missing} of {len(ratings)} events have no rating"
        raise DataError(
            f"{train.name}: {what if len(ratings) else 'there are no events'}",
            field="rating",
            remedy="'rating-mf' learns from ratings alone: drop the events without one, or fit a "
            "model of what was seen, such as 'wmf' or 'ease'",
        )
    return ratings, train.events["weight"].to_numpy().astype(np.float64)
