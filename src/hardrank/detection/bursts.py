"""Users who take part in a rush on an item."""

from typing import Literal

import numpy as np

from hardrank.data import Dataset
from hardrank.detection.parts import largest, read
from hardrank.detection.scan import event_bursts
from hardrank.types import Floats, spec

__all__ = ["Bursts"]


@spec
class Bursts:
    """Many events with one item within a short time, measured by the log's own pace.

    A scan statistic (Kulldorff 1997) for each item; see `scan.event_bursts`. A user's score
    is the most significant burst that he is part of. News, films on their first weekend and
    sales are bursts, too; an attacker who spreads his events over months is none.
    """

    kind: Literal["bursts"] = "bursts"

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) -ln p, at least 0; NaN for users without a timed event: nobody is judged in a
        log without times."""
        log = read(dataset)
        known = ~np.isnan(log.times)
        found = largest(event_bursts(log)[known], log.users[known], log.n_users)
        return found.astype(np.float32)

    def event_scores(self, dataset: Dataset) -> Floats:
        """(E,) of the burst that each event is part of; NaN where it has no time."""
        return event_bursts(read(dataset)).astype(np.float32)

    def item_scores(self, dataset: Dataset) -> Floats:
        """(I,) the item's most significant burst; NaN where it has no timed event."""
        log = read(dataset)
        known = ~np.isnan(log.times)
        found = largest(event_bursts(log)[known], log.items[known], log.n_items)
        return found.astype(np.float32)
