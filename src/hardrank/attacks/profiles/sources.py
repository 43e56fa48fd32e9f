"""Real users to copy: their histories, how alike they are, and how much weight they have."""

from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import sparse

from hardrank.attacks.profiles.parts import Draft
from hardrank.data import Dataset
from hardrank.types import Floats, Ints

__all__ = ["Kept", "copied", "copyable", "in_degrees", "likeness", "past", "touched"]

Kept = Literal["latest", "random"]
"""Which events of a history stay where it is longer than the budget lets it be."""
_BLOCK = 512
"""Users whose neighbours are found at a time."""


def copyable(train: Dataset, barred: Ints) -> Ints:
    """Rows of the users who have an event with an item that is not barred."""
    free = ~np.isin(train.event_items, barred)
    return np.unique(train.events["user"].to_numpy()[free]).astype(np.int64)


def past(train: Dataset, user: int, barred: Ints) -> Draft:
    """The user's history without the barred items; of an item that came often, the last."""
    start, end = int(train.offsets[user]), int(train.offsets[user + 1])
    rows, events = train.event_items[start:end], train.events[start:end]
    _, last = np.unique(rows[::-1], return_index=True)
    kept = np.sort(rows.size - 1 - last)
    kept = kept[~np.isin(rows[kept], barred)]
    ratings, times = events["rating"].fill_null(0).to_numpy(), events["time"]
    timed = not train.events["time"].null_count()
    return Draft(
        rows=rows[kept], ratings=ratings[kept], times=times.to_numpy()[kept] if timed else None
    )


def copied(
    train: Dataset, models: Ints, n: int, *, barred: Ints, size: int, keep: Kept,
    rng: np.random.Generator,
) -> Draft:  # fmt: skip
    """At most `size` events of the n-th of these users; none where there is nobody."""
    if not models.size:
        return Draft(rows=models, ratings=np.zeros(0, dtype=np.float32))
    return _trimmed(past(train, int(models[n]), barred), size, keep, rng)


def _trimmed(draft: Draft, size: int, keep: Kept, rng: np.random.Generator) -> Draft:
    """At most so many of its events, in their order."""
    total = draft.rows.size
    if total <= size:
        return draft
    chosen = np.arange(total - size, total)
    if keep == "random":
        chosen = np.sort(rng.choice(total, size=size, replace=False))
    return Draft(
        rows=draft.rows[chosen], ratings=draft.ratings[chosen],
        times=None if draft.times is None else draft.times[chosen],
    )  # fmt: skip


def touched(train: Dataset) -> sparse.csr_array:
    """(U, I) rows of length 1: which items a user has, whatever the ratings."""
    users, items = train.events["user"].to_numpy(), train.event_items
    shape = (train.n_users, train.n_items)
    made = sparse.csr_array((np.ones(items.size, dtype=np.float32), (users, items)), shape=shape)
    made.data[:] = 1
    lengths = np.sqrt(np.asarray(made.sum(axis=1)).ravel())
    return sparse.csr_array(sparse.diags_array(1 / np.maximum(lengths, 1)) @ made)


def likeness(users: sparse.csr_array, user: int) -> Floats:
    """(U,) cosine of everybody's items to one user's; -1 for that user.

    users: of `touched`.
    """
    out = np.asarray((users @ users[[user]].T).toarray(), dtype=np.float32).ravel()
    out[user] = -1
    return out


@lru_cache(maxsize=1)  # slow, and asked again for each target of one log
def in_degrees(train: Dataset, neighbours: int) -> Ints:
    """(U,) how many users have this one among their nearest `neighbours` by cosine of items;
    who shares nothing is nobody's neighbour."""
    users = touched(train)
    out = np.zeros(train.n_users, dtype=np.int64)
    for start in range(0, train.n_users, _BLOCK):
        alike = np.asarray((users[start : start + _BLOCK] @ users.T).toarray())  # (B, U)
        rows = np.arange(len(alike))
        alike[rows, start + rows] = 0
        # equal ones in the order of users, whatever the sort of the platform
        near = np.argsort(-alike, axis=1, kind="stable")[:, :neighbours]
        known = np.take_along_axis(alike, near, axis=1) > 0
        out += np.bincount(near[known], minlength=train.n_users)
    out.setflags(write=False)
    return out
