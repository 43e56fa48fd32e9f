"""A user as numbers: what detectors, learned or not, read of a profile."""

from typing import NamedTuple

import numpy as np

from hardrank.data import Dataset
from hardrank.detection.features_ratings import rating_features
from hardrank.detection.features_times import time_features
from hardrank.detection.fits import Misfits, event_fit, misfit, surge
from hardrank.detection.parts import Log, Numbers, mean_of, read, sd_of, shared_items
from hardrank.detection.scan import event_bursts
from hardrank.types import Ints

__all__ = ["Features", "features_of", "popularity_features", "user_features"]

_NEIGHBOURS = 25
"""Of DegSim, as in Chirita et al. 2005."""
_RARE = 5
"""An item with so few users, its own included, is rare."""


class Features(NamedTuple):
    """One row a user, one named column a feature."""

    names: tuple[str, ...]
    values: Numbers
    """(U, F), finite; 0 where a user has nothing to be measured by."""


def user_features(dataset: Dataset) -> Features:
    """All features of all users; no id and no position is read.

    Popularity (MUD, RUD and QUD of Li et al., Information Sciences 2016 are `popularity_mean`,
    `popularity_range` and `popularity_q75` on a log scale), how the items of a profile go
    together, likeness to other users (DegSim), the classic rating attributes, times, and
    whether the profile holds an item that looks like a target. Grows with the events, with
    the pairs of items in a profile and with the pairs of users of an item.
    """
    return features_of(read(dataset))


def features_of(log: Log) -> Features:
    """Of a log read before; see `user_features`."""
    fit = event_fit(log)
    close = _likeness(log)
    columns = {
        **popularity_features(log),
        **_cohesion(log, fit),
        **close,
        **rating_features(log),
        **time_features(log),
        **_targets(log, fit, close["jaccard_largest"]),
    }
    values = np.column_stack(list(columns.values())).reshape(log.n_users, len(columns))
    assert np.isfinite(values).all(), "a feature is not a finite number"
    return Features(tuple(columns), values)


def popularity_features(log: Log) -> dict[str, Numbers]:
    """Name -> (U,): how much a user does, and how popular what he does it with is."""
    popular = np.log1p(log.counts)[log.items]
    lengths = log.lengths
    spread = max(float(((lengths - lengths.mean()) ** 2).sum()), 1e-12) if len(lengths) else 1.0
    off = np.abs(lengths - lengths.mean()) if len(lengths) else lengths
    cuts = _quantiles(popular, log.users, log.n_users, (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0))
    head = _head(log)[log.items].astype(np.float64)
    rare = (log.counts <= _RARE)[log.items].astype(np.float64)
    return {
        "length": np.log1p(lengths),
        "length_var": off / spread,
        "repeats": 1 - _ratio(lengths, np.bincount(log.users, minlength=log.n_users)),
        "popularity_mean": mean_of(popular, log.users, log.n_users),
        "popularity_sd": sd_of(popular, log.users, log.n_users),
        "popularity_range": cuts[:, 6] - cuts[:, 0],
        **{f"popularity_q{q}": cuts[:, n] for n, q in enumerate((0, 10, 25, 50, 75, 90, 100))},
        "bestseller_share": mean_of(head, log.users, log.n_users),
        "rare_share": mean_of(rare, log.users, log.n_users),
    }


def _cohesion(log: Log, fit: Numbers) -> dict[str, Numbers]:
    """How the items of a profile go together, by what all other users say."""
    known = ~np.isnan(fit)
    users, values = log.users[known], fit[known]
    odd = misfit(log, fit)
    cuts = _quantiles(values, users, log.n_users, (0.0, 0.1, 0.5))
    oddest = _quantiles(odd, log.users, log.n_users, (0.75, 0.9, 1.0))
    mean, sd = mean_of(values, users, log.n_users), sd_of(values, users, log.n_users)
    worst = known & (fit <= cuts[log.users, 0] + 1e-9)
    popular = np.log1p(log.counts)[log.items]
    return {
        "fit_mean": mean,
        "fit_sd": sd,
        "fit_least": cuts[:, 0],
        "fit_q10": cuts[:, 1],
        "fit_median": cuts[:, 2],
        "fit_gap": (mean - cuts[:, 0]) / np.maximum(sd, 1e-3),
        "fit_least_popularity": mean_of(popular[worst], log.users[worst], log.n_users),
        "misfit_mean": mean_of(odd, log.users, log.n_users),
        "misfit_q75": oddest[:, 0],
        "misfit_q90": oddest[:, 1],
        "misfit_largest": oddest[:, 2],
    }


