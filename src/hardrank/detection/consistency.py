"""Events that do not fit their user, and items whose users they do not fit."""

from typing import Literal

import numpy as np

from hardrank.data import Dataset
from hardrank.detection.fits import Misfits, event_fit, misfit
from hardrank.detection.parts import judged, read, robust
from hardrank.types import Floats, spec

__all__ = ["InterestConsistency"]


@spec
class InterestConsistency:
    """Does an event agree with the interest that the rest of the profile shows?

    The fit of item i in profile h is the mean over j in h of the log odds that i and j go
    together beyond chance. All other users say so and never the user himself: his own event
    is taken out of every count exactly, which is what cross-fitting with as many folds as
    users gives. Fit is then ranked among the events of items about as popular.

    An attack needs its target in many profiles, so the target is where unfitting events
    meet. An item's score is how far the mean misfit of its events lies above that of the log,
    in standard errors that know that honest items differ. A user is suspicious for a profile
    that does not hang together, or for an unfitting event with such an item. Copied
    profiles, whose fillers fit perfectly, are found by the second.
    """

    kind: Literal["interest-consistency"] = "interest-consistency"

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) robust standard deviations; NaN for users with fewer than two items."""
        log = read(dataset)
        found = Misfits.of(log)
        return judged(log, np.maximum(robust(found.profiles), robust(found.targets)))

    def event_scores(self, dataset: Dataset) -> Floats:
        """(E,) in (0, 1), one for each event of the dataset: how badly it fits the rest of its
        user's profile among events of items as popular; NaN for a user's only item."""
        log = read(dataset)
        fit = event_fit(log)
        return np.where(np.isnan(fit), np.nan, misfit(log, fit)).astype(np.float32)

    def item_scores(self, dataset: Dataset) -> Floats:
        """(I,) higher is more like a target under attack; NaN for an item without events."""
        log = read(dataset)
        return np.where(log.counts > 0, Misfits.of(log).items, np.nan).astype(np.float32)
