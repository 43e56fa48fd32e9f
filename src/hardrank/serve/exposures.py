"""How often each item was shown, minute by minute: what a chart of the console draws."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Course", "Courses", "Exposures"]

_ITEMS = 200
"""Items kept of a minute that is over, the most shown ones."""


@dataclass(frozen=True)
class Course:
    """The share of lists with an item, minute by minute."""

    item_id: str
    share: float
    """Of the lists of the last `recent` minutes."""
    history: tuple[float | None, ...]
    """Oldest first; None for a minute without a list."""


@dataclass(frozen=True)
class Courses:
    lists: tuple[int, ...]
    """Lists looked at in each minute, oldest first."""
    items: tuple[Course, ...]
    """Those shown most in the last `recent` minutes first."""


class Exposures:
    """Safe for threads. Keeps `minutes` minutes of 200 items each and no more; a minute is one
    of `clock`, which never goes back."""

    def __init__(
        self, minutes: int = 240, *, recent: int = 15,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._minutes, self._recent, self._clock = minutes, recent, clock
        self._bins: deque[tuple[int, int, Counter[str]]] = deque(maxlen=minutes)
        self._lock = threading.Lock()

    def observe(self, items: Iterable[str]) -> None:
        """One list that was shown."""
        minute = int(self._clock() // 60)
        with self._lock:
            if not self._bins or self._bins[-1][0] < minute:
                self._close()
                self._bins.append((minute, 0, Counter()))
            last, lists, counts = self._bins[-1]
            counts.update(set(items))
            self._bins[-1] = (last, lists + 1, counts)

    def courses(self, k: int = 20, *, also: Sequence[str] = ()) -> Courses:
        """Of the k items shown most of late, and of those in `also`."""
        with self._lock:
            now = int(self._clock() // 60)
            held = {minute: (n, counts.copy()) for minute, n, counts in self._bins}
        minutes = range(now - self._minutes + 1, now + 1)
        bins = [held.get(minute, (0, Counter[str]())) for minute in minutes]
        late, total = Counter[str](), 0
        for n, counts in bins[-self._recent :]:
            late.update(counts)
            total += n
        top = sorted(late, key=lambda i: (-late[i], i))[:k]
        named = [*top, *(i for i in dict.fromkeys(also) if i not in top)]
        items = [
            Course(
                item, late[item] / max(1, total),
                tuple(round(counts[item] / n, 4) if n else None for n, counts in bins),
            )
            for item in named
        ]  # fmt: skip
        return Courses(tuple(n for n, _ in bins), tuple(items))

    def _close(self) -> None:
        """Of the minute that is over only the most shown items are kept."""
        if self._bins and len(self._bins[-1][2]) > _ITEMS:
            minute, lists, counts = self._bins[-1]
            self._bins[-1] = (minute, lists, Counter(dict(counts.most_common(_ITEMS))))
