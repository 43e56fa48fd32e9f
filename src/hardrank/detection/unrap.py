"""Users whose ratings are not the sum of a user's and an item's habits."""

from typing import Literal

import numpy as np

from hardrank.data import Dataset
from hardrank.detection.parts import Log, Numbers, judged, read
from hardrank.types import Floats, spec

__all__ = ["UnRap"]


@spec
class UnRap:
    """UnRAP's H_v score: a user's mean squared residue relative to his own variance.

    Bryan, O'Mahony & Cunningham, RecSys 2008:
    H_v(u) = sum_i (r_ui - r_i - r_u + r)^2 / sum_i (r_ui - r_u)^2
    with r_i, r_u and r the means of item, user and log over the whole matrix, 0 where there
    is no event. This is their score of users; their second step, which guesses the target by
    its ratings, is left out: `interest-consistency` looks for targets without ratings.
    """

    kind: Literal["unrap"] = "unrap"

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) at least 0; NaN for users with fewer than two items."""
        log = read(dataset)
        return judged(log, _hv(log)) if log.active else judged(log, np.zeros(log.n_users))


def _hv(log: Log) -> Numbers:
    """The sums over all items, spelt out so that only events are visited."""
    n, values = log.n_items, log.values
    of_items = np.asarray(values.sum(axis=0)).ravel() / log.active
    mean = of_items.mean()
    of_users = np.asarray(values.sum(axis=1)).ravel() / n
    squares = np.asarray(values.multiply(values).sum(axis=1)).ravel()
    residue = squares - 2 * (values @ of_items) + of_items @ of_items - n * (of_users - mean) ** 2
    own = squares - n * of_users**2
    return np.where(own > 1e-12, residue / np.maximum(own, 1e-12), np.nan)
