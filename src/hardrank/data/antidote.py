"""Antidote users: profiles of the defender's own that hold a log's well-founded tastes fast."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hardrank.data.dataset import Dataset
from hardrank.data.patch import AddProfile, Patch
from hardrank.errors import DataError
from hardrank.types import Ints

__all__ = ["with_antidote"]

Doubles = NDArray[np.float64]
_SHRINK = 10.0
"""Raters that an overlap must outweigh: two items that share two of two raters are no pair."""
_REACH = 2
"""Candidates for each item of a profile: without a choice, all copies of a user were one."""


def with_antidote(train: Dataset, *, users: int, length: int, rng: np.random.Generator) -> Dataset:
    """The log with `users` friendly users at the end of its table, who lower the empirical risk.

    The idea is adversarial poisoning training, Wu et al., SIGIR 2021, "Fight Fire with Fire:
    Towards Robust Recommender Systems via Adversarial Poisoning Training", the outer form
    min over theta, min over D* of L(theta, D and D*): the defender adds so-called ERM users D*
    who reinforce what the model already fits, so that a poisoner has to move more.

    As in the paper: whole fake profiles join the training log alone; their items are chosen for
    lowering the risk. Not as in the paper: it finds them by influence functions through the
    recommender, again and again while that trains. Ours reads no model and chooses once: each
    antidote user stands by a real one a, drawn at random, and the fit of a pair is

        fit(a, i) = sum over j in H(a), j != i, of c_ij / (sqrt(n_i n_j) + 10)

    (c_ij users share i and j, n_i have i). Of the 2 * length items of best fit, a's own among
    them, `length` are drawn in proportion to it. Items with fewer raters than the median item
    are never drawn: a target that nobody knew gets no credit, whoever rates it. Ratings are
    each item's mean, rounded to a rating of the log; times are of a's own events.

    Antidote users belong to training only: test histories name real users, whose rows do not
    change, so nothing counts them. Raises `DataError` where fewer than one user or item is
    asked for, or no user has two items of the better half.
    """
    if users < 1 or length < 1:
        raise DataError(
            f"{users} antidote users of {length} items", remedy="ask for one at least of each"
        )
    fits = _Fits.of(train)
    anchors = np.flatnonzero(np.asarray(fits.seen[:, fits.known].sum(axis=1)).ravel() > 1)
    if not len(anchors):
        raise DataError(f"{train.name}: no user has two items that more than a few have")
    chosen = rng.choice(anchors, size=users)
    names = _names(train, users)
    profiles = [
        _profile(train, fits, int(a), name, length, rng)
        for a, name in zip(chosen, names, strict=True)
    ]
    sizes = sum(len(p.item_ids) for p in profiles)
    return train.apply(Patch(tuple(profiles))).noted(
        f"{users} antidote users with {sizes} events were added for training; nothing counts them."
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class _Fits:
    """The log's own statistics."""

    seen: sparse.csr_matrix
    """(U, I) of zeros and ones."""
    similar: sparse.csr_matrix
    """(I, I), 0 on the diagonal."""
    known: NDArray[np.bool_]
    """(I,) at least as many raters as the median item that has one."""
    ratings: Doubles
    """(I,) mean rating, NaN where there is none."""

    @classmethod
    def of(cls, train: Dataset) -> "_Fits":
        users = train.events["user"].to_numpy()
        shape = (train.n_users, train.n_items)
        seen = sparse.csr_matrix((np.ones(train.n_events), (users, train.event_items)), shape)
        seen.data[:] = 1.0
        raters = np.asarray(seen.sum(axis=0)).ravel()
        shared = (seen.T @ seen).tocoo()
        below = np.sqrt(raters[shared.row] * raters[shared.col]) + _SHRINK
        values = np.where(shared.row == shared.col, 0.0, shared.data / below)
        similar = sparse.csr_matrix((values, (shared.row, shared.col)), shared.shape)
        middle = float(np.median(raters[raters > 0])) if raters.any() else 1.0
        return cls(seen=seen, similar=similar, known=raters >= middle, ratings=_mean_ratings(train))

    def row(self, user: int) -> Doubles:
        """(I,) fit of each item to the user, 0 for rare ones."""
        return np.asarray((self.seen[user] @ self.similar).todense()).ravel() * self.known


def _profile(
    train: Dataset, fits: _Fits, anchor: int, name: str, length: int, rng: np.random.Generator
) -> AddProfile:
    fit = fits.row(anchor)
    best = np.argsort(-fit, kind="stable")[: _REACH * length]
    best = best[fit[best] > 0]
    size = min(length, len(best))
    items = rng.choice(best, size=size, replace=False, p=fit[best] / fit[best].sum())
    own = train.events[int(train.offsets[anchor]) : int(train.offsets[anchor + 1])]["time"]
    times = None if own.null_count() else np.sort(rng.choice(own.to_numpy(), size=size))
    return AddProfile(
        name,
        tuple(train.items["item_id"].gather(items)),
        ratings=_ratings(train, fits, items),
        times=None if times is None else tuple(times.tolist()),
    )


def _mean_ratings(train: Dataset) -> Doubles:
    rated = train.events.filter(train.events["rating"].is_not_null())
    rows, values = rated["item"].to_numpy(), rated["rating"].to_numpy().astype(np.float64)
    counts = np.bincount(rows, minlength=train.n_items)
    sums = np.bincount(rows, weights=values, minlength=train.n_items)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _ratings(train: Dataset, fits: _Fits, items: Ints) -> tuple[float, ...] | None:
    """Each item's mean, as the nearest rating that somebody gave; None for a log without."""
    scale = np.sort(train.events["rating"].drop_nulls().unique().to_numpy().astype(np.float64))
    if not len(scale):
        return None
    means = np.nan_to_num(fits.ratings[items], nan=float(np.nanmean(fits.ratings)))
    return tuple(scale[np.abs(means[:, None] - scale).argmin(axis=1)].tolist())


def _names(train: Dataset, users: int) -> list[str]:
    """Ids that nobody has."""
    taken, out, number = train.user_rows, list[str](), 0
    while len(out) < users:
        name = f"antidote-{number}"
        number += 1
        if name not in taken:
            out.append(name)
    return out
