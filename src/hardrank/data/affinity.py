"""How well a user's other events speak for an item, by what earlier users chose together."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from hardrank.data.dataset import Dataset

__all__ = ["affinity"]

_USERS = 64
"""Who are looked at together, which bounds memory."""
_SHRINK = 10.0
"""Added to each item's count, so that rare pairs say little."""
Mask = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int64]


def affinity(dataset: Dataset, earlier: Mask, events: Rows) -> Doubles:
    """(N,) of those events: how well the user's other items go with the item of the event.

    earlier: (U,) True for the N_e users who are believed; events: (N,) rows of
    `dataset.events`. With n_i the earlier users of item i, n_ij those of both i and j, and k the
    items of the user of the event:

        c_ij = (n_ij - n_i n_j / N_e) / sqrt((n_i + 10) (n_j + 10))
        value = sum of c_ij over the user's other items j, over sqrt(k)

    Popular items go with everything, so what chance explains is taken off.
    """
    users = dataset.events["user"].to_numpy()[events]
    items = dataset.event_items[events]
    touched = _touched(dataset)
    believed = touched[earlier]
    n = np.asarray(believed.sum(axis=0), dtype=np.float64).ravel()
    scale, chance = 1 / np.sqrt(n + _SHRINK), n / max(believed.shape[0], 1)
    together = np.zeros(events.size)
    order = np.argsort(users, kind="stable")
    who = np.unique(users)
    for part in (who[start : start + _USERS] for start in range(0, who.size, _USERS)):
        low, high = np.searchsorted(users[order], [part[0], part[-1] + 1])
        mine = order[low:high]
        # (N_e, users): how much each earlier user shares with each of them
        shared = (believed @ sparse.diags_array(scale) @ touched[part].T).tocsc()
        picked = shared[:, np.searchsorted(part, users[mine])]
        together[mine] = picked.multiply(believed[:, items[mine]]).sum(axis=0)
    expected = np.asarray(touched @ (scale * n)).ravel()[users] * chance[items]
    own = scale[items] * n[items] * (1 - chance[items])  # the item goes with itself
    length = np.asarray(touched.sum(axis=1), dtype=np.float64).ravel()[users]
    value = scale[items] * (together - expected - own)
    return np.asarray(value / np.sqrt(np.maximum(length, 1)))


def _touched(dataset: Dataset) -> sparse.csr_array:
    """(U, I) 1 where the user has an event with the item."""
    users = dataset.events["user"].to_numpy()
    ones = np.ones(dataset.n_events)
    out = sparse.csr_array(
        (ones, (users, dataset.event_items)), shape=(dataset.n_users, dataset.n_items)
    )
    out.sum_duplicates()
    out.data[:] = 1
    return out
