"""When a user does what: span, gaps, busy days."""

import numpy as np

from hardrank.detection.parts import Log, Numbers, mean_of, sd_of

__all__ = ["time_features"]

_DAY = 86_400.0


def time_features(log: Log) -> dict[str, Numbers]:
    """Name -> (U,); 0 for a user without times. E log E for sorting.

    `burstiness`: (s - m) / (s + m) of the gaps' deviation s and mean m, in [-1, 1], 0 for a
    Poisson process (Goh & Barabasi, EPL 2008).
    """
    known = np.flatnonzero(~np.isnan(log.times))
    order = known[np.lexsort((log.times[known], log.users[known]))]
    users, times, n = log.users[order], log.times[order], log.n_users
    sizes = np.bincount(users, minlength=n)
    same = users[1:] == users[:-1]
    gaps, owners = np.diff(times)[same], users[1:][same]
    mean, sd = mean_of(gaps, owners, n), sd_of(gaps, owners, n)
    logs = np.log1p(gaps)
    days, per_day = np.unique(
        np.stack([users.astype(np.float64), np.floor(times / _DAY)]), axis=1, return_counts=True
    )
    busiest = np.zeros(n)
    np.maximum.at(busiest, days[0].astype(np.int64), per_day)
    return {
        "time_span": np.log1p(np.bincount(owners, gaps, minlength=n)),
        "gap_mean": mean_of(logs, owners, n),
        "gap_sd": sd_of(logs, owners, n),
        "gap_zero_share": mean_of((gaps == 0).astype(np.float64), owners, n),
        "burstiness": np.where(mean + sd > 0, (sd - mean) / np.maximum(mean + sd, 1e-12), 0.0),
        "active_days": np.log1p(np.bincount(days[0].astype(np.int64), minlength=n)),
        "busiest_day_share": busiest / np.maximum(sizes, 1),
    }
