"""A log with planted taste groups: what poisoning, detectors and generators are tried on."""

import numpy as np
import polars as pl

from hardrank.data import Dataset
from hardrank.data.dataset import EVENT_COLUMNS

__all__ = ["GROUPS", "taste_log"]

GROUPS = 3
"""Items and users fall into so many groups; item i and user u are of group i % 3 and u % 3."""
_START, _DAY = 1_600_000_000, 86_400


def taste_log(
    *, users: int = 120, items: int = 60, events: int = 12, seed: int = 0, ratings: bool = True,
    times: bool = True,
) -> Dataset:  # fmt: skip
    """A rated log: users choose five items of six from their own group and like them.

    Popularity falls with the item's number, `events` is the mean number per user (between
    half and one and a half of it), own items are rated 4 or 5 and others 1 to 3, times are
    spread over a hundred days, each user's sorted. Rows of items: `i0` `group 0 thing 0`, ...
    The last three items (one a group) have one event each at most: targets to promote.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int | None, float | None, float]] = []
    weight = 1.0 / (2.0 + np.arange(items))
    weight[-GROUPS:] = 1e-6
    for user in range(users):
        own = np.arange(items) % GROUPS == user % GROUPS
        odds = weight * np.where(own, 1.0, 1.0 / 10)
        n = min(int(rng.integers(max(events // 2, 1), events + events // 2 + 1)), items - GROUPS)
        chosen = rng.choice(items, size=n, replace=False, p=odds / odds.sum())
        when = np.sort(rng.integers(0, 100 * _DAY, size=n)) + _START
        for item, time in zip(chosen.tolist(), when.tolist(), strict=True):
            liked = rng.integers(4, 6) if own[item] else rng.integers(1, 4)
            rating = float(liked) if ratings else None
            rows.append((user, item, time if times else None, rating, 1.0))
    return Dataset(
        name="taste-log",
        users=pl.DataFrame({"user_id": [f"u{n}" for n in range(users)]}),
        items=pl.DataFrame(
            {
                "item_id": [f"i{n}" for n in range(items)],
                "title": [f"group {n % GROUPS} thing {n}" for n in range(items)],
            }
        ),
        events=pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row"),
        synthetic=True,
    )
