"""What users did, at hand: the bundle's log and the store's events, remembered for a while."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Histories", "Known"]

_KEPT, _TURNS = 50_000, 500_000
_ERA = 1 << 40


@dataclass(frozen=True, slots=True)
class Known:
    """A user's history, and since when it is believed."""

    items: tuple[str, ...]
    """Item ids, oldest first."""
    fresh: bool
    """Whether events came after the bundle was made."""
    since: float
    turn: int


class Histories:
    """One entry a user; safe for threads. `turn` of a user grows with everything this process
    learns of them, so that an answer made before is not given after."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._turns: dict[str, int] = {}
        self._era = 0
        self._heard = -1e18
        self._lock = threading.Lock()

    def get(self, user_id: str) -> Known | None:
        """What is still believed."""
        found = self._known.get(user_id)
        if found is None or self._clock() - max(found.since, self._heard) > self._seconds:
            return None
        return found

    def heard(self) -> None:
        """Everybody of whom the store has something new was forgotten by now: what is known
        of all others holds as if it had just been asked for."""
        self._heard = self._clock()

    def stale(self, user_id: str) -> Known | None:
        """What was believed last: better than nothing while the store is away."""
        return self._known.get(user_id)

    def turn(self, user_id: str) -> int:
        return self._turns.get(user_id, self._era)

    def keep(self, user_id: str, items: tuple[str, ...], *, fresh: bool, turn: int) -> Known:
        """turn: as it was before the store was asked; what came since is not lost."""
        known = Known(items, fresh, self._clock(), turn)
        with self._lock:
            if self.turn(user_id) == turn:
                self._known[user_id] = known
                self._known.move_to_end(user_id)
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return known

    def forget(self, user_id: str) -> None:
        """Something changed: the next request asks the store."""
        with self._lock:
            self._turns[user_id] = self.turn(user_id) + 1
            self._known.pop(user_id, None)
            if len(self._turns) > _TURNS:
                self._anew()

    def clear(self) -> None:
        """Another bundle has another log."""
        with self._lock:
            self._anew()

    def _anew(self) -> None:
        """Nobody's turn is what it was."""
        self._era += _ERA
        self._turns.clear()
        self._known.clear()
