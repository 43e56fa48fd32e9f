"""Matrix factorisation from pairwise comparisons."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import Unsupported
from hardrank.models.common import (
    dot_scores,
    entry,
    holdout_ndcg,
    refuse_objective,
    same_items,
    top_of,
)
from hardrank.models.neighbours import history_matrix
from hardrank.recommender import Recommender
from hardrank.types import Count, Floats, Ints, NonNegative, Positive, Ranks, Scores, spec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BprMf", "BprMfRecommender"]


@spec
class BprMf:
    """score(u, i) = p_u . q_i + b_i, with -ln sigmoid(score(u, i) - score(u, j)) minimised.

    Rendle et al., UAI 2009, arXiv:1205.2618, sections 4 and 5 (i an item of u, j uniform
    among the others). Ours takes Adam over mini-batches instead of single-sample steps.
    Order within a history and text are not read.
    """

    kind: Literal["bpr-mf"] = "bpr-mf"
    size: Count = 64
    """Factors per user and item."""
    epochs: Count = 100
    """Most passes over the training events."""
    batch_size: Count = 2048
    """Events per step."""
    learning_rate: Positive = 1e-3
    penalty: NonNegative = 1e-2
    """Weight of half the squared L2 norm of the factors and biases in a batch, per event."""
    patience: Count = 10
    """Epochs without a better validation NDCG@10 before training stops."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Recommender | None = None,
    ) -> "BprMfRecommender":
        """The epoch with the best NDCG@10 on `valid`, or the last one without `valid`.

        Raises `Unsupported` when given an objective, or a `start` of another shape.
        """
        refuse_objective(self.kind, objective)
        import torch

        model = self._first(train, run) if start is None else self._begun(start, train)
        weights = [torch.from_numpy(a.copy()).requires_grad_() for a in model.learned]
        optimiser = torch.optim.Adam(weights, lr=self.learning_rate)
        kept, best, waited = model, -1.0, 0
        for epoch in run.track(range(self.epochs), self.kind):
            rng = np.random.default_rng(derive(run.seed, self.kind, epoch))
            for users, liked, other in _triples(train, self.batch_size, rng):
                loss = self._loss(weights, *(torch.from_numpy(a) for a in (users, liked, other)))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            p, q, b = (w.detach().numpy().copy() for w in weights)
            model = replace(model, users=p, factors=q, biases=b)
            value = float(epoch) if valid is None else holdout_ndcg(model, valid)
            kept, best, waited = (model, value, 0) if value > best else (kept, best, waited + 1)
            if waited >= self.patience:
                break
        return kept

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "BprMfRecommender":
        users, factors, biases = (
            entry(arrays, name, self.kind).astype(np.float32)
            for name in ("users", "factors", "biases")
        )
        known = entry(arrays, "known", self.kind).astype(np.bool_)
        return BprMfRecommender(
            items=items, users=users, factors=factors, biases=biases, known=known
        )

    def _first(self, train: Dataset, run: RunContext) -> "BprMfRecommender":
        rng = np.random.default_rng(derive(run.seed, self.kind, "start"))
        shapes = ((train.n_users, self.size), (train.n_items, self.size))
        users, factors = (rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes)
        biases = np.zeros(train.n_items, dtype=np.float32)
        known = np.diff(train.offsets) > 0
        return BprMfRecommender(
            items=train.items, users=users, factors=factors, biases=biases, known=known
        )

    def _begun(self, start: Recommender, train: Dataset) -> "BprMfRecommender":
        shapes = ((train.n_users, self.size), (train.n_items, self.size))
        if not isinstance(start, BprMfRecommender) or shapes != (
            start.users.shape,
            start.factors.shape,
        ):
            raise Unsupported(f"{self.kind} can begin only from a {self.kind} of equal shape")
        return replace(start, items=train.items, known=np.diff(train.offsets) > 0)

    def _loss(
        self, weights: "list[Tensor]", users: "Tensor", liked: "Tensor", other: "Tensor"
    ) -> "Tensor":
        import torch.nn.functional as F

        p, q, b = weights
        u, i, j, bi, bj = p[users], q[liked], q[other], b[liked], b[other]
        margin = (u * (i - j)).sum(1) + bi - bj
        norms = (u.square() + i.square() + j.square()).sum(1) + bi.square() + bj.square()
        return (0.5 * self.penalty * norms - F.logsigmoid(margin)).mean()


@dataclass(frozen=True, eq=False, kw_only=True)
class BprMfRecommender:
    """See `BprMf`.

    A query of a user with training events is answered from the user's own factors, whatever
    its history says. Any other query is answered from the mean item factors of its history
    (a folded-in user); with no history either, from the item biases alone.
    """

    items: pl.DataFrame
    users: Floats
    """(U, D)"""
    factors: Floats
    """(I, D)"""
    biases: Floats
    """(I,)"""
    known: NDArray[np.bool_]
    """(U,) True for users with training events."""

    @property
    def learned(self) -> tuple[Floats, Floats, Floats]:
        return self.users, self.factors, self.biases

    def score(self, queries: Queries, slate: Slate) -> Scores:
        left = np.column_stack([self._profiles(queries), np.ones(len(queries), np.float32)])
        right = np.column_stack([self.factors, self.biases])[slate.items]
        return dot_scores(left, right)

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> Self:
        return replace(self, items=same_items(self.items, items))

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "users": self.users,
            "factors": self.factors,
            "biases": self.biases,
            "known": self.known,
        }

    def _profiles(self, queries: Queries) -> Floats:
        """(Q, D)"""
        sums = history_matrix(queries, len(self.factors), 1.0).astype(np.float32) @ self.factors
        out: Floats = sums / np.maximum(queries.lengths, 1)[:, None].astype(np.float32)
        own = (queries.users >= 0) & (queries.users < len(self.known))
        own[own] = self.known[queries.users[own]]
        out[own] = self.users[queries.users[own]]
        return out


def _triples(
    train: Dataset, batch_size: int, rng: np.random.Generator
) -> "list[tuple[Ints, Ints, Ints]]":
    """One epoch of (user, liked item, other item) in random order, cut into batches.

    A user who has (nearly) everything teaches nothing; after 100 vain draws the event is
    left out.
    """
    users, liked = train.events["user"].to_numpy().astype(np.int64), train.event_items
    order = rng.permutation(len(users))
    users, liked = users[order], liked[order]
    taken = np.unique(
        train.events["user"].to_numpy().astype(np.int64) * train.n_items + train.event_items
    )
    other = rng.integers(train.n_items, size=len(users))
    wrong = np.flatnonzero(_member(users * train.n_items + other, taken))
    for _ in range(100):
        if not len(wrong):
            break
        other[wrong] = rng.integers(train.n_items, size=len(wrong))
        wrong = wrong[_member(users[wrong] * train.n_items + other[wrong], taken)]
    good = np.ones(len(users), dtype=bool)
    good[wrong] = False
    users, liked, other = users[good], liked[good], other[good]
    cuts = range(0, len(users), batch_size)
    return [
        (users[c : c + batch_size], liked[c : c + batch_size], other[c : c + batch_size])
        for c in cuts
    ]


def _member(keys: Ints, taken: Ints) -> NDArray[np.bool_]:
    at = np.minimum(np.searchsorted(taken, keys), len(taken) - 1)
    return np.asarray(taken[at] == keys)
