"""Users who do not behave like people: bursts, and isolation-forest outliers."""

import numpy as np
from numpy.typing import NDArray

from hardrank.data.dataset import Dataset

__all__ = ["burst_users", "outlier_users", "user_features"]

Mask = NDArray[np.bool_]


def burst_users(data: Dataset, events: int, seconds: int) -> Mask:
    """(U,): True for a user with more than `events` events within `seconds` seconds
    (both ends counted). Events without a time count nowhere."""
    timed = data.events.drop_nulls("time").sort("user", "time")
    users, times = timed["user"].to_numpy(), timed["time"].to_numpy()
    later_user, later_time = users[events:], times[events:]
    n = len(later_user)
    fast = (users[:n] == later_user) & (later_time - times[:n] <= seconds)
    out = np.zeros(data.n_users, dtype=bool)
    out[later_user[fast]] = True
    return out


def outlier_users(data: Dataset, score: float) -> Mask:
    """(U,): True for users whose isolation-forest score is above `score`, in (0, 1).

    Liu, Ting, Zhou, ICDM 2008: odd users are cut off by few random splits. 200 trees of
    256 users, a fixed seed. Users without events are not judged.
    """
    from sklearn.ensemble import IsolationForest  # slow to import, rarely needed

    out = np.zeros(data.n_users, dtype=bool)
    active = np.flatnonzero(np.diff(data.offsets))
    if len(active) < 2:
        return out
    features = user_features(data)[active]
    forest = IsolationForest(n_estimators=200, random_state=0).fit(features)
    out[active] = -forest.score_samples(features) > score
    return out


def user_features(data: Dataset) -> NDArray[np.float64]:
    """(U, 6): log number of events, share of distinct items, mean log popularity of the
    items, median log gap in seconds, mean and spread of ratings; what is unknown is the
    mean of the known."""
    users = data.events["user"].to_numpy().astype(np.int64)
    n = np.diff(data.offsets)
    some = np.maximum(n, 1)
    pairs = np.unique(users * data.n_items + data.event_items) // data.n_items
    popular = np.log1p(data.counts)[data.event_items]
    rating = data.events["rating"].cast(float).to_numpy()
    times = data.events["time"].cast(float).to_numpy()
    columns = [
        np.log1p(n),
        np.bincount(pairs, minlength=data.n_users) / some,
        np.bincount(users, popular, minlength=data.n_users) / some,
        _per_user(data, np.log1p(np.abs(np.diff(times, append=np.nan))), gaps=True),
        _per_user(data, rating),
        _per_user(data, rating, spread=True),
    ]
    return np.stack([_filled(c) for c in columns], axis=1)


def _per_user(
    data: Dataset, values: NDArray[np.float64], *, spread: bool = False, gaps: bool = False
) -> NDArray[np.float64]:
    """(U,) median of a user's gaps, or mean (or spread) of the known values; nan for none."""
    out = np.full(data.n_users, np.nan)
    for user in np.flatnonzero(np.diff(data.offsets)):
        own = values[data.offsets[user] : data.offsets[user + 1] - gaps]
        own = own[~np.isnan(own)]
        if own.size:
            out[user] = np.median(own) if gaps else own.std() if spread else own.mean()
    return out


def _filled(column: NDArray[np.float64]) -> NDArray[np.float64]:
    known = column[~np.isnan(column)]
    return np.where(np.isnan(column), known.mean() if known.size else 0.0, column)
