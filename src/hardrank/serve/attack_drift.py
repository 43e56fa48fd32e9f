"""Whether those who attack do something else than they used to: time to audit again."""

import hashlib
import threading
from collections import deque

import numpy as np

from hardrank.serve.monitors import Alarm, State
from hardrank.types import Floats

__all__ = ["AttackDrift", "features_of"]

_GUARDS = 8
"""Places for the guard that stopped it; guards share them by hash."""


def features_of(text: str, guard: str, score: float) -> Floats:
    """(15,) what a listing that was stopped looks like: length, shares of digits, capitals,
    letters beyond ASCII and other signs, repeated words, the score, and which guard it was."""
    letters, words = max(1, len(text)), text.lower().split()
    shares = [
        sum(map(str.isdigit, text)) / letters,
        sum(map(str.isupper, text)) / letters,
        sum(ord(c) > 127 for c in text) / letters,
        sum(not (c.isalnum() or c.isspace()) for c in text) / letters,
        1 - len(set(words)) / max(1, len(words)),
    ]
    place = hashlib.blake2b(guard.encode("utf-8", "replace"), digest_size=1).digest()[0] % _GUARDS
    which = np.eye(_GUARDS)[place]
    return np.array([np.log1p(len(text)) / 8, *shares, score, *which], dtype=np.float32)


class AttackDrift:
    """Windows of `window` stopped listings against a rolling pool of earlier ones, by the energy
    distance (Szekely and Rizzo, Journal of Statistical Planning and Inference 143, 2013), which
    is a maximum mean discrepancy with kernel -|x - y| (Sejdinovic et al., Annals of Statistics
    41, 2013):

        2 mean |x - y| - mean |x - x'| - mean |y - y'|

    Its threshold is that of a permutation test, so that at most a share `false_alarms` of the
    windows alarms where nothing changed. A window that alarms is not taken into the pool.
    """

    kind = "attack-drift"
    subject = "stopped listings"

    def __init__(
        self,
        *,
        pool: int = 300,
        window: int = 40,
        false_alarms: float = 0.01,
        permutations: int = 299,
        seed: int = 0,
    ) -> None:
        """pool: listings that are compared with, and that it takes to begin."""
        self.window, self.false_alarms = window, false_alarms
        self._pool: deque[Floats] = deque(maxlen=pool)
        self._now: list[Floats] = []
        self._permutations, self._rng = permutations, np.random.default_rng(seed)
        self._begun = 0.0
        self._last: tuple[float, float] | None = None
        self._alarm: Alarm | None = None
        self._lock = threading.Lock()

    def observe(self, features: Floats, *, time: float) -> None:
        """features: (F,) of one listing that was stopped."""
        with self._lock:
            if len(self._pool) < (self._pool.maxlen or 0):
                self._pool.append(features)
                return
            if not self._now:
                self._begun = time
            self._now.append(features)
            if len(self._now) == self.window:
                self._close()

    def alarms(self) -> list[Alarm]:
        """Of the last full window."""
        with self._lock:
            return [] if self._alarm is None else [self._alarm]

    def accept(self, subject: str) -> bool:
        """Learn anew what attacks look like. False where nothing changed."""
        with self._lock:
            if subject != self.subject or self._alarm is None:
                return False
            self._pool.clear()
            self._now, self._alarm, self._last = [], None, None
            return True

    def states(self) -> list[State]:
        with self._lock:
            if len(self._pool) < (self._pool.maxlen or 0):
                return [State(self.kind, self.subject, "learning")]
            value, bar = self._last or (None, None)
            if self._alarm is None:
                return [State(self.kind, self.subject, "quiet", 0.0, value, bar)]
            since = self._alarm.since
            return [State(self.kind, self.subject, "alarm", 0.0, value, bar, since)]

    def _close(self) -> None:
        value, bar = self._tested(np.array([*self._pool, *self._now]))
        self._last = value, bar
        if value > bar:
            since = self._begun if self._alarm is None else self._alarm.since
            message = (
                f"what guards stop is not what it was (energy distance {value:.3f}, by chance at "
                f"most {bar:.3f}): audit the model against the new attacks"
            )
            self._alarm = Alarm(self.kind, self.subject, value, bar, since, message)
        else:
            self._alarm = None
            self._pool.extend(self._now)
        self._now = []

    def _tested(self, all_: Floats) -> tuple[float, float]:
        """(distance of the last `window` rows to the others, threshold)."""
        n, m = len(all_), self.window
        apart = np.linalg.norm(all_[:, None] - all_[None], axis=2)
        orders = [np.arange(n), *(self._rng.permutation(n) for _ in range(self._permutations))]
        marks = np.zeros((len(orders), n))
        for row, order in zip(marks, orders, strict=True):
            row[order[-m:]] = 1.0
        rest = 1.0 - marks
        inner = np.einsum("pn,pn->p", marks @ apart, marks) / m**2
        outer = np.einsum("pn,pn->p", rest @ apart, rest) / (n - m) ** 2
        between = np.einsum("pn,pn->p", marks @ apart, rest) / (m * (n - m))
        found = 2 * between - inner - outer
        kept = np.sort(found)[::-1]
        place = max(0, int(self.false_alarms * len(found)) - 1)
        return float(found[0]), float(kept[place + 1])
