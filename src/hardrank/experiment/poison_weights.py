"""How trust in users comes into the loss of a victim, and which victims have no place for it."""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Dataset
from hardrank.hardening.reweighting import Reweighted
from hardrank.models import Model
from hardrank.models.sequence.spec import SequenceSpec

__all__ = ["WEIGHED", "noted", "rows_by_trust", "unweighed"]

WEIGHED = ("ease", "rating-mf", "wmf")
"""Kinds that read the weights of events."""
_COLUMN = "trust"


def unweighed(model: Model, objective: object) -> str | None:
    """Why trust in users would not come into what this victim minimises; None when it does."""
    if isinstance(model, SequenceSpec):
        if objective is None:
            return None
        return (
            "down-weight trains sequence models with the objective reweighted, which leaves no "
            "place for another one"
        )
    if model.kind in WEIGHED:
        return None
    return (
        f"{model.kind} counts every event alike, so that down-weight would change nothing; say "
        f"action = 'drop', or name in `of` victims that weigh: {', '.join(WEIGHED)} and "
        "sequence models"
    )


def noted(log: Dataset, trust: NDArray[np.float64]) -> Dataset:
    """The log with the trust in each user beside his id, for `rows_by_trust`."""
    users = log.users.with_columns(pl.Series(_COLUMN, trust, dtype=pl.Float64))
    return replace(log, users=users)


def rows_by_trust(model: Model, log: Dataset) -> Reweighted | None:
    """For a sequence model, which reads no weights of events, on a `noted` log: each user's
    rows count as much as he is trusted. Who joined later weighs 1. None for all others."""
    if not isinstance(model, SequenceSpec) or _COLUMN not in log.users.columns:
        return None
    trusted = log.users.select("user_id", pl.col(_COLUMN).fill_null(1.0))
    return Reweighted(users=dict(trusted.iter_rows()))
