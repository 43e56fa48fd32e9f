"""A guard for events: bots, floods and clocks that are wrong, one event at a time."""

from collections import OrderedDict, deque
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from hardrank.data import Dataset
from hardrank.data.filtering import Detector
from hardrank.guards.base import Verdict
from hardrank.guards.pace import Decayed, Gaps, Pace
from hardrank.guards.trust_scores import TrustBook, TrustScores
from hardrank.types import Count, Floats, Natural, Positive, Share, spec

__all__ = ["EventGuard", "EventLike", "EventWatch"]

_MINUTE, _HOUR, _DAY, _WEEK = 60.0, 3_600.0, 86_400.0, 7 * 86_400.0
_LAST = 32
"""Items of a user that are remembered, to count repeats."""


class EventLike(Protocol):
    """As much of an event as the guard reads."""

    @property
    def user_id(self) -> str: ...
    @property
    def item_id(self) -> str: ...
    @property
    def time(self) -> int:
        """Unix seconds, as the client says."""
        ...


@spec
class EventGuard:
    """Limits of what a person does, and of how fast an item's events may grow.

    Each limit is compared with a count in which an event of one half-life (a minute, an hour,
    a day) ago counts half: so many events at once, or 0.69 times as many in that time
    steadily. Time is what the client claims, within the window of clocks; a time before one
    already seen is taken for that one, so that claims cannot thin out a burst.
    """

    kind: Literal["events"] = "events"
    ahead: Natural = 300
    """Seconds that an event may lie in the future: clocks differ."""
    behind: Natural = 7 * 86_400
    """Seconds that an event may lie in the past: apps report late. 0 for no limit."""
    minute: Count = 30
    """Events of one user in a minute."""
    hour: Count = 300
    """Events of one user in an hour."""
    day: Count = 1000
    """Events of one user in a day."""
    repeats: Count = 8
    """Events of one user with one item among the latest 32."""
    gaps: Count = 16
    """Gaps between a user's events before their regularity is judged."""
    regular: Share = 0.1
    """Standard deviation of the gaps as a share of their mean, below which it is a machine;
    people's gaps differ by more than their mean. Gaps below a second are not judged."""
    flood: Count = 30
    """Events of one item in an hour that are never a flood."""
    share: Share = 0.01
    """Share of the shop's events of the hour that is never a flood: in a large shop."""
    surge: Positive = 6.0
    """Standard deviations above what an item's week and the shop's present pace let one
    expect of its hour, from which it is a flood; its events are held until it ebbs."""
    distrust: Share = 0.3
    """Trust in the user below which events are held."""
    most: Count = 100_000
    """Users, and items, whose counters are kept; the longest silent are forgotten first."""

    def watch(
        self,
        known: Container[str] | Callable[[], Container[str]],
        *,
        trust: TrustBook | None = None,
    ) -> "EventWatch":
        """Start to watch a stream. known: ids of the live items, or what gives them now.
        trust: in users; None for a new book."""
        return EventWatch(self, known, trust if trust is not None else TrustScores().start())


@dataclass(slots=True)
class _User:
    minute: Decayed
    hour: Decayed
    day: Decayed
    gaps: Gaps
    items: deque[str]


