"""Arms of `gan augment` that draw hard negatives, and how often those are false."""

from dataclasses import replace

import numpy as np
import polars as pl

from hardrank.audits.catalogue import query_names, whole
from hardrank.audits.samples import samples
from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout
from hardrank.experiment.augment_spec import AugmentExperiment
from hardrank.models import BprMf, LightGcn, Model
from hardrank.models.bpr.negatives import (
    GeneratedNegatives,
    HardNegatives,
    Negatives,
    PopularNegatives,
)
from hardrank.models.bpr.triples import Triples
from hardrank.recommender import Recommender
from hardrank.types import Ints

__all__ = ["NEGATIVE_ARMS", "false_negatives", "with_negatives"]

NEGATIVE_ARMS = ("hard-negatives", "hard-negatives-at-random")
"""Pairwise models whose comparisons draw hard negatives; with as many drawn by popularity."""
_DRAWS = 200
"""Comparisons of each test user that are looked at."""
_ROWS = 64


def with_negatives(model: Model, arm: str, experiment: AugmentExperiment) -> Model | None:
    """The model as the arm trains it; None where it draws no negatives of its own."""
    if arm not in NEGATIVE_ARMS:
        return model
    about = experiment.negatives
    assert about is not None
    if not isinstance(model, BprMf | LightGcn):
        return None
    if arm == NEGATIVE_ARMS[1]:
        return replace(model, negatives=_by_popularity(about))
    if isinstance(about, GeneratedNegatives):
        about = replace(about, generator=experiment.generator)
    return replace(model, negatives=about)


def false_negatives(
    recommender: Recommender,
    negatives: Negatives,
    train: Dataset,
    test: Holdout,
    *,
    subject: str,
    seed: int,
    run: RunContext,
    names: tuple[str, ...] = (),
) -> pl.DataFrame:
    """One sample a test user with training events: as `value` the share of the negatives drawn
    for the user, with the trained model to choose among several, that are the held-out item.

    Training never reads this.
    """
    triples = Triples(train)
    known = np.isin(test.queries.users, triples.events[0])
    asked = test.take(np.flatnonzero(known))
    sampler = negatives.sampler(triples, run)
    rng = np.random.default_rng(derive(seed, "false negatives"))
    owners = np.repeat(asked.queries.users, _DRAWS)
    drawn = sampler(owners, rng).reshape(len(asked), _DRAWS, -1)
    shares = (_chosen(recommender, asked, drawn) == asked.targets[:, None]).mean(axis=1)
    return samples(
        {
            "subject": subject,
            "seed": seed,
            "audit": "false-negatives",
            "trial": "clean",
            "sample": query_names(asked, names),
            "value": shares,
        }
    )


def _by_popularity(about: HardNegatives | GeneratedNegatives) -> PopularNegatives:
    """For as many comparisons as the generator's; as its crude fakes, by the count of events."""
    if isinstance(about, GeneratedNegatives):
        return PopularNegatives(share=about.share, exponent=1.0)
    return PopularNegatives(exponent=1.0)


def _chosen(recommender: Recommender, asked: Holdout, drawn: Ints) -> Ints:
    """(Q, R) of each comparison's candidates, (Q, R, M), the one that scores highest."""
    if drawn.shape[2] == 1:
        return drawn[:, :, 0]
    out, slate = np.empty(drawn.shape[:2], dtype=np.int64), whole(recommender)
    for start in range(0, len(asked), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(asked)))
        scores = recommender.score(asked.queries.take(rows), slate)
        here = drawn[rows]
        found = scores[np.arange(len(rows))[:, None, None], here].argmax(axis=2)
        out[rows] = np.take_along_axis(here, found[:, :, None], axis=2)[:, :, 0]
    return out
