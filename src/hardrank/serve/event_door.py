"""What stands between the events that come in and everything that is counted from them."""

import time
from collections import OrderedDict
from collections.abc import Callable, Container, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from hardrank.guards.base import Verdict
from hardrank.guards.events import EventGuard, EventWatch
from hardrank.serve.errors import StoreError
from hardrank.serve.logs import tell
from hardrank.serve.records import Decision, EventIn, EventRow, Taken
from hardrank.serve.store import Store
from hardrank.serve.swap import Live

__all__ = ["EventDoor"]

_WEEK = 7 * 86_400
_REPLAYED = 100_000
"""Events of the last week that a start reads, at most: about three seconds."""
_PENDING = 50_000
_MEANT = 86_400
"""Seconds for which the floods of an item are let in after a person admitted one."""


@dataclass(frozen=True, slots=True)
class _Known:
    """Ids of live items; every id while no catalogue is loaded."""

    live: Live
    stored: Set[str]
    """Live by the store: another process may have put them."""

    def __contains__(self, item_id: object) -> bool:
        if self.live.engine is None or item_id in self.stored:
            return True
        return self.live.fields(str(item_id)) is not None


class EventDoor:
    """All methods block, and all are called from one thread, so that the guard sees events in
    one order. What the guard counted follows from the store: the latest week is read again
    after a restart (the newest 100,000 events), with the first events or before."""

    def __init__(
        self, store: Store, live: Live, guard: EventGuard | None,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """guard: None keeps everything."""
        self._store, self._live, self._guard, self._clock = store, live, guard, clock
        self._watch: EventWatch | None = None
        self._known: Container[str] = _Everything()
        self._pending: OrderedDict[EventIn, Verdict] = OrderedDict()
        """Verdicts on events that could not be kept: sent again, they count once."""

    def start(self) -> None:
        """Read the latest week ahead of the first events; where the store is away, they do."""
        try:
            self._watching()
        except StoreError as error:
            tell("not-replayed", kind=type(error).__name__)

    def take(self, events: Sequence[EventIn]) -> list[Taken]:
        """Keep events, or hold them; all on the disk when this returns. An event that was seen
        before is not counted again. Raises `DataError`, `StoreError`; then nothing was kept."""
        watch = self._watching()
        if watch is None:
            return self._store.take_events(events, [None] * len(events))
        known = self._store.known_events(events)
        fresh: dict[str, EventIn] = {}  # copies with another user or item would count unseen
        for event, before in zip(events, known, strict=True):
            if not before:
                fresh.setdefault(event.event_id, event)
        said = self._judge(watch, list(fresh.values())) if fresh else {}
        try:
            return self._store.take_events(events, [said.get(e) for e in events])
        except StoreError:
            self._pending.update(said)
            while len(self._pending) > _PENDING:
                self._pending.popitem(last=False)
            raise

    def decide(
        self, action: Decision, who: str, by: Literal["item", "user"], name: str, until: int | None
    ) -> list[EventRow]:
        """See `Store.decide_held`. The guard learns from it, and a flood on an item that was
        admitted is let in for a day."""
        watch = self._watching()
        decided = self._store.decide_held(action, who, by=by, name=name, until=until)
        if watch is not None and decided:
            now = int(self._clock())
            watch.decided(decided, now, admitted=action == "admit")
            if action == "admit" and by == "item":
                watch.accept(name, now + _MEANT)
        return decided

    def forget(self, user_id: str) -> None:
        """Nothing of the user is remembered."""
        if self._watch is not None:
            self._watch.forget(user_id)
        for event in [e for e in self._pending if e.user_id == user_id]:
            del self._pending[event]

    def _watching(self) -> EventWatch | None:
        """Raises `StoreError` where the latest week cannot be read."""
        if self._guard is None or self._watch is not None:
            return self._watch
        began, self._known = time.monotonic(), _Everything()
        watch = self._guard.watch(lambda: self._known)
        past = self._store.recent_events(int(self._clock()) - _WEEK, _REPLAYED)
        for event in past:
            watch.inspect([event], event.received)
        self._watch = watch
        tell("replayed", events=len(past), seconds=round(time.monotonic() - began, 3))
        return watch

    def _judge(self, watch: EventWatch, fresh: list[EventIn]) -> dict[EventIn, Verdict]:
        """In the order of their times, as far as one request tells it: a shop may send a day's
        events user by user."""
        here = _Known(self._live, frozenset())
        wanted = {e.item_id for e in fresh if e.item_id not in here}
        self._known = _Known(self._live, self._store.standing(wanted)) if wanted else here
        said = {e: self._pending.pop(e) for e in fresh if e in self._pending}
        order = sorted((e for e in fresh if e not in said), key=lambda e: e.time)
        return said | dict(zip(order, watch.inspect(order, int(self._clock())), strict=True))


class _Everything:
    """Holds any id: items of the past may be gone."""

    def __contains__(self, item_id: object) -> bool:
        return True
