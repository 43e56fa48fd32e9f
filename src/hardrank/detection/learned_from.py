"""What the logs had that a detector learned from: in one without it he sees nobody."""

from collections.abc import Iterable
from typing import Any

from hardrank.data import Dataset
from hardrank.errors import DataError

__all__ = ["columns_of", "comparable"]

_NAMES = {"rating": "ratings", "time": "times"}


def columns_of(logs: Iterable[Dataset]) -> tuple[str, ...]:
    """Those of `rating` and `time` that some event of each log has."""
    found = [{c for c in _NAMES if log.events[c].null_count() < log.n_events} for log in logs]
    return tuple(c for c in _NAMES if found and all(c in one for one in found))


def comparable(detector: Any, data: Dataset) -> None:
    """Nothing. Raises `DataError` where the detector learned from logs with ratings or times
    and this one has none: all users are alike in what it reads, so it would flag nobody and
    say nothing by that. A detector that learned nothing, or was kept by a version that did not
    write this down, is not asked."""
    learned = getattr(getattr(detector, "base", detector), "columns", ())
    lacks = [c for c in learned if c not in columns_of([data])]
    if not lacks:
        return
    names = " and ".join(_NAMES[c] for c in lacks)
    spelled = ", ".join(f'{c} = "..."' for c in lacks)
    raise DataError(
        f"{data.name} has no {names}, and the detector learned from logs with {names}: what it "
        "flags there says nothing",
        field="events",
        remedy=f"name the columns in the file of --data (data.columns = {{ {spelled} }} of a "
        "table), fit a detector on a log that has none, either (hardrank detect fit), or take a "
        "kind that learns nothing, such as pca-select",
    )
