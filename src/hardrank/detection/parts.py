"""What detectors read of a log: columns, who-with-whom counts, and how well events fit.

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
from hardrank.types import Ints

__all__ = [
    "Log",
    "Numbers",
    "affinity",
    "event_fit",
    "mean_of",
    "midranks",
    "misfit",
    "read",
    "robust",
    "sd_of",
    "shared_items",
    "surge",
]

Numbers = NDArray[np.float64]
_PRIOR = 0.5
"""Joint users that a pair of items is given on both sides of its odds: pulls the odds of
pairs that hardly anybody could have chosen towards even."""
_CELLS = 1 << 22
"""Entries of a dense block: 32 MiB of float64."""
_DENSE = 1 << 26
"""Largest square table of items that is held densely: 512 MiB of float64."""


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
        return np.diff(self.matrix.indptr).astype(np.float64)

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
    if spread < 1e-12:  # more than half are equal: the mean absolute deviation still says more
        spread = max(1.2533 * away.mean(), 1e-12)
    return (values - middle) / spread


def affinity(log: Log) -> Any:
    """(I, I) sparse log odds that two items of one user go together beyond chance, as all
    other users say.

    With c users of both, n_i and n_j of each and N of all, none of them counting the one
    user who is asked about: log((c + 1/2) / (n_i n_j / N + 1/2)). Stored for pairs that
    somebody has both of; leaving that user out is exact, so that no event explains itself.
    """
    joint = sparse.coo_matrix(log.matrix.T @ log.matrix)
    off = joint.row != joint.col
    row, column, both = joint.row[off], joint.col[off], joint.data[off] - 1
    others = log.counts - 1
    chance = others[row] * others[column] / max(log.active - 1, 1)
    odds = np.log((both + _PRIOR) / (chance + _PRIOR))
    return sparse.csr_matrix((odds, (row, column)), shape=(log.n_items, log.n_items))


def event_fit(log: Log, odds: Any | None = None) -> Numbers:
    """(E,) mean `affinity` of the event's item with the other items of its user; NaN for the
    only item of a user. odds: what `affinity(log)` gives, where it is known already."""
    table = affinity(log) if odds is None else odds
    if log.n_items**2 <= _DENSE and table.nnz > 0.05 * log.n_items**2:
        table = table.toarray()
    out = np.empty(len(log.users))
    order = np.argsort(log.users, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(log.users, minlength=log.n_users))])
    step = max(1, _CELLS // max(log.n_items, 1))
    for start in range(0, log.n_users, step):
        block = log.matrix[start : start + step] @ table
        dense = block.toarray() if sparse.issparse(block) else block
        events = order[bounds[start] : bounds[min(start + step, log.n_users)]]
        out[events] = dense[log.users[events] - start, log.items[events]]
    others = log.lengths[log.users] - 1
    return np.where(others > 0, out / np.maximum(others, 1), np.nan)


def misfit(log: Log, fit: Numbers) -> Numbers:
    """(E,) in (0, 1): how badly an event fits its user, among the events of items about as
    popular (a rare item fits nobody as visibly as a bestseller); 0.5 where `fit` is NaN.

    The popularity classes are powers of the square root of two.
    """
    classes = np.floor(2 * np.log2(np.maximum(log.counts[log.items], 1)) + 1e-9)
    out = np.full(len(fit), 0.5)
    for one in np.unique(classes):
        chosen = (classes == one) & ~np.isnan(fit)
        out[chosen] = 1 - midranks(fit[chosen])
    return out


def surge(values: Numbers, log: Log) -> Numbers:
    """(I,) how far the mean over an item's events lies above the mean of all events, in
    standard errors; 0 for an item without events. values: (E,)"""
    if not len(values):
        return np.zeros(log.n_items)
    sizes = np.bincount(log.items, minlength=log.n_items)
    above = mean_of(values - values.mean(), log.items, log.n_items)
    return above * np.sqrt(sizes) / max(float(values.std()), 1e-12)


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
