"""How well events fit their users by what all other users do, and where unfitting ones meet."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy import sparse

from hardrank.detection.parts import Log, Numbers, largest, mean_of, midranks

__all__ = ["Misfits", "affinity", "event_fit", "misfit", "surge"]

_PRIOR = 0.5
"""Joint users that a pair of items is given on both sides of its odds: pulls the odds of
pairs that hardly anybody could have chosen towards even."""
_CELLS = 1 << 22
"""Entries of a dense block: 32 MiB of float64."""
_DENSE = 1 << 26
"""Largest square table of items that is held densely: 512 MiB of float64."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Misfits:
    """What the log says of its own events, users and items."""

    events: Numbers
    """(E,) see `misfit`."""
    items: Numbers
    """(I,) the greater of two `surge`s: of the misfit of the item's events, and of how much
    worse they fit than the same users' other events do."""
    targets: Numbers
    """(U,) largest product of an event's misfit and its item's score; NaN for none."""
    profiles: Numbers
    """(U,) minus the mean fit of a user's events, less what profiles of such a length have;
    NaN for users with fewer than two items."""

    @classmethod
    def of(cls, log: Log, fit: Numbers | None = None) -> Self:
        """fit: what `event_fit(log)` gives, where it is known already."""
        fit = event_fit(log) if fit is None else fit
        odd = misfit(log, fit)
        within = odd - mean_of(odd, log.users, log.n_users)[log.users]
        items = np.maximum(surge(odd, log), surge(within, log))
        targets = largest(items[log.items] * odd, log.users, log.n_users)
        whole = mean_of(np.nan_to_num(fit), log.users, log.n_users)
        known = log.lengths >= 2
        return cls(
            events=odd,
            items=items,
            targets=np.where(known, targets, np.nan),
            profiles=-_for_length(np.where(known, whole, np.nan), log.lengths),
        )


def _for_length(values: Numbers, lengths: Numbers) -> Numbers:
    """(U,) what a parabola in the logarithm of the length leaves of the values."""
    known = ~np.isnan(values)
    if known.sum() < 4:
        return values - (values[known].mean() if known.any() else 0.0)
    long = np.log1p(lengths[known])
    long = (long - long.mean()) / max(float(long.std()), 1e-9)
    out = np.full(len(values), np.nan)
    out[known] = values[known] - _smooth(values[known], long, 2)
    return out


def _smooth(values: Numbers, over: Numbers, degree: int) -> Numbers:
    """(N,) least squares polynomial of `over`."""
    terms = over[:, None] ** np.arange(degree + 1)
    return np.asarray(terms @ np.linalg.lstsq(terms, values, rcond=1e-9)[0])


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
    """(E,) in (0, 1): how badly an event fits its user for an item so popular (a rare item
    fits nobody as visibly as a bestseller); 0.5 where `fit` is NaN.

    The rank of (fit - a(n)) / b(n), where a and b are quadratic in ln n, the item's users: the
    expected fit and the expected distance from it.
    """
    out = np.full(len(fit), 0.5)
    known = ~np.isnan(fit)
    if not known.any():
        return out
    popular = np.log(np.maximum(log.counts[log.items], 1))[known]
    popular = (popular - popular.mean()) / max(float(popular.std()), 1e-9)
    away = fit[known] - _smooth(fit[known], popular, 2)
    off = np.abs(away)
    usual = np.maximum(_smooth(off, popular, 2), max(0.2 * float(off.mean()), 1e-9))
    out[known] = 1 - midranks(away / usual)
    return out


def surge(values: Numbers, log: Log) -> Numbers:
    """(I,) how far the mean over an item's events lies above the mean of all events, in
    standard errors that know that items differ; 0 for an item without events. values: (E,)

    (mean_i - mean) / sqrt(s^2 / n_i + t^2) with s the deviation of all values and t that of
    the items' own means beyond s (DerSimonian & Laird 1986): without t every bestseller
    would stand out.
    """
    if not len(values):
        return np.zeros(log.n_items)
    n = np.bincount(log.items, minlength=log.n_items).astype(np.float64)
    above, noise = mean_of(values - values.mean(), log.items, log.n_items), float(values.var())
    if noise < 1e-18:
        return np.zeros(log.n_items)
    extra = (n @ above**2 / noise - (n > 0).sum() + 1) * noise
    between = max(extra / max(n.sum() - (n @ n) / n.sum(), 1.0), 0.0)
    return np.asarray(above / np.sqrt(noise / np.maximum(n, 1) + between))
