"""What is popular now, between two trainings, and how hard it is to fake.

A prior is what poisoners want to reach: it needs no training to work. So an account that the
bundle does not know counts little, one account adds one event to an item and so many in all,
what exceeds the third most popular item is cut off, a prior rises slowly, and items that surge
count nothing until somebody says that they may, or so much moves that it must be a crowd.
(Trimmed and bounded updates: Yin et al., ICML 2018, arXiv:1803.01498, section 4, show why a
trimmed mean survives what a mean does not.)
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hardrank.serve.logs import hashed
from hardrank.serve.online import DecayedCounts
from hardrank.serve.records import EventRow

__all__ = ["Priors"]

_NEWCOMER = 0.05
"""What an event of an account is worth that the bundle does not know."""
_PER_ACCOUNT = 30
"""Events of one account that count in a span of a half-life; the spans do not overlap."""
_TRIMMED = 3
"""The count of the so many-th item is what full marks take; more of it gives no more."""
_LEAST = 20.0
"""Counts under which nothing gets full marks: three clicks at night are no trend."""
_RISE = 0.1
"""What a prior may gain in a minute."""
_ALONE = 5
"""So many items that surge at once are always a few that are pushed."""
_CROWD = 0.15
"""More of them are a crowd that moved where they have this share of all that counts. Whoever
pushes one item could push decoys beside it, but that takes as many events of known accounts; a
turn of fashion in the tests' town begins with 0.19."""
_OLD = 86_400.0
"""Age in seconds of an event that is an import, not news."""
_ITEMS = 10_000
"""Items that have a prior at all."""


class Priors:
    """Item id -> [0, 1], 1 for what is most popular now. Safe for threads."""

    def __init__(
        self,
        known: Callable[[str], bool],
        surging: Callable[[], set[str]] = set,
        *,
        half_life: float = 1800.0,
    ) -> None:
        """known: whether the bundle has a user. surging: items under alarm. half_life: seconds."""
        self._known, self._surging, self._half_life = known, surging, half_life
        self._counts = DecayedCounts(half_life=half_life, limit=200_000)
        self._spent: Counter[str] = Counter()
        self._spent_since: float | None = None
        self._values: dict[str, float] = {}
        self._updated: float | None = None
        self._lock = threading.Lock()

    def took(self, events: Sequence[EventRow], now: float, *, fresh: bool = True) -> None:
        """Events that the store admitted. now: seconds, by a clock that goes on evenly; the
        times of the events themselves only tell an import from news. fresh: they came just
        now; else they are as old as the store says."""
        for event in events:
            age = 0.0 if fresh else max(0.0, now - event.received)
            if now - event.time > _OLD or age > _OLD:
                continue
            account = hashed(event.user_id) or ""
            if not self._may(account, now):
                continue
            worth = min(1.0, event.weight) * (1.0 if self._known(event.user_id) else _NEWCOMER)
            self._counts.add(event.item_id, now - age, user=account, weight=worth)

    def values(self, now: float) -> Mapping[str, float]:
        """As they stand at `now`; not to be changed."""
        counts = self._counts.counts(now)
        largest = sorted(counts.values(), reverse=True)[:_TRIMMED]
        full = max(_LEAST, largest[-1] if len(largest) == _TRIMMED else 0.0)
        apart = self._apart(counts)
        wanted = {
            item: 0.0 if item in apart else min(1.0, count / full)
            for item, count in counts.items() if count > 1e-3 * full
        }  # fmt: skip
        if len(wanted) > _ITEMS:
            wanted = dict(sorted(wanted.items(), key=lambda pair: -pair[1])[:_ITEMS])
        with self._lock:
            minutes = 0.0 if self._updated is None else max(0.0, now - self._updated) / 60
            room, before = _RISE * minutes, self._values
            if self._updated is None or minutes > 0:
                self._updated = now
            self._values = {
                item: min(value, before.get(item, 0.0) + room) for item, value in wanted.items()
            }
            return self._values

    def _apart(self, counts: Mapping[str, float]) -> set[str]:
        """Items that count nothing now."""
        surging = self._surging()
        moved = sum(counts.get(item, 0.0) for item in surging)
        crowd = len(surging) > _ALONE and moved > _CROWD * sum(counts.values())
        return set() if crowd else surging

    def erase_user(self, user_id: str) -> None:
        """Who gave what is forgotten; sums name nobody."""
        account = hashed(user_id) or ""
        self._counts.erase_user(account)
        with self._lock:
            self._spent.pop(account, None)

    def _may(self, account: str, now: float) -> bool:
        """Whether the account has events left that count."""
        with self._lock:
            if self._spent_since is None or now - self._spent_since > self._half_life:
                self._spent.clear()
                self._spent_since = now
            self._spent[account] += 1
            return self._spent[account] <= _PER_ACCOUNT