def _likeness(log: Log) -> dict[str, Numbers]:
    """Nearest other users: by Jaccard similarity, overlap and cosine."""
    n = log.lengths
    jaccard, second, cosine, near = (np.zeros(log.n_users) for _ in range(4))
    nearest = min(_NEIGHBOURS, max(log.n_users - 1, 1))
    for rows, both in shared_items(log):
        union = n[rows, None] + n[None, :] - both
        alike = both / np.maximum(union, 1)
        top = np.partition(alike, -2, axis=1)[:, -2:] if log.n_users > 1 else alike[:, [0, 0]]
        second[rows], jaccard[rows] = top[:, 0], top[:, 1]
        angle = both / np.sqrt(np.maximum(n[rows, None] * n[None, :], 1))
        cosine[rows] = np.partition(angle, -nearest, axis=1)[:, -nearest:].mean(axis=1)
        near[rows] = np.log1p((alike >= 0.5).sum(axis=1))
    return {
        "jaccard_largest": jaccard,
        "jaccard_second": second,
        "near_duplicates": near,
        "degsim": cosine,
    }


def _targets(log: Log, fit: Numbers, alike: Numbers) -> dict[str, Numbers]:
    """The most target-like item of the profile: one whose users do not fit it, are each like
    some other user, rate it unlike the rest, or came in a burst."""
    found = Misfits.of(log, fit)
    burst = np.nan_to_num(event_bursts(log))
    rated = ~np.isnan(log.ratings)
    means = log.ratings[rated].mean() if rated.any() else 0.0
    extreme = np.where(rated, log.ratings - means, 0.0)
    of_items = {
        "misfit": found.items,
        "likeness": surge(alike[log.users], log),
        "high_rating": surge(extreme, log),
        "low_rating": surge(-extreme, log),
    }
    out = {
        f"target_{name}": _quantiles(scores[log.items], log.users, log.n_users, (1.0,))[:, 0]
        for name, scores in of_items.items()
    }
    out["target_event"] = np.nan_to_num(found.targets)
    out["fit_for_length"] = np.nan_to_num(found.profiles)
    out["burst_largest"] = _quantiles(burst, log.users, log.n_users, (1.0,))[:, 0]
    out["burst_mean"] = mean_of(burst, log.users, log.n_users)
    return out


def _head(log: Log) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(I,) whether an item is one of the bestsellers that make a fifth of all events; equally
    popular items are all in or all out."""
    ranked = np.sort(log.counts)[::-1]
    if not ranked.sum():
        return np.zeros(log.n_items, dtype=bool)
    border = ranked[int(np.searchsorted(np.cumsum(ranked), 0.2 * ranked.sum()))]
    return np.asarray(log.counts >= border)


def _quantiles(values: Numbers, users: Ints, n: int, at: tuple[float, ...]) -> Numbers:
    """(U, len(at)) quantiles of each user's values, between neighbours linearly; 0 for none."""
    order = np.lexsort((values, users))
    ranked = np.append(values[order], 0.0)
    sizes = np.bincount(users, minlength=n)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.maximum(sizes - 1, 0)[:, None] * np.asarray(at)[None, :]
    low = np.floor(place + 1e-9).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(sizes - 1, 0)[:, None])
    below, above = ranked[starts[:, None] + low], ranked[starts[:, None] + high]
    out = below + np.maximum(place - low, 0.0) * (above - below)
    return np.where(sizes[:, None] > 0, out, 0.0)


def _ratio(part: Numbers, whole: Ints) -> Numbers:
    return np.where(whole > 0, part / np.maximum(whole, 1), 1.0)
