"""Profiles that repeat another profile."""

from typing import Literal

import numpy as np

from hardrank.data import Dataset
from hardrank.detection.parts import Log, Numbers, judged, read, shared_items
from hardrank.types import Floats, Positive, spec

__all__ = ["Duplicates"]


@spec
class Duplicates:
    """How much of a profile stands in one other profile, beyond what chance puts there.

    Items count by their surprise, w_i = ln(U / n_i), so that shared bestsellers say little.
    With u and v sharing the weight s out of w_u and w_v, cover = s / (min(w_u, w_v) + slack),
    the overlap coefficient of weighted sets. What v's length alone makes likely is taken off:
    the expected cover of u by a user who does as much as v and has no taste. A user's score
    is the best over all v. Copies are found, whole or in part, and so is who was copied, if
    he has hardly any more than the copy: the log cannot say who was first.
    """

    kind: Literal["duplicates"] = "duplicates"
    slack: Positive = 10.0
    """Weight, in nats, that is added to the smaller profile, so that a few events in common
    are no copy; about three rare items."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) below 1; NaN for users with fewer than two items."""
        log = read(dataset)
        weights = np.log(max(log.active, 1) / np.maximum(log.counts, 1))
        totals = log.matrix @ weights
        pull = self._chance(log, weights)
        best = np.zeros(log.n_users)
        for rows, both in shared_items(log, weights):
            smaller = np.minimum(totals[rows, None], totals[None, :]) + self.slack
            alone = np.minimum(pull[rows, None] * log.lengths[None, :], pull[None, :]
                               * log.lengths[rows, None])  # fmt: skip
            beyond = (both - np.minimum(alone, smaller)) / smaller
            beyond[np.arange(len(rows)), rows] = -np.inf
            best[rows] = beyond.max(axis=1)
        return judged(log, best)

    def _chance(self, log: Log, weights: Numbers) -> Numbers:
        """(U,) weight of u's items that one event of a user without taste hits."""
        hit = log.counts / max(float(log.counts.sum()), 1.0)
        return np.asarray(log.matrix @ (weights * hit))
