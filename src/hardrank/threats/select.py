"""Which items are attacked: a selection such as `unpopular:20`, drawn with an rng."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset
from hardrank.errors import DataError
from hardrank.types import Ints

__all__ = ["SELECTIONS", "Selection", "draw", "members", "parse"]

SELECTIONS = {
    "unpopular": "items with at least 1 training event, in the lowest quarter of those",
    "cold": "items without any training event",
    "rare": "items with LOW to HIGH training events, as in rare:20:2-5",
    "popular": "items in the highest quarter of those with a training event",
    "random": "any items",
}
"""Group -> who is in it. A selection reads `group:count`; for `rare`, `rare:count:low-high`."""

_FORM = re.compile(r"(?P<group>[a-z]+):(?P<count>[1-9]\d*)(:(?P<low>\d+)-(?P<high>\d+))?")


@dataclass(frozen=True)
class Selection:
    group: str
    count: int
    low: int = 0
    high: int = 0
    """Training events, both inclusive; only of `rare`."""


def parse(text: str) -> Selection:
    """Read `unpopular:20`. Raises `ValueError` that lists the forms there are."""
    found = _FORM.fullmatch(text)
    if not found or found["group"] not in SELECTIONS:
        groups = ", ".join(SELECTIONS)
        raise ValueError(f"no selection: '{text}'; write group:count, group one of {groups}")
    if (found["group"] == "rare") != (found["low"] is not None):
        raise ValueError(f"no selection: '{text}'; a range belongs to rare: rare:20:2-5")
    low, high = int(found["low"] or 0), int(found["high"] or 0)
    if low > high:
        raise ValueError(f"no selection: '{text}'; {low} is above {high}")
    return Selection(found["group"], int(found["count"]), low, high)


def draw(selection: Selection, train: Dataset, rng: np.random.Generator) -> Ints:
    """Item rows in ascending order, drawn without replacement from the group.

    Raises `DataError` when the group is smaller than the selection.
    """
    inside = np.flatnonzero(members(selection, train.counts))
    if len(inside) < selection.count:
        raise DataError(
            f"{train.name}: {selection.count} '{selection.group}' targets wanted, the training "
            f"data has {len(inside)} ({SELECTIONS[selection.group]})",
            remedy="ask for fewer or choose another group",
        )
    return np.sort(rng.choice(inside, size=selection.count, replace=False)).astype(np.int64)


def members(selection: Selection, counts: Ints) -> NDArray[np.bool_]:
    """(I,) who is in the group. counts: (I,) training events."""
    touched = counts[counts > 0]
    inside: NDArray[np.bool_] = np.zeros(len(counts), dtype=bool)
    match selection.group:
        case "cold":
            inside = counts == 0
        case "rare":
            inside = (counts >= selection.low) & (counts <= selection.high)
        case "unpopular" if len(touched):
            inside = (counts > 0) & (counts <= int(np.quantile(touched, 0.25)))
        case "popular" if len(touched):
            inside = counts >= int(np.ceil(np.quantile(touched, 0.75)))
        case "random":
            inside = ~inside
    return inside
