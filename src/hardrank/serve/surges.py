"""Monitors of items: whose share of lists or events rises."""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Literal

from scipy.special import betainc

from hardrank.serve.alarms import Alarm, State

__all__ = ["EventSurges", "ExposureSurges", "ShareSurges"]


class ShareSurges:
    """Items whose share rises against their own history.

    Windows of `window` observations. An item that had h of H observations before and c of n
    now is tested by the conditional binomial test of two Poisson rates: given c + h, c is
    Binomial(c + h, n / (n + H)) where nothing changed. It is named when that is less likely
    than `false_alarms` over the number of items looked at (so that at most that share of
    windows has a false alarm), its share is `factor` times the usual, and at least `share`.

    History fades by `fade` a window; a surge does not count as history, or it would be usual
    an hour later. `accept` makes it usual: a sale, a film that won a prize.
    """

    kind = "share-surge"
    of = "observations"

    def __init__(
        self,
        *,
        window: int = 1000,
        warm: int = 5,
        fade: float = 0.95,
        factor: float = 3.0,
        share: float = 0.01,
        false_alarms: float = 1e-3,
        limit: int = 100_000,
    ) -> None:
        """warm: windows before the first test; limit: items whose history is kept."""
        self.window, self.warm, self.fade = window, warm, fade
        self.factor, self.share, self.false_alarms = factor, share, false_alarms
        self._limit, self._lock = limit, threading.Lock()
        self._history: dict[str, float] = {}
        self._total, self._windows = 0.0, 0
        self._now: Counter[str] = Counter()
        self._n, self._begun = 0, 0.0
        self._alarms: dict[str, Alarm] = {}
        self._nearest: tuple[str, float, float, float] | None = None

    def observe(self, items: Iterable[str], *, time: float) -> None:
        """One observation and the distinct items in it."""
        with self._lock:
            if not self._n:
                self._begun = time
            self._now.update(set(items))
            self._n += 1
            if self._n >= self.window:
                self._close()

    def alarms(self) -> list[Alarm]:
        """Of the last full window, the greatest share first."""
        with self._lock:
            return sorted(self._alarms.values(), key=lambda a: (-a.value, a.subject))

    def accept(self, item: str) -> bool:
        """This item's present share is usual from now on. False where it does not surge."""
        with self._lock:
            alarm = self._alarms.pop(item, None)
            if alarm is not None:
                self._history[item] = alarm.value * self._total
            return alarm is not None

    def states(self) -> list[State]:
        """One, of the item that came nearest to its threshold in the last full window."""
        with self._lock:
            if self._nearest is None:
                return [State(self.kind, "", "learning")]
            item, usual, present, bar = self._nearest
            alarm = self._alarms.get(item)
            phase: Literal["quiet", "alarm"] = "alarm" if self._alarms else "quiet"
            since = None if alarm is None else alarm.since
            return [State(self.kind, item, phase, usual, present, bar, since)]

    def _close(self) -> None:
        found = self._tested() if self._windows >= self.warm else {}
        self._nearest = self._near(found)
        usual = {i: self._n * self._history.get(i, 0.0) / max(self._total, 1) for i in found}
        for item in self._history.keys() | self._now.keys():
            seen = usual.get(item, self._now.get(item, 0))
            self._history[item] = self.fade * self._history.get(item, 0.0) + seen
        self._total = self.fade * self._total + self._n
        if len(self._history) > self._limit:
            kept = sorted(self._history.items(), key=lambda pair: -pair[1])[: self._limit]
            self._history = dict(kept)
        self._history = {i: h for i, h in self._history.items() if h > 1e-3}
        self._alarms, self._windows = found, self._windows + 1
        self._now.clear()
        self._n = 0

    def _tested(self) -> dict[str, Alarm]:
        level = self.false_alarms / max(1, len(self._history.keys() | self._now.keys()))
        part = self._n / (self._n + self._total)
        found = {}
        for item, count in self._now.items():
            share, before = count / self._n, self._history.get(item, 0.0)
            bar = max(self.share, self.factor * before / self._total)
            if share >= bar and betainc(count, before + 1, part) < level:
                found[item] = self._alarm(item, share, bar, before / self._total)
        return found

    def _near(self, found: Iterable[str]) -> tuple[str, float, float, float] | None:
        """(item, usual share, present share, threshold); of those that surge, if any do."""
        if self._windows < self.warm:
            return None
        near, best = None, -1.0
        for item in set(found) or self._now:
            before = self._history.get(item, 0.0) / self._total
            share, bar = self._now[item] / self._n, max(self.share, self.factor * before)
            if share / max(bar, 1e-9) > best:
                near, best = (item, before, share, bar), share / max(bar, 1e-9)
        return near

    def _alarm(self, item: str, share: float, bar: float, before: float) -> Alarm:
        standing = self._alarms.get(item)
        since = self._begun if standing is None else standing.since
        message = f"item '{item}' is in {share:.1%} of {self.of}, usually in {before:.2%}"
        return Alarm(self.kind, item, share, bar, since, message)


class ExposureSurges(ShareSurges):
    """See `ShareSurges`; an observation is a list that was shown, the items those in it."""

    kind = "exposure-surge"
    of = "the lists shown"


class EventSurges(ShareSurges):
    """See `ShareSurges`; an observation is an event, so that busy hours alone alarm nobody."""

    kind = "event-surge"
    of = "the events"
