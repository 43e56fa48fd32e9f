"""What changes while it serves: each monitor learns what is usual and says what is not.

Memory is bounded, `observe` is safe from many threads, and each class states how often it
alarms when nothing changes. Times are the caller's, in seconds.
"""

import math
import threading
from typing import Literal

from scipy.special import betaincinv

from hardrank.serve.alarms import Alarm, State
from hardrank.serve.drift import InputDrift, ScoreShift, script_of, stability_index
from hardrank.serve.surges import EventSurges, ExposureSurges, ShareSurges

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

_RECENT = 0.01
"""Weight of the newest verdict in a guard's rate of late."""


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
