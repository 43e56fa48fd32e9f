"""What changes while it serves: each monitor learns what is usual and says what is not.

Memory is bounded, `observe` is safe from many threads, and each class states how often it
alarms when nothing changes. Times are the caller's, in seconds.
"""

import math
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, chdtri

__all__ = [
    "Alarm",
    "EventSurges",
    "ExposureSurges",
    "GuardRate",
    "InputDrift",
    "ScoreShift",
    "ShareSurges",
    "State",
    "script_of",
    "stability_index",
]

Doubles = NDArray[np.float64]
_RECENT = 0.01
"""Weight of the newest verdict in a guard's rate of late."""


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


def stability_index(reference: ArrayLike, now: ArrayLike) -> float:
    """Population stability index, sum (p - q) log(p / q) of two histograms over the same bins,
    each bin with half a count more so that an empty one is not infinitely far. 0 for equal
    ones; by custom a shift above 0.1 is looked at and one above 0.25 is large. NaN where one
    histogram is empty."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (reference, now))
    if not a.sum() or not b.sum():
        return float("nan")
    p, q = ((x + 0.5) / (x + 0.5).sum() for x in (a, b))
    return float(((p - q) * np.log(p / q)).sum())


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


class _Histogram:
    """A reference of the first `reference` observations, then window after window against it.

    Where nothing changed the index of B bins is about (1/n + 1/m) chi-squared with B - 1
    degrees of freedom (Yurdakul, dissertation, Western Michigan University, 2018), n and m the
    observations of both. The threshold is its quantile at `false_alarms`, and `least` at least.
    """

    def __init__(self, reference: int, window: int, false_alarms: float, least: float) -> None:
        self.reference, self.window = reference, window
        self.false_alarms, self.least = false_alarms, least
        self.usual: Counter[int | str] = Counter()
        self.now: Counter[int | str] = Counter()
        self.begun = 0.0
        self.last: tuple[float, float] | None = None
        """(index, threshold) of the last full window."""

    def add(self, bin_: int | str, time: float) -> tuple[float, float] | None:
        """(index, threshold) when a window is full."""
        if self.usual.total() < self.reference:
            self.usual[bin_] += 1
            return None
        if not self.now:
            self.begun = time
        self.now[bin_] += 1
        if self.now.total() < self.window:
            return None
        common = [b for b, n in self.usual.items() if n >= 0.01 * self.reference]
        rows = [[c[b] for b in common] for c in (self.usual, self.now)]
        for row, counts in zip(rows, (self.usual, self.now), strict=True):
            row.append(counts.total() - sum(row))  # all rare bins as one
        self.now.clear()
        noise = 1 / self.reference + 1 / self.window
        bar = noise * float(chdtri(max(1, len(common)), self.false_alarms))
        self.last = stability_index(*rows), max(self.least, bar)
        return self.last

    def state(self, kind: str, subject: str, alarm: Alarm | None) -> State:
        if self.usual.total() < self.reference:
            return State(kind, subject, "learning")
        value, bar = self.last or (None, None)
        if alarm is None:
            return State(kind, subject, "quiet", 0.0, value, bar)
        return State(kind, subject, "alarm", 0.0, value, bar, alarm.since)


class ScoreShift:
    """The distribution of scores moved: another bundle, a broken encoder, an attack on all.

    Bins are tenths of the reference, which is the first `reference` scores after `begin`.
    Alarms falsely in a share `false_alarms` of windows, at most.
    """

    kind = "score-shift"

    def __init__(
        self,
        subject: str = "scores",
        *,
        reference: int = 5000,
        window: int = 2000,
        false_alarms: float = 1e-4,
        least: float = 0.1,
    ) -> None:
        """least: stability index below which a shift does not matter."""
        self._make = partial(_Histogram, reference, window, false_alarms, least)
        self._subject, self._reference = subject, reference
        self._first: list[float] = []
        self._edges: Doubles | None = None
        self._alarm: Alarm | None = None
        self._lock = threading.Lock()
        self.begin()

    def begin(self, reference: ArrayLike | None = None) -> None:
        """Learn anew what is usual, from `reference` (the former bundle's scores of a panel, so
        that the new one is compared with it) or from what comes."""
        with self._lock:
            self._first, self._edges, self._alarm = [], None, None
            self._held = self._make()
            if reference is not None:
                self._fix(np.asarray(reference, dtype=np.float64))

    def observe(self, scores: ArrayLike, *, time: float) -> None:
        with self._lock:
            for score in np.asarray(scores, dtype=np.float64).ravel().tolist():
                self._one(score, time)

    def alarms(self) -> list[Alarm]:
        """Of the last full window."""
        with self._lock:
            return [] if self._alarm is None else [self._alarm]

    def accept(self, subject: str) -> bool:
        """Scores as they come now are usual. False where nothing shifted."""
        if not any(alarm.subject == subject for alarm in self.alarms()):
            return False
        self.begin()
        return True

    def states(self) -> list[State]:
        with self._lock:
            if self._edges is None:
                return [State(self.kind, self._subject, "learning")]
            return [self._held.state(self.kind, self._subject, self._alarm)]

    def _one(self, score: float, time: float) -> None:
        if self._edges is None:
            self._first.append(score)
            if len(self._first) >= self._reference:
                self._fix(np.array(self._first))
            return
        found = self._held.add(self._bin(score), time)
        if found is not None:
            self._judge(*found)

    def _fix(self, scores: Doubles) -> None:
        self._edges = np.unique(np.quantile(scores, np.arange(1, 10) / 10))
        self._held.reference = len(scores)
        for score in scores.tolist():
            self._held.add(self._bin(score), 0.0)
        self._first = []

    def _bin(self, score: float) -> int:
        assert self._edges is not None
        return int(np.searchsorted(self._edges, score)) if math.isfinite(score) else -1

    def _judge(self, value: float, bar: float) -> None:
        if value <= bar:
            self._alarm = None
            return
        since = self._held.begun if self._alarm is None else self._alarm.since
        message = f"the distribution of {self._subject} moved: stability index {value:.2f}"
        self._alarm = Alarm(self.kind, self._subject, value, bar, since, message)


class InputDrift:
    """Texts are not what they were: their length, their share of unknown words, their script.

    Three stability indices against the first `reference` texts; at most a share `false_alarms`
    of windows alarms falsely. Scripts are those of the letters: a text of two is `mixed`.
    """

    kind = "input-drift"

    def __init__(
        self,
        known: Callable[[str], bool],
        *,
        reference: int = 1000,
        window: int = 500,
        false_alarms: float = 1e-4,
        least: float = 0.1,
    ) -> None:
        """known: whether a lower-case word is known (a set's `__contains__`)."""
        self._known, self._lock = known, threading.Lock()
        self._make = partial(_Histogram, reference, window, false_alarms / 3, least)
        self._held = {name: self._make() for name in ("length", "unknown words", "script")}
        self._alarms: dict[str, Alarm] = {}

    def observe(self, text: str, *, time: float) -> None:
        words = text.lower().split()
        unknown = sum(not self._known(w) for w in words) / max(1, len(words))
        bins: dict[str, int | str] = {
            "length": len(words).bit_length(),
            "unknown words": math.ceil(5 * unknown),
            "script": script_of(text),
        }
        with self._lock:
            for name, held in self._held.items():
                found = held.add(bins[name], time)
                if found is not None:
                    self._judge(name, held.begun, *found)

    def alarms(self) -> list[Alarm]:
        """Of the last full window."""
        with self._lock:
            return list(self._alarms.values())

    def accept(self, subject: str) -> bool:
        """Learn this feature anew. False where it did not drift."""
        with self._lock:
            if self._alarms.pop(subject, None) is None:
                return False
            self._held[subject] = self._make()
            return True

    def states(self) -> list[State]:
        with self._lock:
            held = self._held.items()
            return [h.state(self.kind, name, self._alarms.get(name)) for name, h in held]

    def _judge(self, name: str, begun: float, value: float, bar: float) -> None:
        standing = self._alarms.pop(name, None)
        if value > bar:
            since = begun if standing is None else standing.since
            message = f"the {name} of incoming texts moved: stability index {value:.2f}"
            self._alarms[name] = Alarm(self.kind, name, value, bar, since, message)


class GuardRate:
    """A guard stops more than it used to: CUSUM (Page, Biometrika 41, 1954) of Bernoulli trials.

        S <- max(0, S + log(p1^x (1 - p1)^(1 - x) / (p0^x (1 - p0)^(1 - x)))), alarm at S > h

    p0 is `usual`, or an upper limit of the rate behind the first `warm` verdicts (Clopper and
    Pearson, 99.9 %), so that a lucky start is not taken for the rule; p1 = `factor` p0.
    h = -log(false_alarms): while the rate is p0 or lower, there are at least 1 / false_alarms
    verdicts between false alarms on average (Lorden, Annals of Mathematical Statistics 42,
    1971, theorem 2). It is remembered until S is 0 again.
    """

    kind = "guard-rate"

    def __init__(
        self,
        guard: str,
        *,
        usual: float | None = None,
        warm: int = 1000,
        factor: float = 2.0,
        false_alarms: float = 1e-6,
    ) -> None:
        """usual: the share that the guard stops, where it is known, in (0, 1)."""
        self.guard, self.warm, self.factor = guard, warm, factor
        self.threshold = -math.log(false_alarms)
        self._lock = threading.Lock()
        self._seen, self._stopped, self._given = 0, 0, usual
        self._sum, self._since, self._ringing = 0.0, 0.0, False
        self._recent: float | None = None

    def observe(self, stopped: bool, *, time: float) -> None:
        with self._lock:
            recent = float(stopped) if self._recent is None else self._recent
            self._recent = recent + _RECENT * (stopped - recent)
            if self._given is None and self._seen < self.warm:
                self._seen, self._stopped = self._seen + 1, self._stopped + stopped
                return
            if self._sum == 0:
                self._since = time
            if self._given is None:
                self._given = self.usual
            usual = self._given
            raised = min(0.99, self.factor * usual)
            odds = raised / usual if stopped else (1 - raised) / (1 - usual)
            # Bounded above, or a long siege would ring for as long after it ended.
            self._sum = min(max(0.0, self._sum + math.log(odds)), 2 * self.threshold)
            self._ringing = self._sum > self.threshold or (self._ringing and self._sum > 0)

    @property
    def usual(self) -> float:
        """p0"""
        if self._given is not None:
            return self._given
        passed = max(1, self._seen - self._stopped)
        return min(0.9, float(betaincinv(self._stopped + 1, passed, 0.999)))

    def accept(self, subject: str) -> bool:
        """Learn the rate anew. False where it is as usual."""
        with self._lock:
            if subject != self.guard or not self._ringing:
                return False
            self._seen, self._stopped, self._given = 0, 0, None
            self._sum, self._ringing = 0.0, False
            return True

    def states(self) -> list[State]:
        """`present` is the rate of late, an exponential mean over about 100 verdicts; the
        threshold is `factor` times the usual."""
        with self._lock:
            if self._given is None and self._seen < self.warm:
                return [State(self.kind, self.guard, "learning")]
            usual = self.usual
            phase: Literal["quiet", "alarm"] = "alarm" if self._ringing else "quiet"
            since = self._since if self._ringing else None
            bar = min(0.99, self.factor * usual)
            return [State(self.kind, self.guard, phase, usual, self._recent, bar, since)]

    def alarms(self) -> list[Alarm]:
        with self._lock:
            if not self._ringing:
                return []
            message = f"guard '{self.guard}' stops far more than its usual {self.usual:.1%}"
            return [Alarm(self.kind, self.guard, self._sum, self.threshold, self._since, message)]


def script_of(text: str) -> str:
    """`latin`, `cyrillic`, `cjk`, ...; `mixed` for letters of two scripts, `none` without."""
    found = {unicodedata.name(c, "unknown").split()[0].lower() for c in text if c.isalpha()}
    if not found:
        return "none"
    return found.pop() if len(found) == 1 else "mixed"
