"""Matrix factorisation from pairwise comparisons."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout
from hardrank.errors import DataError, Unsupported
from hardrank.files import digest_bytes
from hardrank.models.bpr.network import BprNetwork
from hardrank.models.bpr.recommender import BprMfRecommender
from hardrank.models.bpr.triples import BprBatch, Triples
from hardrank.models.common import entry, holdout_ndcg
from hardrank.recommender import Recommender
from hardrank.training import Objective, Training, check_objective
from hardrank.training import train as run_training
from hardrank.training.stops import AnyOf
from hardrank.types import Count, NonNegative, Positive, spec

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
    """Of Adam."""
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
        objective: Objective | None = None,
        start: Recommender | None = None,
    ) -> BprMfRecommender:
        """The epoch with the best NDCG@10 on `valid`, or the last one without `valid`.

        Objectives find the sites `item-vectors` (I, D) and `user-vectors` (U, D). Raises
        `Unsupported` for a `start` of another shape or an objective that asks for more, and
        `DataError` when every user has every item.
        """
        model = self._first(train, run) if start is None else self._begun(start, train)
        triples = Triples(train)
        if not len(triples):
            raise DataError(
                f"{train.name}: no user lacks an item", remedy="check the training split"
            )
        weights = (torch.from_numpy(a) for a in (model.users, model.factors, model.biases))
        network = BprNetwork(*weights, penalty=self.penalty)
        _check(objective, network)
        fingerprint = self._fingerprint(train, run, valid, objective, start)

        def batches(order: np.random.Generator) -> Iterator[BprBatch]:
            return triples.batches(self.batch_size, order)

        def validate() -> Mapping[str, float]:
            assert valid is not None
            return {"ndcg@10": holdout_ndcg(_with_weights_of(network, model), valid)}

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
        return _with_weights_of(network, model)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> BprMfRecommender:
        users, factors, biases = (
            entry(arrays, name, self.kind).astype(np.float32)
            for name in ("users", "factors", "biases")
        )
        known = entry(arrays, "known", self.kind).astype(np.bool_)
        return BprMfRecommender(
            items=items, users=users, factors=factors, biases=biases, known=known
        )

    def _first(self, train: Dataset, run: RunContext) -> BprMfRecommender:
        rng = np.random.default_rng(derive(run.seed, self.kind, "start"))
        shapes = ((train.n_users, self.size), (train.n_items, self.size))
        users, factors = (rng.normal(0, 0.1, shape).astype(np.float32) for shape in shapes)
        biases = np.zeros(train.n_items, dtype=np.float32)
        known = np.diff(train.offsets) > 0
        return BprMfRecommender(
            items=train.items, users=users, factors=factors, biases=biases, known=known
        )

    def _begun(self, start: Recommender, train: Dataset) -> BprMfRecommender:
        shapes = ((train.n_users, self.size), (train.n_items, self.size))
        if not isinstance(start, BprMfRecommender) or shapes != (
            start.users.shape,
            start.factors.shape,
        ):
            raise Unsupported(f"{self.kind} can begin only from a {self.kind} of equal shape")
        return replace(start, items=train.items, known=np.diff(train.offsets) > 0)

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


def _check(objective: Objective | None, network: BprNetwork) -> None:
    if any(rule.kind != "quality-floor" for rule in getattr(objective, "stop", ())):
        raise Unsupported(
            "bpr-mf measures no error under attack to stop at; stop at a 'quality-floor', or "
            "harden a sequence model"
        )
    check_objective(objective, network)


def _with_weights_of(network: BprNetwork, model: BprMfRecommender) -> BprMfRecommender:
    users, factors, biases = (
        w.detach().numpy().copy() for w in (network.users, network.factors, network.biases)
    )
    return replace(model, users=users, factors=factors, biases=biases)
