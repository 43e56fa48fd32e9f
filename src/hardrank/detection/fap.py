"""Suspicion that spreads from seed users over shared items."""

from typing import Annotated, Literal

import numpy as np
from annotated_types import Lt

from hardrank.data import Dataset
from hardrank.detection.fits import Misfits
from hardrank.detection.parts import Log, Numbers, judged, midranks, read
from hardrank.types import Count, Floats, NonNegative, Share, spec

__all__ = ["Fap"]


@spec
class Fap:
    """Fraudulent action propagation: users who do what the most suspicious users do.

    Zhang et al., IJCAI 2015 ("Catch the Black Sheep"). Users and items exchange fraud
    probabilities along events: an item has the mean of its users', a user that of his items'.
    The paper starts from labelled fraudsters; here the seeds are the users who fit least by
    the counts of all others, as a whole or with one target-like item. Three more differences:
    what a user says of an item does not come back to him, a user's mean weighs items by
    their own suspicion (one target among ninety fillers counts), and the seeds' part is fed
    in at every step, so that it does not even out.
    """

    kind: Literal["fap"] = "fap"
    seeds: Annotated[Share, Lt(0.5)] = 0.03
    """Share of all judged users that suspicion starts from."""
    damping: Share = 0.8
    """Share of a user's suspicion that comes from others."""
    steps: Count = 10
    """Rounds of propagation."""
    doubt: NonNegative = 10.0
    """Users of average suspicion that each item is given beside its own: keeps one odd user
    from dragging along whoever shares a rare item with him."""

    focus: NonNegative = 6.0
    """Power of an item's suspicion by which it weighs in its users' means; 0 for the plain
    mean of the paper."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) in [0, 1]; NaN for users with fewer than two items."""
        log = read(dataset)
        seeds = _seeds(log, self.seeds)
        return judged(log, self._spread(log, seeds))

    def _spread(self, log: Log, seeds: Numbers) -> Numbers:
        """suspicion = (1 - damping) seeds + damping (mean over items of their others' mean)."""
        cells = log.matrix.tocoo()
        users, items = cells.row, cells.col
        others = np.maximum(log.counts[items] - 1 + self.doubt, 1e-12)
        found = seeds
        for _ in range(self.steps):
            base = float(found.sum()) / max(log.active, 1)
            all_of = np.bincount(items, found[users], minlength=log.n_items)
            heard = np.maximum(all_of[items] - found[users] + self.doubt * base, 0.0) / others
            weight = heard**self.focus
            mean = np.bincount(users, weight * heard, minlength=log.n_users) / np.maximum(
                np.bincount(users, weight, minlength=log.n_users), 1e-300
            )
            found = (1 - self.damping) * seeds + self.damping * mean
        return found


def _seeds(log: Log, share: float) -> Numbers:
    """(U,) 1 for a seed: equally suspicious users are all seeds or none."""
    found = Misfits.of(log)
    worst = np.maximum(midranks(found.profiles), midranks(found.targets))
    return (np.nan_to_num(midranks(worst)) > 1 - share).astype(np.float64)
