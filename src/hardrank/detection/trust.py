"""From scores without labels to probabilities, and from those to trust in items."""

import numpy as np
from scipy.stats import norm

from hardrank.data import Dataset
from hardrank.detection.parts import Numbers, mean_of
from hardrank.errors import DataError
from hardrank.types import Floats

__all__ = ["calibrated", "item_trust"]

_BULK = 0.5
"""Share of users, from the median up, that the upper spread is read from: at most half of
what lies above the median may be fraud."""
_SURE = 3.0
"""Robust standard deviations above the median below which nobody is suspected."""


def calibrated(scores: Floats) -> Floats:
    """(U,) probability in [0, 1] that a user is a fraudster; NaN where `scores` is.

    A local reading of Efron's empirical null (JASA 2004): the bulk of users is honest and
    normal around the median, its spread above the median read from the quartile there, so
    that a skewed but honest score suspects nobody. At distance z the honest part explains
    N P(Z > z) of the users that far out; the rest is fraud: p = 1 - N P(Z > z) / found(z),
    never falling with the score and 0 within three standard deviations. A score with no upper
    tail, or equal for half of the users, suspects nobody.
    """
    values = np.asarray(scores, dtype=np.float64)
    out = np.full(values.shape, np.nan)
    known = ~np.isnan(values)
    if known.any():
        out[known] = _tail(values[known])
    return out.astype(np.float32)


def _tail(values: Numbers) -> Numbers:
    """(N,) of finite scores."""
    middle = np.median(values)
    above = np.quantile(values, 0.5 + _BULK / 2) - middle
    spread = max(above, middle - np.quantile(values, 0.5 - _BULK / 2)) / norm.ppf(0.75)
    if spread < 1e-9 * max(abs(middle), 1.0):
        return np.zeros(len(values))
    levels, at = np.unique(np.round((values - middle) / spread, 9), return_inverse=True)
    found = np.cumsum(np.bincount(at)[::-1])[::-1]
    fraud = np.maximum(1 - len(values) * norm.sf(levels) / found, 0.0) * (levels > _SURE)
    return np.maximum.accumulate(fraud)[at]


def item_trust(dataset: Dataset, fraud: Floats) -> dict[str, float]:
    """item_id -> mean trust 1 - p in the users of its events; 1 for an item without events.

    fraud: (U,) probabilities as from `calibrated` or a trained detector; a user who was not
    judged counts as honest. A bestseller hardly suffers from a few fakes, a target that
    little else speaks for falls. Raises `DataError` for other than (U,) probabilities.
    """
    p = np.asarray(fraud, dtype=np.float64)
    known = ~np.isnan(p)
    if p.shape != (dataset.n_users,) or not ((p[known] >= 0) & (p[known] <= 1)).all():
        raise DataError(f"expected {dataset.n_users} probabilities in [0, 1], one for each user")
    users = dataset.events["user"].to_numpy()
    suspicion = mean_of(np.nan_to_num(p)[users], dataset.event_items, dataset.n_items)
    weights = np.clip(1 - suspicion, 0.0, 1.0).tolist()
    return dict(zip(dataset.items["item_id"].to_list(), weights, strict=True))
