"""What a monitor says: that something is not as usual, and where it stands."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Alarm", "State"]


@dataclass(frozen=True)
class Alarm:
    kind: str
    subject: str
    """The item, guard, bundle or feature."""
    value: float
    threshold: float
    since: float
    """Seconds, of the first window or event in which it was seen."""
    message: str


@dataclass(frozen=True)
class State:
    """Where a monitor stands; numbers are None while it learns what is usual."""

    kind: str
    subject: str
    """As in `Alarm`; of a monitor of items the one that is nearest to its threshold."""
    phase: Literal["learning", "quiet", "alarm"]
    usual: float | None = None
    present: float | None = None
    threshold: float | None = None
    since: float | None = None
    """Seconds, of the alarm that stands."""
