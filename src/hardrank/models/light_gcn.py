"""Pairwise comparisons over vectors that are spread along the user-item graph."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout
from hardrank.errors import DataError, Unsupported
from hardrank.files import digest_bytes
from hardrank.models.bpr.triples import BprBatch, Triples
from hardrank.models.common import entry, holdout_ndcg
from hardrank.models.graph.edges import normalised
from hardrank.models.graph.network import GraphNetwork
from hardrank.models.graph.recommender import LightGcnRecommender
from hardrank.recommender import Recommender
from hardrank.training import Objective, Training, check_objective
from hardrank.training import train as run_training
from hardrank.training.stops import AnyOf
from hardrank.types import Count, Natural, NonNegative, Positive, spec

__all__ = ["LightGcn", "LightGcnRecommender"]


@spec
class LightGcn:
    """score(u, i) = e_u . e_i, with -ln sigmoid(score(u, i) - score(u, j)) minimised, where

        (e_u, e_i) = mean over k = 0 .. layers of S^k (x_u, x_i), S = D^-1/2 A D^-1/2

    of the graph A of training events and learned x. He et al., SIGIR 2020, arXiv:2002.02126,
    equations 3 to 8 and 15, i an item of u, j uniform among the others. The `weight` of an
    event weighs its edge; as a comparison each event counts alike. Order within a history and
    text are not read.
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
        triples = Triples(train)
        if not len(triples):
            raise DataError(
                f"{train.name}: no user lacks an item", remedy="check the training split"
            )
        users, items = self._first(train, run) if start is None else self._begun(start, train)
        network = GraphNetwork(
            torch.from_numpy(users), torch.from_numpy(items), normalised(train),
            layers=self.layers, penalty=self.penalty,
        )  # fmt: skip
        _check(objective, network)
        fingerprint = self._fingerprint(train, run, valid, objective, start)

        def batches(order: np.random.Generator) -> Iterator[BprBatch]:
            return triples.batches(self.batch_size, order)

        def validate() -> Mapping[str, float]:
            assert valid is not None
            return {"ndcg@10": holdout_ndcg(_ranking(network, train), valid)}

        run_training(
            network,
            batches,
            steps=-(-len(triples) // self.batch_size),
            options=self._options(),
            objective=objective,
            validate=validate if valid is not None and len(valid) else None,
            stop=AnyOf(tuple(getattr(objective, "stop", ()))),
            run=run.at(fingerprint[:16]),
            fingerprint=fingerprint,
        )
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

    def _options(self) -> Training:
        return Training(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            patience=self.patience,
            clip=None,
        )

    def _fingerprint(
        self,
        data: Dataset,
        run: RunContext,
        valid: Holdout | None,
        objective: Objective | None,
        start: Recommender | None,
    ) -> str:
        """Of all that decides the weights: an equal training finds its own checkpoint."""
        begun = [v.tobytes() for _, v in sorted(start.arrays().items())] if start else []
        looked_at = valid.fingerprint if valid is not None else ""
        about = repr((self, run.seed, objective))
        return digest_bytes(about.encode(), data.fingerprint.encode(), looked_at.encode(), *begun)


def _check(objective: Objective | None, network: GraphNetwork) -> None:
    if any(rule.kind != "quality-floor" for rule in getattr(objective, "stop", ())):
        raise Unsupported(
            "light-gcn measures no error under attack to stop at; stop at a 'quality-floor', or "
            "harden a sequence model"
        )
    check_objective(objective, network)


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
