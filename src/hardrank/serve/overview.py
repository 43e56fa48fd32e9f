"""Health and load in numbers that a page can show."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from prometheus_client import Histogram, Metric

from hardrank.serve.errors import StoreError
from hardrank.serve.metrics import Metrics
from hardrank.serve.records import Counts

__all__ = ["Tally", "buckets", "by_label", "percentile", "route_loads", "value_of"]

_EVERY, _PATIENCE = 60.0, 0.5

Bins = list[tuple[float, int]]
"""(upper end in seconds, requests in the bin), the last end infinite."""


class Tally:
    """What the store holds, counted once a minute: that reads whole tables."""

    def __init__(self, count: Callable[[], Awaitable[Counts]]) -> None:
        self._count = count
        self._last: Counts | None = None
        self._at = -_EVERY
        self._running: asyncio.Task[None] | None = None

    async def now(self) -> Counts | None:
        """The newest count; None while the first is going on. Waits half a second at most."""
        if self._running is None and time.monotonic() - self._at >= _EVERY:
            self._running = asyncio.create_task(self._work())
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_PATIENCE)
        return self._last

    async def _work(self) -> None:
        try:
            self._last = await self._count()
            self._at = time.monotonic()
        except StoreError:
            self._last = None  # the next question counts anew
        finally:
            self._running = None


def by_label(metric: Any, label: str) -> dict[str, int]:
    """Totals of a counter by one of its labels."""
    found = Counter[str]()
    for family in metric.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                found[sample.labels[label]] += int(sample.value)
    return dict(found)


def value_of(metric: Any) -> int:
    """Of a gauge or counter without labels."""
    return int(metric.collect()[0].samples[0].value)


def buckets(histogram: Histogram, route: str) -> Bins:
    """Of one route; empty where nobody asked it."""
    return _bins(histogram.collect()).get(route, [])


def percentile(bins: Sequence[tuple[float, int]], share: float) -> float | None:
    """Seconds below which that share of the requests stayed, linear within a bin; the end of
    the last closed bin where it lies beyond. None of nothing."""
    wanted, below, start = share * sum(n for _, n in bins), 0, 0.0
    if not wanted:
        return None
    for end, n in bins:
        if n and below + n >= wanted:
            return start if end == float("inf") else start + (end - start) * (wanted - below) / n
        below, start = below + n, end
    return start


def route_loads(metrics: Metrics) -> list[dict[str, Any]]:
    """Requests, refusals, faults and times of each route, busiest first."""
    counts: dict[str, Counter[str]] = {}
    for family in metrics.requests.collect():
        for s in family.samples:
            if s.name.endswith("_total"):
                counts.setdefault(s.labels["route"], Counter())[s.labels["status"][:1]] += int(
                    s.value
                )
    bins = _bins(metrics.seconds.collect())
    loads = [
        {
            "route": route, "requests": sum(by.values()), "refused": by["4"], "failed": by["5"],
            "p50_ms": _ms(percentile(bins.get(route, []), 0.5)),
            "p99_ms": _ms(percentile(bins.get(route, []), 0.99)),
        } for route, by in counts.items()
    ]  # fmt: skip
    return sorted(loads, key=lambda load: (-load["requests"], load["route"]))


def _bins(families: Iterable[Metric]) -> dict[str, Bins]:
    out: dict[str, Bins] = {}
    for family in families:
        for s in family.samples:
            if s.name.endswith("_bucket"):
                mine = out.setdefault(s.labels["route"], [])
                before = sum(n for _, n in mine)
                mine.append((float(s.labels["le"]), int(s.value) - before))
    return out


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 2)
