"""What is learned between trainings: who the user is now, and what is popular now."""

import heapq
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable

import numpy as np

from hardrank.types import Floats

__all__ = ["DecayedCounts", "UserVectors"]


class UserVectors:
    """Vectors of users, made anew as soon as their history is another. Thread-safe.

    An entry stands for one state of a history, named by the caller (its length and its newest
    event, say), so that a stale vector is never served and no event must remember to
    invalidate anything.
    """

    def __init__(self, encode: Callable[[list[int]], Floats], *, limit: int = 100_000) -> None:
        """encode: item rows of a history, oldest first -> (D,). limit: users kept; the one not
        asked for longest goes first."""
        self._encode, self._limit = encode, limit
        self._kept: OrderedDict[str, tuple[str, Floats]] = OrderedDict()
        self._erased: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._lock = threading.Lock()

    def vector(self, user: str, state: str, history: list[int]) -> Floats:
        """(D,). state: a name of exactly this history; history: item rows, oldest first."""
        with self._lock:
            found = self._kept.get(user)
            if found is not None and found[0] == state:
                self._kept.move_to_end(user)
                return found[1]
            self._asked[user] = self._asked.get(user, 0) + 1
            erased = self._erased.get(user, 0)
        try:
            made = self._encode(history)  # outside the lock: it takes milliseconds
            with self._lock:
                if self._erased.get(user, 0) == erased:  # else it would come back
                    self._keep(user, state, made)
            return made
        finally:
            with self._lock:
                self._forget_asking(user)

    def erase(self, user: str) -> bool:
        """Forget a user, also one whose vector is being made just now. False where nothing was
        kept."""
        with self._lock:
            if user in self._asked:
                self._erased[user] = self._erased.get(user, 0) + 1
            return self._kept.pop(user, None) is not None

    def clear(self) -> None:
        """For a new model: its vectors are others."""
        with self._lock:
            self._kept.clear()
            for user in self._asked:
                self._erased[user] = self._erased.get(user, 0) + 1

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, user: str) -> bool:
        return user in self._kept

    def _keep(self, user: str, state: str, made: Floats) -> None:
        self._kept[user] = state, made
        self._kept.move_to_end(user)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def _forget_asking(self, user: str) -> None:
        self._asked[user] -= 1
        if not self._asked[user]:
            del self._asked[user]
            self._erased.pop(user, None)


class DecayedCounts:
    """Events per item, each worth 2^(-age / half_life). Thread-safe.

    One number an item: a count is kept as of a common origin and scaled when it is read, so
    that nothing has to be swept. An item's prior follows the crowd within minutes; one user
    adds at most `per_user` to an item, or a single account could make a bestseller.
    """

    def __init__(
        self, *, half_life: float = 1800.0, per_user: float = 1.0, limit: int = 1_000_000
    ) -> None:
        """half_life: seconds. limit: (user, item) pairs remembered for the cap, and items
        counted; the oldest pairs and the smallest counts go first."""
        self._rate = math.log(2) / half_life
        self._per_user, self._limit = per_user, limit
        self._origin: float | None = None
        self._newest = -math.inf
        self._sums: dict[str, float] = {}
        self._given: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, item: str, time: float, *, user: str | None = None, weight: float = 1.0) -> None:
        """time: seconds, in about rising order; one that lies in the past counts as old as it
        is. One in the future would make all that is counted look old: times come from a clock
        that the caller trusts, not from whoever sends events. weight: at least 0."""
        with self._lock:
            self._newest = max(self._newest, time)
            if self._origin is None or self._rate * (time - self._origin) > 500:
                self._move_origin(time)
            worth = weight * self._scale(time)
            if user is not None:
                worth = self._capped((user, item), worth, self._scale(time))
            self._sums[item] = self._sums.get(item, 0.0) + worth
            if len(self._sums) > self._limit:
                self._drop_smallest()

    def count(self, item: str, now: float) -> float:
        """As of `now`, or of the newest event where the clock is behind that."""
        with self._lock:
            return self._sums.get(item, 0.0) / self._read_scale(now)

    def counts(self, now: float) -> dict[str, float]:
        """As `count`, of all items that have any."""
        with self._lock:
            scale = self._read_scale(now)
            return {item: worth / scale for item, worth in self._sums.items()}

    def prior(self, items: Iterable[str], now: float) -> Floats:
        """(N,) log(1 + count): what to add to scores, times a strength of the caller's."""
        with self._lock:
            scale = self._read_scale(now)
            counts = [self._sums.get(item, 0.0) / scale for item in items]
        return np.log1p(np.array(counts, dtype=np.float64)).astype(np.float32)

    def top(self, k: int) -> list[str]:
        """The most popular items now, ties by id: what to show when there is no model."""
        with self._lock:
            return heapq.nsmallest(k, self._sums, key=lambda i: (-self._sums[i], i))

    def forget(self, item: str) -> None:
        with self._lock:
            self._sums.pop(item, None)

    def erase_user(self, user: str) -> None:
        """Forget who gave what. The sums stay: they name nobody."""
        with self._lock:
            for pair in [p for p in self._given if p[0] == user]:
                del self._given[pair]

    def _scale(self, time: float) -> float:
        """What a fresh event is worth, as of the origin."""
        if self._origin is None:
            return 1.0
        return math.exp(min(700.0, self._rate * (time - self._origin)))

    def _read_scale(self, now: float) -> float:
        return self._scale(max(now, self._newest))

    def _capped(self, pair: tuple[str, str], worth: float, scale: float) -> float:
        given = self._given.pop(pair, 0.0)
        worth = max(0.0, min(worth, self._per_user * scale - given))
        self._given[pair] = given + worth
        if len(self._given) > self._limit:
            self._given.popitem(last=False)
        return worth

    def _move_origin(self, time: float) -> None:
        shrink = 1.0 / self._scale(time)
        self._origin = time
        self._sums = {i: v * shrink for i, v in self._sums.items() if v * shrink > 1e-6}
        for pair in self._given:
            self._given[pair] *= shrink

    def _drop_smallest(self) -> None:
        """A tenth at once, so that the search for them is rare."""
        for item in heapq.nsmallest(max(1, self._limit // 10), self._sums, key=self._sums.get):  # type: ignore[arg-type]
            del self._sums[item]
