"""The classic attributes of rated profiles, and what else ratings give away.

Chirita, Nejdl & Zamfir, WIDM 2005 (RDMA, DegSim); Williams, Mobasher & Burke, SOCA 2007 and
Burke et al., KDD 2006 (WDMA, WDA, LengthVar, MeanVar, FMV, FMTD, TMF). The "target" part of a
profile is what the user rated highest, the "filler" part all else, as there.
"""

import numpy as np

from hardrank.detection.parts import Log, Numbers, mean_of, sd_of
from hardrank.types import Ints

__all__ = ["rating_features"]


def rating_features(log: Log) -> dict[str, Numbers]:
    """Name -> (U,); 0 for a user without ratings. Linear in events."""
    rated = np.flatnonzero(~np.isnan(log.ratings))
    users, items, values = log.users[rated], log.items[rated], log.ratings[rated]
    means = mean_of(values, items, log.n_items)[items]
    raters = np.bincount(items, minlength=log.n_items)[items]
    return {
        **_deviations(values - means, raters, users, log.n_users),
        **_targets(log, users, items, values, means),
        **_spread(values, means, users, log.n_users),
    }


def _deviations(away: Numbers, raters: Ints, users: Ints, n: int) -> dict[str, Numbers]:
    off = np.abs(away)
    return {
        "rdma": mean_of(off / np.maximum(raters, 1), users, n),
        "wdma": mean_of(off / np.maximum(raters, 1) ** 2, users, n),
        "wda": mean_of(off / np.maximum(raters, 1), users, n) * np.bincount(users, minlength=n),
        "mean_var": mean_of(away**2, users, n),
        "rating_shift": mean_of(away, users, n),
        "rating_largest_deviation": _largest(off, users, n),
    }


def _targets(
    log: Log, users: Ints, items: Ints, values: Numbers, means: Numbers
) -> dict[str, Numbers]:
    """FMTD, FMV and TMF: highest rated against the rest."""
    n = log.n_users
    top = np.full(n, -np.inf)
    np.maximum.at(top, users, values)
    target = values >= top[users]
    filler = ~target
    has_both = (np.bincount(users[filler], minlength=n) > 0).astype(np.float64)
    apart = mean_of(values[target], users[target], n) - mean_of(values[filler], users[filler], n)
    focus = np.bincount(items[target], minlength=log.n_items) / max(int(target.sum()), 1)
    return {
        "fmtd": np.abs(apart) * has_both,
        "fmv": mean_of((values - means)[filler] ** 2, users[filler], n),
        "tmf": _largest(focus[items[target]], users[target], n),
        "target_share": mean_of(target.astype(np.float64), users, n),
    }


def _spread(values: Numbers, means: Numbers, users: Ints, n: int) -> dict[str, Numbers]:
    if not len(values):
        zero = np.zeros(n)
        names = ("rating_mean", "rating_sd", "rating_entropy", "rating_lowest_share",
                 "rating_highest_share", "rating_agreement")  # fmt: skip
        return dict.fromkeys(names, zero)
    levels, at = np.unique(values, return_inverse=True)
    sizes = np.maximum(np.bincount(users, minlength=n), 1)
    entropy = np.zeros(n)
    cells, found = np.unique(users * len(levels) + at, return_counts=True)
    share = found / sizes[cells // len(levels)]
    np.add.at(entropy, cells // len(levels), -share * np.log(share))
    return {
        "rating_mean": mean_of(values, users, n),
        "rating_sd": sd_of(values, users, n),
        "rating_entropy": entropy,
        "rating_lowest_share": mean_of((values == levels[0]).astype(np.float64), users, n),
        "rating_highest_share": mean_of((values == levels[-1]).astype(np.float64), users, n),
        "rating_agreement": _correlation(values, means, users, n),
    }


def _correlation(one: Numbers, other: Numbers, users: Ints, n: int) -> Numbers:
    """(U,) of a user's ratings with the items' means; 0 where either does not vary."""
    both = mean_of(one * other, users, n) - mean_of(one, users, n) * mean_of(other, users, n)
    scale = sd_of(one, users, n) * sd_of(other, users, n)
    return np.where(scale > 1e-9, both / np.maximum(scale, 1e-9), 0.0)


def _largest(values: Numbers, users: Ints, n: int) -> Numbers:
    out = np.zeros(n)
    np.maximum.at(out, users, values)  # of values that are never below 0
    return out