@dataclass(eq=False)
class EventWatch:
    """The state of an `EventGuard`: bounded, and the same work for every event. The same
    stream gives the same verdicts, so after a restart the latest week's events are replayed.
    Not for two threads at once."""

    spec: EventGuard
    known: Container[str] | Callable[[], Container[str]]
    trust: TrustBook
    """In users: falls with each event held for what the user did, rises with each admitted."""
    _users: OrderedDict[str, _User] = field(default_factory=OrderedDict)
    _items: OrderedDict[str, Pace] = field(default_factory=OrderedDict)
    _shop: Pace = field(default_factory=Pace)
    _accepted: dict[str, float] = field(default_factory=dict)
    """Item -> unix seconds until which its floods are meant."""

    @property
    def kind(self) -> str:
        return self.spec.kind

    def inspect(self, events: Sequence[EventLike], now: int | None = None) -> list[Verdict]:
        """One verdict for each event, in order: admitted or held. Score: how far the worst
        limit is used, a half at the limit. now: unix seconds of arrival; None for a replay,
        where each event arrives when it happened."""
        known = self.known() if callable(self.known) else self.known
        return [self._one(e, e.time if now is None else now, known) for e in events]

    def accept(self, item_id: str, until: float) -> None:
        """A person says that what floods the item is meant (a sale, a prize): no flood of it is
        held before unix second `until`."""
        self._accepted = {name: end for name, end in self._accepted.items() if end > until - _WEEK}
        self._accepted[item_id] = until

    def decided(self, events: Sequence[EventLike], now: int, *, admitted: bool) -> None:
        """What a person said of events that were held: twice the word of the guard where they
        were honest, so that trust comes back, and once more where they were not."""
        for event in events:
            if admitted:
                self.trust.add(event.user_id, 0.0, now, 2.0)
            else:
                self.trust.add(event.user_id, 1.0, now)

    def refresh(
        self,
        dataset: Dataset,
        detector: Detector,
        now: int,
        *,
        weight: float = 4.0,
        calibrate: Callable[[Floats], Floats] | None = None,
    ) -> None:
        """Let a detector of `hardrank.detection` judge all users of a log, in batch, and enter
        what it says into the trust in them, worth `weight` verdicts each. calibrate: scores
        to probabilities; None for `detection.calibrated`. Users not judged stay as they are."""
        from hardrank.detection import calibrated

        scores = np.asarray(detector(dataset), dtype=np.float32)
        fraud = (calibrate or calibrated)(scores)
        self.trust.refresh(dataset.users["user_id"].to_list(), fraud, now, weight)

    def forget(self, user_id: str) -> bool:
        """Erase a user; whether there was anything to erase."""
        trusted = self.trust.forget(user_id)
        return self._users.pop(user_id, None) is not None or trusted

    def _one(self, event: EventLike, now: int, known: Container[str]) -> Verdict:
        if wrong := self._impossible(event, now, known):
            # A wrong clock or a stale link is no fraud: counters and trust stay as they are.
            return Verdict("quarantine", self.kind, 1.0, wrong)
        trusted = self.trust.of(event.user_id, event.time)
        own, crowd = max(self._of_user(event)), self._of_item(event)
        used, reason = max(own, crowd)
        if used > 1:
            # A crowd that floods an item may be honest: it says less of each of its users.
            self.trust.add(event.user_id, 1.0 if own[0] > 1 else 0.25, event.time)
            return Verdict("quarantine", self.kind, _score(used), reason)
        self._items[event.item_id].take(event.time)
        self._shop.take(event.time)
        if trusted < self.spec.distrust:
            # That follows from trust and must not lower it: nobody could ever return.
            self.trust.add(event.user_id, 0.0, event.time, 0.25)
            reason = f"the user is trusted {trusted:.2f}, {self.spec.distrust:.2f} is needed"
            return Verdict("quarantine", self.kind, _score(2 - trusted), reason)
        self.trust.add(event.user_id, 0.0, event.time)
        return Verdict("admit", self.kind, _score(used), "")

    def _impossible(self, event: EventLike, now: int, known: Container[str]) -> str:
        if event.item_id not in known:
            return f"there is no item '{event.item_id}'"
        if event.time > now + self.spec.ahead:
            return f"it lies {event.time - now} s in the future"
        if self.spec.behind and event.time < now - self.spec.behind:
            return f"it lies {(now - event.time) / _DAY:.1f} days in the past"
        return ""

    def _of_user(self, event: EventLike) -> list[tuple[float, str]]:
        """How far each limit of a user is used, and what to say."""
        limits, user = self.spec, self._user(event.user_id)
        gap = user.gaps.add(event.time)
        user.items.append(event.item_id)
        found = []
        for counter, limit, unit in (
            (user.minute, limits.minute, "minute"),
            (user.hour, limits.hour, "hour"),
            (user.day, limits.day, "day"),
        ):
            n = counter.add(event.time)
            found.append((n / limit, f"the user does about {n:.0f} events a {unit}"))
        same = user.items.count(event.item_id)
        found.append((same / limits.repeats, f"the user's {same}th event with this item"))
        if user.gaps.n >= limits.gaps and gap.mean >= 1:
            reason = f"events every {gap.mean:.0f} s, off by {gap.share:.0%}: a machine"
            found.append((min(limits.regular / max(gap.share, 1e-9), 100.0), reason))
        return found

    def _of_item(self, event: EventLike) -> tuple[float, str]:
        pace = self._items.get(event.item_id)
        if pace is None:
            pace = self._items[event.item_id] = Pace()
            if len(self._items) > self.spec.most:
                self._items.popitem(last=False)
        self._items.move_to_end(event.item_id)
        seen = pace.see(event.time)
        busy = max(1.0, self._shop.busy(event.time))
        expected = pace.expected(event.time) * busy
        usual = expected + self.spec.surge * max(expected, 1.0) ** 0.5
        limit = max(self.spec.flood, self.spec.share * self._shop.taken.at(event.time), usual)
        reason = f"about {seen:.0f} events with this item in an hour, {limit:.0f} at most are usual"
        if event.time < self._accepted.get(event.item_id, 0.0):
            return min(seen / limit, 1.0), ""
        return seen / limit, reason

    def _user(self, name: str) -> _User:
        user = self._users.get(name)
        if user is None:
            user = self._users[name] = _User(
                Decayed(_MINUTE), Decayed(_HOUR), Decayed(_DAY), Gaps(), deque(maxlen=_LAST)
            )  # fmt: skip
            if len(self._users) > self.spec.most:
                self._users.popitem(last=False)
        self._users.move_to_end(name)
        return user


def _score(share: float) -> float:
    """(0, inf) -> (0, 1), a half at 1."""
    return share / (1 + share)
