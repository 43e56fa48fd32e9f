"""A scan statistic over time: which events are part of a burst of their item.

Kulldorff, Communications in Statistics 1997, without space: the number of an item's events in
a window against what the log's own pace lets one expect.
"""

import numpy as np
from scipy.stats import poisson

from hardrank.detection.parts import Log, Numbers
from hardrank.types import Ints

__all__ = ["event_bursts"]

_LARGEST = 512
"""Events of the longest window that is tried."""
_AROUND = 8
"""So many times as many events around a window say what the item's pace was then."""


def event_bursts(log: Log) -> Numbers:
    """(E,) -ln p of the most surprising window of its item that holds the event, made good for
    the number of windows tried; 0 for no surprise, NaN for an event without a time.

    Time runs by the log's own pace: equal numbers of events take equally long, so a busy week
    of the shop is not a burst of each of its items. Of an item with n events in windows that
    hold a share d of all events, Poisson(n d) are expected, or more where eight times as many
    events around the window say so: an item that slowly rises or fades has no burst. Windows
    span 3, 6, 12, ... events
    of the item, so the work grows with E log E.
    """
    known = np.flatnonzero(~np.isnan(log.times))
    out = np.full(len(log.times), np.nan)
    if not len(known):
        return out
    clock = _pace(log.times[known])
    order = np.lexsort((clock, log.items[known]))
    out[known[order]] = _scan(log.items[known][order], clock[order])
    return out


def _pace(times: Numbers) -> Numbers:
    """(E,) share of all events that are not later: time by the log's own pace."""
    return np.searchsorted(np.sort(times), times, side="right") / len(times)


def _scan(items: Ints, clock: Numbers) -> Numbers:
    """Over events sorted by item and time."""
    sizes = np.bincount(items)[items]
    starts = np.searchsorted(items, items)
    best = np.zeros(len(items))
    width = 3
    while width <= min(int(sizes.max()), _LARGEST):
        first = np.arange(len(items) - width + 1)
        first = first[items[first] == items[first + width - 1]]
        n, begins = sizes[first], starts[first]
        lasts = _duration(clock, first, width)
        expected = n * lasts
        long = np.flatnonzero(n >= _AROUND * width)
        if len(long):
            around = first[long] - (_AROUND - 1) * width // 2
            around = np.clip(around, begins[long], (begins + n)[long] - _AROUND * width)
            pace = _AROUND * width / _duration(clock, around, _AROUND * width)
            expected[long] = np.maximum(expected[long], pace * lasts[long])
        # the first event stands where the window starts: the others are the surprise
        found = -poisson.logsf(width - 2, expected) - np.log(2.0 * n)
        _raise(best, first, np.minimum(found, 700.0), width)
        width *= 2
    return best


def _duration(clock: Numbers, first: Ints, width: int) -> Numbers:
    """Of the windows that start there; one event of the log is the least that one can last."""
    return np.maximum(clock[first + width - 1] - clock[first], 1.0 / len(clock))


def _raise(best: Numbers, first: Ints, found: Numbers, width: int) -> None:
    """best[f : f + width] = max(what stands there, found[f]), by doubling."""
    cover = np.full(len(best), -np.inf)
    cover[first] = found
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        cover[step:] = np.maximum(cover[step:], cover[:-step].copy())
        reach += step
    np.maximum(best, cover, out=best)
