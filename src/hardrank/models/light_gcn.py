"""Pairwise comparisons over vectors that are spread along the user-item graph."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout
from hardrank.errors import Unsupported
from hardrank.models.bpr.fitting import check_pairs, pair_fingerprint, train_pairs, triples_of
from hardrank.models.bpr.negatives import Negatives, UniformNegatives
from hardrank.models.common import entry
from hardrank.models.graph.edges import normalised
from hardrank.models.graph.network import GraphNetwork
from hardrank.models.graph.recommender import LightGcnRecommender
from hardrank.recommender import Recommender
from hardrank.training import Objective
from hardrank.types import Count, Natural, NonNegative, Positive, spec

__all__ = ["LightGcn", "LightGcnRecommender"]


@spec
class LightGcn:
    """score(u, i) = e_u . e_i, with -ln sigmoid(score(u, i) - score(u, j)) minimised, where

        (e_u, e_i) = mean over k = 0 .. layers of S^k (x_u, x_i), S = D^-1/2 A D^-1/2

    of the graph A of training events and learned x. He et al., SIGIR 2020, arXiv:2002.02126,
    equations 3 to 8 and 15, i an item of u, j uniform among the others,
    unless `negatives` says more. The `weight` of an event weighs its edge; as a comparison each
    event counts alike. Order within a history and text are not read.
    """

    kind: Literal["light-gcn"] = "light-gcn"
    size: Count = 64
    """Numbers per user and item."""
    layers: Natural = 2
    """Steps along the graph; 0 is matrix factorisation."""
    epochs: Count = 100
    """Most passes over the training events."""
    batch_size: Count = 8192
    """Events per step; every step spreads the whole graph, so few large ones are cheaper."""
    learning_rate: Positive = 2e-2
    """Of Adam."""
    penalty: NonNegative = 1e-4
    """Weight of half the squared L2 norm of the learned vectors in a batch, per event."""
    patience: Count = 10
    """Epochs without a better validation NDCG@10 before training stops."""
    negatives: Negatives = UniformNegatives()
    """Whence the item j of each comparison."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Objective | None = None,
        start: Recommender | None = None,
    ) -> LightGcnRecommender:
        """The epoch with the best NDCG@10 on `valid`, or the last one without `valid`.

        Objectives find the sites `item-vectors` (I, D) and `user-vectors` (U, D). Raises
        `Unsupported` for a `start` of another shape or an objective that asks for more, and
        `DataError` when every user has every item.
        """
        triples = triples_of(train)
        users, items = self._first(train, run) if start is None else self._begun(start, train)
        network = GraphNetwork(
            torch.from_numpy(users), torch.from_numpy(items), normalised(train),
            layers=self.layers, penalty=self.penalty,
        )  # fmt: skip
        check_pairs(self, objective, network)
        train_pairs(
            self, network, triples, scores=network.pair_scores, run=run, valid=valid,
            objective=objective,
            ranking=lambda: _ranking(network, train),
            fingerprint=pair_fingerprint(
                self, train, run, valid=valid, objective=objective, start=start
            ),
        )  # fmt: skip
        return _ranking(network, train)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> LightGcnRecommender:
        names = ("users", "factors", "first_users", "first_items")
        tables = {n: entry(arrays, n, self.kind).astype(np.float32) for n in names}
        return LightGcnRecommender(
            items=items,
            biases=np.zeros(items.height, dtype=np.float32),
            known=entry(arrays, "known", self.kind).astype(np.bool_),
            **tables,
        )

    def _first(self, train: Dataset, run: RunContext) -> tuple[NDArray[Any], ...]:
        """Drawn apart, so that further users leave all others where they began."""
        return tuple(
            np.random.default_rng(derive(run.seed, self.kind, "start", name))
            .normal(0, 0.1, (rows, self.size))
            .astype(np.float32)
            for name, rows in (("users", train.n_users), ("items", train.n_items))
        )

    def _begun(self, start: Recommender, train: Dataset) -> tuple[NDArray[Any], ...]:
        shapes = ((train.n_users, self.size), (train.n_items, self.size))
        if not isinstance(start, LightGcnRecommender) or shapes != (
            start.first_users.shape,
            start.first_items.shape,
        ):
            raise Unsupported(f"{self.kind} can begin only from a {self.kind} of equal shape")
        return start.first_users, start.first_items


def _ranking(network: GraphNetwork, train: Dataset) -> LightGcnRecommender:
    with torch.no_grad():
        users, items = (table.numpy().copy() for table in network.tables())
    return LightGcnRecommender(
        items=train.items,
        users=users,
        factors=items,
        biases=np.zeros(train.n_items, dtype=np.float32),
        known=np.diff(train.offsets) > 0,
        first_users=network.users.detach().numpy().copy(),
        first_items=network.items.detach().numpy().copy(),
    )
