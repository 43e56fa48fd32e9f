"""Logs with fakes of a known kind, put among the real users at random places."""

from dataclasses import replace

import numpy as np
import polars as pl

from hardrank.data import Dataset
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.testing.detectors import reordered
from hardrank.testing.logs import taste_log

START, DAY = 1_600_000_000, 86_400


def with_fakes(log, profiles, *, times=None, seed=0):
    """The log with one more user a profile (item rows, the last one being rated 5), and a mask
    of who is fake; all users are shuffled."""
    rng = np.random.default_rng(seed)
    rated = log.events["rating"].null_count() == 0
    timed = log.events["time"].null_count() == 0
    rows = []
    for n, items in enumerate(profiles):
        when = np.sort(rng.integers(0, 100 * DAY, len(items))) + START
        when = when if times is None else np.asarray(times[n])
        for item, time in zip(items, when.tolist(), strict=True):
            rating = float(rng.integers(1, 6)) if item != items[-1] else 5.0
            known = (time if timed else None, rating if rated else None)
            rows.append((log.n_users + n, int(item), *known, 1.0))
    grown = replace(
        log,
        users=pl.concat(
            [log.users, pl.DataFrame({"user_id": [f"x{n}" for n in range(len(profiles))]})],
            how="diagonal",
        ),
        events=pl.concat([log.events, pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row")]),
    )
    order = rng.permutation(grown.n_users)
    return reordered(grown, order), order >= log.n_users


def random_fillers(log: Dataset, *, count=20, size=14, target=None, seed=0):
    """Profiles of uniformly drawn items that end with the target."""
    rng = np.random.default_rng(seed)
    target = log.n_items - 1 if target is None else target
    return [
        [*rng.choice(log.n_items - 3, size - 1, replace=False).tolist(), target]
        for _ in range(count)
    ]


def copies(log: Dataset, *, count=20, target=None, seed=0):
    """Whole profiles of different real users, with the target at the end."""
    rng = np.random.default_rng(seed)
    target = log.n_items - 1 if target is None else target
    users = rng.choice(np.flatnonzero(np.diff(log.offsets) >= 8), count, replace=False)
    own = [log.event_items[log.offsets[u] : log.offsets[u + 1]].tolist() for u in users]
    return [[*(i for i in items if i != target), target] for items in own]


def wide_log(*, seed=0, ratings=True, times=True):
    return taste_log(users=300, items=120, events=16, seed=seed, ratings=ratings, times=times)
