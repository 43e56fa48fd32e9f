"""What detectors read of a log: columns, means of groups, ranks, and who shares items.

Everything here is sums over events, so no result depends on the order or the names of users
or items (up to the rounding of sums).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hardrank.data import Dataset
from hardrank.types import Floats, Ints

__all__ = [
    "Log",
    "Numbers",
    "judged",
    "largest",
    "mean_of",
    "midranks",
    "read",
    "robust",
    "sd_of",
    "shared_items",
]

Numbers = NDArray[np.float64]
_CELLS = 1 << 22
"""Entries of a dense block: 32 MiB of float64."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Log:
    """The columns of a log, without any id."""

    users: Ints
    """(E,) whose event it is."""
    items: Ints
    """(E,)"""
    ratings: Numbers
    """(E,) NaN where an event has none."""
    times: Numbers
    """(E,) unix seconds, NaN where an event has none."""
    n_users: int
    n_items: int

    @cached_property
    def matrix(self) -> Any:
        """(U, I) sparse rows, 1 where the user has touched the item."""
        ones = np.ones(len(self.users))
        made = sparse.csr_matrix((ones, (self.users, self.items)), (self.n_users, self.n_items))
        made.sum_duplicates()
        made.data[:] = 1.0
        return made

    @cached_property
    def lengths(self) -> Numbers:
        """(U,) different items of each user."""
        return np.asarray(np.diff(self.matrix.indptr), dtype=np.float64)

    @cached_property
    def counts(self) -> Numbers:
        """(I,) different users of each item."""
        return np.bincount(self.matrix.indices, minlength=self.n_items).astype(np.float64)

    @cached_property
    def active(self) -> int:
        """Users with at least one event."""
        return int((self.lengths > 0).sum())

    @cached_property
    def values(self) -> Any:
        """(U, I) sparse rows of ratings: the mean of repeated ones, 1 for an event in a log
        without ratings, the mean rating of the log for an event that alone has none."""
        rated = ~np.isnan(self.ratings)
        if not rated.any():
            return self.matrix
        filled = np.where(rated, self.ratings, self.ratings[rated].mean())
        shape = (self.n_users, self.n_items)
        total = sparse.csr_matrix((filled, (self.users, self.items)), shape)
        times = sparse.csr_matrix((np.ones(len(filled)), (self.users, self.items)), shape)
        total.data /= times.data  # equal patterns: both were summed from the same cells
        return total


def read(dataset: Dataset) -> Log:
    """The columns of a dataset; its ids stay behind."""
    events = dataset.events
    return Log(
        users=events["user"].to_numpy().astype(np.int64),
        items=dataset.event_items,
        ratings=_numbers(events["rating"].to_list()),
        times=_numbers(events["time"].to_list()),
        n_users=dataset.n_users,
        n_items=dataset.n_items,
    )


def _numbers(values: list[Any]) -> Numbers:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def mean_of(values: Numbers, groups: Ints, n: int) -> Numbers:
    """(n,) mean of the values of each group; 0 for a group without any."""
    sizes = np.bincount(groups, minlength=n)
    return np.bincount(groups, values, minlength=n) / np.maximum(sizes, 1)


def sd_of(values: Numbers, groups: Ints, n: int) -> Numbers:
    """(n,) standard deviation of the values of each group; 0 for fewer than two."""
    away = (values - mean_of(values, groups, n)[groups]) ** 2
    return np.sqrt(mean_of(away, groups, n))


def largest(values: Numbers, groups: Ints, n: int) -> Numbers:
    """(n,) largest value of each group; NaN for a group without any."""
    out = np.full(n, -np.inf)
    np.maximum.at(out, groups, values)
    return np.where(np.isinf(out), np.nan, out)


def judged(log: Log, scores: Numbers, least: int = 2) -> Floats:
    """(U,) the scores as a detector gives them: NaN for users of fewer than `least` items."""
    return np.where(log.lengths >= least, scores, np.nan).astype(np.float32)


def midranks(scores: Numbers) -> Numbers:
    """(N,) ranks in (0, 1), equal scores sharing the mean of theirs; NaN stays NaN.

    Scores that differ by less than a billionth count as equal: rounding of sums decides
    nothing.
    """
    known = ~np.isnan(scores)
    out = np.full(len(scores), np.nan)
    if known.any():
        _, at, sizes = np.unique(
            np.round(scores[known], 9), return_inverse=True, return_counts=True
        )
        ends = np.cumsum(sizes)
        out[known] = ((ends - (sizes - 1) / 2 - 0.5) / known.sum())[at]
    return out


def robust(values: Numbers) -> Numbers:
    """(N,) distance from the median in units of 1.4826 median absolute deviations (a standard
    deviation for a normal law); 0 throughout where more than half the values are equal and
    none differs, NaN stays NaN."""
    known = ~np.isnan(values)
    if not known.any():
        return values.copy()
    middle = np.median(values[known])
    away = np.abs(values[known] - middle)
    spread = 1.4826 * np.median(away)
    if spread < 1e-9:  # more than half are equal: the mean absolute deviation still says more
        spread = max(1.2533 * away.mean(), 1e-9)
    return np.asarray((values - middle) / spread)


def shared_items(log: Log, weights: Numbers | None = None) -> Iterator[tuple[Ints, Numbers]]:
    """Blocks of users (B,) with (B, U) the items each shares with every user, itself left at 0.

    weights: (I,) what an item counts for; None for 1.
    """
    right = log.matrix.T.tocsr()
    left = log.matrix if weights is None else (log.matrix @ sparse.diags(weights)).tocsr()
    step = max(1, _CELLS // max(log.n_users, 1))
    for start in range(0, log.n_users, step):
        rows = np.arange(start, min(start + step, log.n_users))
        block = (left[start : start + step] @ right).toarray()
        block[np.arange(len(rows)), rows] = 0.0
        yield rows, block
