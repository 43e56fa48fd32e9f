"""Rates and quotas: what one key may use."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

__all__ = ["Buckets", "Quotas"]

_KEPT = 100_000
"""Names remembered; the ones seen longest ago are forgotten first."""
_LEASE = 50
"""Units that are fetched from the store at once: a restart loses so many at most."""

Spend = Callable[[str, int], Awaitable[bool]]
"""(key id, units) -> whether the store counted them against the day's quota."""


class Buckets:
    """A token bucket for each name: `burst` at once, `rate` a second in the long run."""

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, name: str, cost: float = 1.0) -> float:
        """0 where it may go on (and has paid), else seconds until it may."""
        now = self._clock()
        left = self._now(name, now)
        if left < cost:
            return (cost - left) / self._rate
        self._left[name] = (left - cost, now)
        self._left.move_to_end(name)
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)
        return 0.0

    def empty(self, name: str) -> float:
        """As `wait` for one unit, without paying."""
        return max(0.0, 1.0 - self._now(name, self._clock())) / self._rate

    def _now(self, name: str, now: float) -> float:
        """A clock that jumps back takes nothing away."""
        left, since = self._left.get(name, (self._burst, now))
        return min(self._burst, left + max(0.0, now - since) * self._rate)


class Quotas:
    """Daily quotas that the store keeps, fetched in small leases so that a request waits for
    the store once in fifty. What the store said no to stays no until the next day (UTC)."""

    def __init__(self, spend: Spend, clock: Callable[[], float] = time.time) -> None:
        self._spend, self._clock = spend, clock
        self._leases: dict[str, tuple[str, int]] = {}
        self._empty: dict[str, str] = {}
        self._turn = asyncio.Lock()

    async def wait(self, key_id: str, quota: int | None) -> float:
        """0 where it may go on (and is counted), else seconds until midnight UTC."""
        if quota is None:
            return 0.0
        day = self._day()
        if self._empty.get(key_id) == day:
            return self._to_midnight()
        async with self._turn:
            leased, left = self._leases.get(key_id, (day, 0))
            if leased != day or left == 0:
                left = await self._fetch(key_id, max(1, min(_LEASE, quota // 20)))
            if left == 0:
                self._empty[key_id] = day
                return self._to_midnight()
            self._leases[key_id] = (day, left - 1)
            return 0.0

    async def take(self, key_id: str, quota: int, units: int) -> float:
        """As `wait`, for so many at once: all are counted, or none."""
        day = self._day()
        async with self._turn:
            leased, left = self._leases.get(key_id, (day, 0))
            left = left if leased == day else 0
            more = max(0, units - left)
            if units > quota or (more and not await self._spend(key_id, more)):
                return self._to_midnight()
            self._leases[key_id] = (day, max(0, left - units))
            return 0.0

    async def _fetch(self, key_id: str, units: int) -> int:
        if await self._spend(key_id, units):
            return units
        return 1 if units > 1 and await self._spend(key_id, 1) else 0

    def _day(self) -> str:
        return datetime.fromtimestamp(self._clock(), UTC).date().isoformat()

    def _to_midnight(self) -> float:
        now = datetime.fromtimestamp(self._clock(), UTC)
        end = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return max(1.0, (end - now).total_seconds())
