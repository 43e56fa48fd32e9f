"""Matrix factorisation of implicit events with confidences."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import Unsupported
from hardrank.models.common import dot_scores, entry, refuse_objective, same_items, top_of
from hardrank.models.least_squares import Groups, ridge_rows
from hardrank.models.neighbours import history_matrix
from hardrank.recommender import Recommender
from hardrank.types import Count, Floats, Ints, NonNegative, Positive, Ranks, Scores, spec

__all__ = ["Wmf", "WmfRecommender"]

Numbers = NDArray[np.float64]


@spec
class Wmf:
    """score(u, i) = p_u . q_i, fitted to 1 for events and, with less confidence, to 0 elsewhere.

        sum over u, i of c_ui (1[event] - p_u . q_i)^2
            + regularisation (sum |p_u|^2 + sum |q_i|^2), c_ui = 1 + confidence r_ui

    Hu, Koren and Volinsky, ICDM 2008, equations 3 to 5, by alternating least squares with
    their p'p + p'(C - I)p. r is the summed weight of a pair's events. Ours, for r below 1: an
    event of weight r is an event with share r and none with share 1 - r, so that its pull
    fades out with its weight. Order within a history and text are not read.
    """

    kind: Literal["wmf"] = "wmf"
    factors: Count = 64
    """Factors per user and item."""
    regularisation: Positive = 10.0
    """Weight of the squared L2 norms of all factors."""
    confidence: NonNegative = 2.0
    """Of an event of weight 1 beyond that of no event, which is 1 (alpha in the paper)."""
    sweeps: Count = 10
    """Half-steps for all users and then all items; from a `start`, 1 to 3 are enough."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "WmfRecommender":
        """Begins from random item factors, or from those of `start`; its users, of whom there
        may be more or fewer, follow from them. Nothing is stopped early: `valid` has no effect.
        Raises `Unsupported` when given an objective or a `start` of another shape."""
        refuse_objective(self.kind, objective)
        vectors = self._first(train, run) if start is None else self._begun(start, train)
        users, items, seen = _pairs(train)
        by_user, by_item = Groups.of(users, train.n_users), Groups.of(items, train.n_items)
        for _ in run.track(range(self.sweeps), "wmf: sweeps"):
            people = self.half_step(by_user, items, seen, vectors)
            vectors = self.half_step(by_item, users, seen, people)
        return WmfRecommender(items=train.items, vectors=vectors.astype(np.float32), spec=self)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "WmfRecommender":
        vectors = entry(arrays, "vectors", self.kind).astype(np.float32)
        return WmfRecommender(items=items, vectors=vectors, spec=self)

    def half_step(self, groups: Groups, columns: Ints, seen: Numbers, vectors: Numbers) -> Numbers:
        """(N, D) what minimises the loss while `vectors`, of the other side, stand.

        columns, seen: (E,) the other side's row and r of each pair; vectors: (M, D).
        """
        everywhere = vectors.T @ vectors + self.regularisation * np.eye(vectors.shape[1])
        beyond = self.confidence * seen
        return ridge_rows(
            groups,
            columns,
            weights=beyond,
            pulls=beyond + np.minimum(seen, 1.0),
            vectors=vectors,
            base=everywhere,
        )

    def _first(self, train: Dataset, run: RunContext) -> Numbers:
        rng = np.random.default_rng(derive(run.seed, self.kind, "start"))
        return rng.normal(0, 0.1, (train.n_items, self.factors))

    def _begun(self, start: Recommender, train: Dataset) -> Numbers:
        shape = (train.n_items, self.factors)
        if not isinstance(start, WmfRecommender) or start.vectors.shape != shape:
            raise Unsupported(f"{self.kind} can begin only from a {self.kind} of equal shape")
        return start.vectors.astype(np.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class WmfRecommender:
    """See `Wmf`. Every query is folded in: the factors of a user with that history, each event
    of weight 1, in closed form; whose query it is does not matter."""

    items: pl.DataFrame
    vectors: Floats
    """(I, D)"""
    spec: Wmf

    def score(self, queries: Queries, slate: Slate) -> Scores:
        return dot_scores(self.profiles(queries), self.vectors[slate.items])

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"vectors": self.vectors}

    def profiles(self, queries: Queries) -> Floats:
        """(Q, D) what each query is answered from; 0 without a history."""
        histories = history_matrix(queries, len(self.vectors), 1.0)
        groups = Groups(histories.indptr.astype(np.int64), np.arange(histories.nnz))
        columns, seen = histories.indices.astype(np.int64), histories.data
        return self.spec.half_step(groups, columns, seen, self._wide).astype(np.float32)

    @cached_property
    def _wide(self) -> Numbers:
        return self.vectors.astype(np.float64)


def _pairs(train: Dataset) -> tuple[Ints, Ints, Numbers]:
    """(E,) user rows, item rows and summed weights of the distinct pairs."""
    users = train.events["user"].to_numpy().astype(np.int64)
    keys, pair = np.unique(users * train.n_items + train.event_items, return_inverse=True)
    weights = train.events["weight"].to_numpy().astype(np.float64)
    seen: Numbers = np.bincount(pair, weights=weights, minlength=len(keys)).astype(np.float64)
    return keys // train.n_items, keys % train.n_items, seen
