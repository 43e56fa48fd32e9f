"""Training by pairwise comparisons, for every model that is trained so."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
from torch import nn

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout
from hardrank.errors import DataError, Unsupported
from hardrank.files import digest_bytes
from hardrank.models.bpr.negatives import Negatives
from hardrank.models.bpr.triples import BprBatch, PairScores, Triples
from hardrank.models.common import holdout_ndcg
from hardrank.recommender import Recommender
from hardrank.training import Objective, Training, check_objective
from hardrank.training import train as run_training
from hardrank.training.objective import TrainableNetwork
from hardrank.training.stops import AnyOf

__all__ = ["PairSpec", "check_pairs", "pair_fingerprint", "train_pairs", "triples_of"]


class PairSpec(Protocol):
    """What the hyperparameters of such a model have in common."""

    @property
    def kind(self) -> str: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def patience(self) -> int: ...
    @property
    def negatives(self) -> Negatives: ...


def triples_of(train: Dataset) -> Triples:
    """Raises `DataError` when every user has every item."""
    triples = Triples(train)
    if not len(triples):
        raise DataError(f"{train.name}: no user lacks an item", remedy="check the training split")
    return triples


def train_pairs(
    spec: PairSpec,
    network: nn.Module,
    triples: Triples,
    *,
    scores: PairScores,
    ranking: Callable[[], Recommender],
    run: RunContext,
    fingerprint: str,
    valid: Holdout | None,
    objective: Objective | None,
) -> None:
    """In place, up to the epoch with the best NDCG@10 of `ranking()` on `valid`, or to the
    last one without `valid`. scores: of the network as it stands, to choose negatives by."""
    candidates = spec.negatives.sampler(triples, run)

    def batches(order: np.random.Generator) -> Iterator[BprBatch]:
        return triples.batches(spec.batch_size, order, candidates=candidates, scores=scores)

    def validate() -> Mapping[str, float]:
        assert valid is not None
        return {"ndcg@10": holdout_ndcg(ranking(), valid)}

    run_training(
        network,
        batches,
        steps=-(-len(triples) // spec.batch_size),
        options=_options(spec),
        objective=objective,
        validate=validate if valid is not None and len(valid) else None,
        stop=AnyOf(tuple(getattr(objective, "stop", ()))),
        run=run.at(fingerprint[:16]),
        fingerprint=fingerprint,
    )


def pair_fingerprint(
    spec: PairSpec,
    data: Dataset,
    run: RunContext,
    *,
    valid: Holdout | None,
    objective: Objective | None,
    start: Recommender | None,
) -> str:
    """Of all that decides the weights: an equal training finds its own checkpoint."""
    begun = [v.tobytes() for _, v in sorted(start.arrays().items())] if start else []
    looked_at = valid.fingerprint if valid is not None else ""
    about = repr((spec, run.seed, objective))
    return digest_bytes(about.encode(), data.fingerprint.encode(), looked_at.encode(), *begun)


def check_pairs(spec: PairSpec, objective: Objective | None, network: TrainableNetwork) -> None:
    """Raises `Unsupported` for an objective or a stop rule that asks for more."""
    if any(rule.kind != "quality-floor" for rule in getattr(objective, "stop", ())):
        raise Unsupported(
            f"{spec.kind} measures no error under attack to stop at; stop at a 'quality-floor', "
            "or harden a sequence model"
        )
    check_objective(objective, network)


def _options(spec: PairSpec) -> Training:
    return Training(
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        learning_rate=spec.learning_rate,
        patience=spec.patience,
        clip=None,
    )
