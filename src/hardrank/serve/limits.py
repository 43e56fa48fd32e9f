"""Rates, quotas and sizes: what one key may use."""

import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Buckets", "Quotas"]

_DAY = 86_400
_KEPT = 100_000
"""Names remembered; the ones seen longest ago are forgotten first."""


class Buckets:
    """A token bucket for each name: `burst` at once, `rate` a second in the long run."""

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, name: str, cost: float = 1.0) -> float:
        """0 where it may go on (and has paid), else seconds until it may."""
        left = self.left(name)
        if left < cost:
            return (cost - left) / self._rate
        self._left[name] = (left - cost, self._clock())
        self._left.move_to_end(name)
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)
        return 0.0

    def left(self, name: str) -> float:
        """What the name may still use now. A clock that jumps back takes nothing away."""
        left, since = self._left.get(name, (self._burst, 0.0))
        return min(self._burst, left + max(0.0, self._clock() - since) * self._rate)


class Quotas:
    """Requests of each key in the current day (UTC)."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._day, self._used = clock, -1, dict[str, int]()

    def wait(self, name: str, quota: int | None) -> float:
        """0 where it may go on (and is counted), else seconds until midnight UTC."""
        now = self._clock()
        day = int(now // _DAY)
        if day > self._day:  # a clock that jumps back opens no new day
            self._day, self._used = day, {}
        used = self._used.get(name, 0)
        if quota is not None and used >= quota:
            return max(1.0, (self._day + 1) * _DAY - now)
        self._used[name] = used + 1
        return 0.0
