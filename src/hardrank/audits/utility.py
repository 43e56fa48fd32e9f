"""Utility: where each held-out item ranks among all items its query has not seen."""

from collections.abc import Sequence

import polars as pl

from hardrank.audits.catalogue import full_ranks, query_names
from hardrank.audits.samples import samples
from hardrank.data import Holdout
from hardrank.recommender import Recommender

__all__ = ["utility"]


def utility(
    recommender: Recommender,
    holdout: Holdout,
    *,
    subject: str,
    seed: int,
    groups: Sequence[str] = (),
    names: Sequence[str] = (),
    trial: str = "clean",
) -> pl.DataFrame:
    """One sample a query: the `rank` of its held-out item, exact, ties against the model.

    groups: (I,) label of each item (`popularity_groups`); a sample has that of its held-out
    item. names: (U,) user ids by user row; a query of nobody's is named by its number.
    """
    return samples(
        {
            "subject": subject,
            "seed": seed,
            "audit": "utility",
            "trial": trial,
            "sample": query_names(holdout, names),
            "group": [groups[t] for t in holdout.targets] if len(groups) else None,
            "rank": full_ranks(recommender, holdout),
        }
    )
