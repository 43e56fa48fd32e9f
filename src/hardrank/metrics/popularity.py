"""Items by how often they were picked."""

import numpy as np

from hardrank.types import Ints

__all__ = ["popularity_groups"]


def popularity_groups(
    counts: Ints, *, tail_share: float = 0.15, head_share: float = 0.5
) -> list[str]:
    """(I,) `head`, `mid`, `tail` or `cold` of each item, from its events in training.

    cold: no event. tail: at or below the smallest count c such that the items with 1 to c
    events hold at least `tail_share` of all events (on Amazon Beauty c = 6 and a third of
    the held-out events, on MovieLens 100K c = 46 and a fifth). head: the most popular items
    that together hold at least `head_share` of the events, unless in the tail already. mid:
    the rest. Items with equal counts are always in one group.
    """
    counts = np.asarray(counts)
    events = np.bincount(counts) * np.arange(counts.max(initial=0) + 1)
    total = max(int(events.sum()), 1)
    tail = int(np.searchsorted(np.cumsum(events), tail_share * total))
    from_top = np.cumsum(events[::-1])[::-1]
    head = int(np.flatnonzero(from_top >= head_share * total)[-1]) if events.sum() else 1
    labels = np.where(counts >= head, "head", "mid")
    labels = np.where(counts <= tail, "tail", labels)
    return np.where(counts == 0, "cold", labels).tolist()  # type: ignore[no-any-return]
