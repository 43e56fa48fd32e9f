"""Monitors of distributions: of scores, and of what is in incoming texts."""

import math
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtri

from hardrank.serve.alarms import Alarm, State

__all__ = ["InputDrift", "ScoreShift", "script_of", "stability_index"]

Doubles = NDArray[np.float64]


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


def script_of(text: str) -> str:
    """`latin`, `cyrillic`, `cjk`, ...; `mixed` for letters of two scripts, `none` without."""
    found = {unicodedata.name(c, "unknown").split()[0].lower() for c in text if c.isalpha()}
    if not found:
        return "none"
    return found.pop() if len(found) == 1 else "mixed"
