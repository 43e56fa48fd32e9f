"""Counters of a stream that forget: constant memory and work for each event."""

from dataclasses import dataclass, field
from math import sqrt
from typing import NamedTuple

__all__ = ["Decayed", "Gap", "Gaps", "Pace"]

_HOUR, _WEEK = 3_600.0, 7 * 86_400.0
_FORGET = 1 / 32
"""Share of the past that each gap replaces."""


@dataclass(slots=True)
class Decayed:
    """Events of late, each counting half after `half_life` seconds."""

    half_life: float
    count: float = 0.0
    time: float = float("-inf")

    def at(self, time: float) -> float:
        """The count at `time`; a time before the latest is taken for the latest."""
        if self.count == 0.0:
            return 0.0
        return self.count * float(0.5 ** (max(time - self.time, 0.0) / self.half_life))

    def add(self, time: float) -> float:
        """One more; the count with it."""
        self.count = self.at(time) + 1.0
        self.time = max(self.time, time)
        return self.count


class Gap(NamedTuple):
    mean: float
    """Seconds."""
    share: float
    """Standard deviation as a share of the mean; infinite for a mean of 0."""


@dataclass(slots=True)
class Gaps:
    """How regular the gaps between events are: mean and variance that forget
    (West, CACM 1979, with a constant share for the new value once there are 32)."""

    n: int = 0
    mean: float = 0.0
    variance: float = 0.0
    time: float | None = None

    def add(self, time: float) -> Gap:
        """The gap to the event before; an event that is reported late has no gap."""
        last, self.time = self.time, time if self.time is None else max(self.time, time)
        if last is not None and time >= last:
            self.n += 1
            share = max(1 / self.n, _FORGET)
            away = (time - last) - self.mean
            self.mean += share * away
            self.variance = (1 - share) * (self.variance + share * away * away)
        return Gap(self.mean, sqrt(self.variance) / self.mean if self.mean > 0 else float("inf"))


@dataclass(slots=True)
class Pace:
    """An item's, or the shop's, hour against its week."""

    hour: Decayed = field(default_factory=lambda: Decayed(_HOUR))
    """Of all events that were tried."""
    taken: Decayed = field(default_factory=lambda: Decayed(_HOUR))
    """Of admitted events."""
    week: Decayed = field(default_factory=lambda: Decayed(_WEEK))
    """Of admitted events: a flood must not become what is expected."""

    def see(self, time: float) -> float:
        """An event is tried; the hour's count with it."""
        return self.hour.add(time)

    def take(self, time: float) -> None:
        """It is admitted."""
        self.taken.add(time)
        self.week.add(time)

    def expected(self, time: float) -> float:
        """Of the hour's count, by the week's rate."""
        return self.week.at(time) * _HOUR / _WEEK

    def busy(self, time: float) -> float:
        """The hour's admitted events as a multiple of what the week lets one expect; 1 where
        nothing is known."""
        expected = self.expected(time)
        return self.taken.at(time) / expected if expected > 0 else 1.0
