"""Matrix factorisation from pairwise comparisons."""

from collections.abc import Mapping
from dataclasses import replace
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
from hardrank.models.bpr.network import BprNetwork
from hardrank.models.bpr.recommender import BprMfRecommender
from hardrank.models.common import entry
from hardrank.recommender import Recommender
from hardrank.training import Objective
from hardrank.types import Count, NonNegative, Positive, spec

__all__ = ["BprMf", "BprMfRecommender"]


@spec
class BprMf:
    """score(u, i) = p_u . q_i + b_i, with -ln sigmoid(score(u, i) - score(u, j)) minimised.

    Rendle et al., UAI 2009, arXiv:1205.2618, sections 4 and 5 (i an item of u, j uniform
    among the others, unless `negatives` says more). Ours takes Adam over mini-batches instead
    of single-sample steps. Order within a history and text are not read.
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
    ) -> BprMfRecommender:
        """The epoch with the best NDCG@10 on `valid`, or the last one without `valid`.

        Objectives find the sites `item-vectors` (I, D) and `user-vectors` (U, D). Raises
        `Unsupported` for a `start` of another shape or an objective that asks for more, and
        `DataError` when every user has every item.
        """
        model = self._first(train, run) if start is None else self._begun(start, train)
        triples = triples_of(train)
        weights = (torch.from_numpy(a) for a in (model.users, model.factors, model.biases))
        network = BprNetwork(*weights, penalty=self.penalty)
        check_pairs(self, objective, network)
        train_pairs(
            self, network, triples, scores=network.pair_scores, run=run, valid=valid,
            objective=objective,
            ranking=lambda: _with_weights_of(network, model),
            fingerprint=pair_fingerprint(
                self, train, run, valid=valid, objective=objective, start=start
            ),
        )  # fmt: skip
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


def _with_weights_of(network: BprNetwork, model: BprMfRecommender) -> BprMfRecommender:
    users, factors, biases = (
        w.detach().numpy().copy() for w in (network.users, network.factors, network.biases)
    )
    return replace(model, users=users, factors=factors, biases=biases)
