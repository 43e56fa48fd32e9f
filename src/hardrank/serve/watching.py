"""The monitors of a running service: what feeds them, and where their alarms go.

Nothing here is done by a thread that answers: lists are put into a bounded queue, a fair sample
of them where they come faster than `watched` a second, and one thread of its own looks at them.
Events are read from the store, so that those count that another process took, and those that a
guard holds back do not.
"""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from hardrank.errors import HardrankError
from hardrank.serve.alerts import Webhook
from hardrank.serve.asks import Found
from hardrank.serve.attack_drift import AttackDrift, features_of
from hardrank.serve.clocks import SteadyClock
from hardrank.serve.exposures import Courses, Exposures
from hardrank.serve.ingest import Put
from hardrank.serve.logs import LOGGER, tell
from hardrank.serve.metrics import Metrics
from hardrank.serve.monitors import (
    Alarm,
    EventSurges,
    ExposureSurges,
    GuardRate,
    InputDrift,
    ScoreShift,
    State,
)
from hardrank.serve.records import EventRow
from hardrank.serve.settings import Settings
from hardrank.serve.store import Store

__all__ = ["ALARM", "Monitor", "Watching"]

ALARM = "alarm"
"""Action of the audit log."""
_EVERY = 0.25
"""Seconds from one look into the queue to the next."""
_ROOM = 4_096
"""Lists, and texts, that wait at most; older ones are dropped."""
_QUIET = 600.0
"""Seconds for which an alarm that stopped and began again is the same one."""
_AT_ONCE = 20
"""New alarms that one look keeps; the greatest first, the others are only counted."""
_POLL, _BEFORE, _PAGE = 1.0, 50_000, 5_000
"""Seconds between looks at the store's events; those looked at after a start; of one look."""
_GUARDS = 64
"""Guards whose rates are kept."""
_FORMER, _ENOUGH = 5_000, 500
"""Scores of the former bundle that a new one is compared with, and how many that takes."""
_ALL = "all guards"


class Monitor(Protocol):
    """What every monitor of `hardrank.serve.monitors` has."""

    kind: str

    def alarms(self) -> list[Alarm]: ...
    def accept(self, subject: str) -> bool: ...
    def states(self) -> list[State]: ...


class Watching:
    """Safe for threads. `shown` and `again` cost the one who answers less than a
    microsecond; all else happens in `look`, which a thread calls between `start` and `stop`."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        *,
        took: Callable[[Sequence[EventRow], float, bool], None] = lambda events, now, fresh: None,
        clock: SteadyClock | None = None,
    ) -> None:
        """took: told of events that the store admitted, of the time, and whether they came
        just now. Raises `ConfigError` for a webhook without a secret."""
        self._store, self._metrics, self._took = store, metrics, took
        self.clock = clock or SteadyClock()
        self._hook = _webhook(settings)
        self._most = settings.watched * _EVERY
        self._rate = 1.0 if settings.watched else 0.0
        self._random = random.Random().random  # nobody can guess which lists are looked at
        self._window = settings.watch_window
        self._lists: deque[Found | bytes] = deque(maxlen=_ROOM)
        self._texts: deque[tuple[str, Put]] = deque(maxlen=_ROOM)
        self.exposures = Exposures(clock=self.clock.elapsed)
        self._shown = ExposureSurges(window=self._window)
        self._events = EventSurges(window=self._window)
        self._scores = ScoreShift("scores")
        self._words: frozenset[str] = frozenset()
        self._drift = InputDrift(lambda word: word in self._words)
        self._attacks = AttackDrift()
        self._guards = {_ALL: GuardRate(_ALL)}
        self._recent: deque[float] = deque(maxlen=_FORMER)
        self._told: dict[tuple[str, str], Alarm] = {}
        self._standing: dict[tuple[str, str], Alarm] = {}
        self._said: dict[tuple[str, str], float] = {}
        self._notes: deque[Alarm] = deque(maxlen=256)
        self.counts_events = False
        """Whether the thread reads events from the store."""
        self._sequence: int | None = None
        self._caught_up = False
        self._polled = -_POLL
        self._looking, self._stopping = threading.Lock(), threading.Event()
        self._keeping = threading.Lock()
        self._thread: threading.Thread | None = None

    # Fed by those who answer

    def shown(self, found: Found) -> None:
        """A list that somebody gets."""
        if self._random() < self._rate:
            self._lists.append(found)

    def again(self, answer: bytes) -> None:
        """An answer that is given again."""
        if self._random() < self._rate:
            self._lists.append(answer)

    def wrote(self, wanted: Sequence[tuple[str, Mapping[str, str]]], done: Sequence[Put]) -> None:
        """Texts that came in, and what became of them."""
        for (_, fields), put in zip(wanted, done, strict=True):
            self._texts.append((" ".join(fields.values()), put))

    def swapped(self, words: Callable[[], frozenset[str]]) -> None:
        """Another model answers: its lists are its own, and its scores are compared with those
        of the former one. words: of the catalogue, lower case."""
        known = self._words or words()
        with self._looking:
            self._words = known
            self._lists.clear()
            self._shown = ExposureSurges(window=self._window)
            if len(self._recent) >= _ENOUGH:
                self._scores.begin(list(self._recent))
            else:
                self._scores.begin()
            self._recent.clear()

    # Alarms

    def ring(self, alarm: Alarm) -> None:
        """An alarm of no monitor, which stands until `settle` or `accept`."""
        with self._looking:
            self._told[alarm.kind, alarm.subject] = alarm
        self.look()

    def settle(self, kind: str, subject: str | None = None) -> bool:
        """Whether one of those that `ring` told was withdrawn. subject: None means all."""
        with self._looking:
            gone = [k for k in self._told if k[0] == kind and subject in (None, k[1])]
            for key in gone:
                del self._told[key]
                self._standing.pop(key, None)
            return bool(gone)

    def accept(self, kind: str, subject: str) -> bool:
        """It is meant so: usual from now on. False where no such alarm stands."""
        with self._looking:
            done = any(m.accept(subject) for m in self._monitors() if m.kind == kind)
            done = self._told.pop((kind, subject), None) is not None or done
            self._standing.pop((kind, subject), None)
            self._said.pop((kind, subject), None)
        return done

    def standing(self) -> list[Alarm]:
        """Alarms that hold now, the newest first."""
        return sorted(self._standing.values(), key=lambda a: (-a.since, a.kind, a.subject))

    def surging(self) -> set[str]:
        """Items whose events surge, and nobody said that they are meant to."""
        return {alarm.subject for alarm in self._events.alarms()}

    def states(self) -> list[State]:
        with self._looking:
            return [state for monitor in self._monitors() for state in monitor.states()]

    def courses(self, k: int = 20) -> Courses:
        """How exposure went, of the items shown most and of those that surge."""
        return self.exposures.courses(k, also=[a.subject for a in self._shown.alarms()][:k])

    @property
    def sampled(self) -> float:
        """The share of lists that is looked at just now."""
        return self._rate

    # The thread

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """What waits is still looked at and told."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10.0)
        if self._hook is not None:
            self._hook.close(5.0)

    def look(self) -> None:
        """At all that came since the last time."""
        now = self.clock()
        with self._looking:
            self._look_at_lists(now)
            self._look_at_texts(now)
            found = [alarm for monitor in self._monitors() for alarm in monitor.alarms()]
            self._gather([*self._told.values(), *found])
        self._keep()

    def look_at_events(self) -> None:
        """Those that the store admitted since the last time. Raises `StoreError`."""
        if self._sequence is None:
            self._sequence = max(0, self._store.last_event() - _BEFORE)
        while True:
            rows, now = self._store.events_since(self._sequence, _PAGE), self.clock()
            with self._looking:
                for row in rows:
                    self._events.observe([row.item_id], time=now)
            self._sequence = rows[-1].sequence if rows else self._sequence
            self._took(rows, now, self._caught_up)
            if len(rows) < _PAGE or self._stopping.is_set():
                break
        self._caught_up = True

    def _run(self) -> None:
        while True:
            last = self._stopping.wait(_EVERY)
            try:
                if self.counts_events and self.clock.elapsed() - self._polled >= _POLL:
                    self._polled = self.clock.elapsed()
                    self.look_at_events()
            except HardrankError as error:
                tell("events-not-watched", level=logging.WARNING, kind=type(error).__name__)
            except Exception:
                LOGGER.exception("not-watched")
            try:
                self.look()
            except Exception:
                LOGGER.exception("not-watched")
            if last:
                return

    def _look_at_lists(self, now: float) -> None:
        waiting = [self._lists.popleft() for _ in range(len(self._lists))]
        most = int(self._most) + 1
        self._pace(len(waiting), most)
        if len(waiting) > most:
            waiting = random.sample(waiting, most)
        for one in waiting:
            items, score = _read(one)
            self._shown.observe(items, time=now)
            self.exposures.observe(items)
            if score is not None:  # one a list: scores of one list are no independent draws
                self._scores.observe([score], time=now)
                self._recent.append(score)

    def _pace(self, came: int, most: int) -> None:
        """Take fewer lists where they come too fast, and more again when they do not."""
        if came > most:
            self._rate = max(1e-4, self._rate * most / came)
        elif came < most / 2 and self._rate:
            self._rate = min(1.0, self._rate * 1.25)

    def _look_at_texts(self, now: float) -> None:
        for _ in range(len(self._texts)):
            text, put = self._texts.popleft()
            self._drift.observe(text, time=now)
            stopped, guard = put.verdict.action == "quarantine", put.verdict.guard
            if stopped:
                self._attacks.observe(features_of(text, guard, put.verdict.score), time=now)
                if len(self._guards) < _GUARDS:
                    self._guards.setdefault(guard, GuardRate(guard))
            for name, rate in self._guards.items():
                rate.observe(stopped and name in (_ALL, guard), time=now)

    def _monitors(self) -> list[Monitor]:
        rates = self._guards.values()
        return [self._shown, self._events, self._scores, self._drift, self._attacks, *rates]

    def _gather(self, found: Sequence[Alarm]) -> None:
        """Those that are new are told, and those that are over stand no more."""
        now = self.clock.elapsed()
        self._said = {k: t for k, t in self._said.items() if now - t < _QUIET}
        before, self._standing = self._standing, {(a.kind, a.subject): a for a in found}
        self._said |= {key: now for key in self._standing if key in self._said}
        new = [
            alarm for key, alarm in self._standing.items()
            if key not in before and key not in self._said
        ]  # fmt: skip
        for n, alarm in enumerate(sorted(new, key=lambda a: -a.value)):
            self._metrics.alarms.labels(alarm.kind).inc()
            if n < _AT_ONCE:
                self._said[alarm.kind, alarm.subject] = now
                self._notes.append(alarm)
                tell("alarm", level=logging.WARNING, kind=alarm.kind)
                if self._hook is not None:
                    self._hook.send(alarm)

    def _keep(self) -> None:
        """In the audit log, each once; while the store is away they wait."""
        with self._keeping:  # two threads look: the one of its own, and whoever rings
            while self._notes:
                alarm = self._notes[0]
                detail = {
                    "kind": alarm.kind, "value": f"{alarm.value:.6g}", "message": alarm.message,
                    "threshold": f"{alarm.threshold:.6g}", "since": f"{alarm.since:.0f}",
                }  # fmt: skip
                try:
                    self._store.note("monitor", ALARM, alarm.subject, detail)
                except HardrankError as error:
                    tell("alarm-not-kept", level=logging.WARNING, kind=type(error).__name__)
                    return
                self._notes.popleft()


def _webhook(settings: Settings) -> Webhook | None:
    if settings.webhook is None:
        return None
    return Webhook(settings.webhook, settings.webhook_secret or "")


def _read(one: Found | bytes) -> tuple[list[str], float | None]:
    """Item ids of a list, and the best score where a model gave it."""
    if isinstance(one, Found):
        ids = [item.item_id for item in one.items]
        return ids, one.items[0].score if ids and one.source == "model" else None
    told: dict[str, Any] = orjson.loads(one)
    ids = [item["item_id"] for item in told["items"]]
    return ids, told["items"][0]["score"] if ids and told["source"] == "model" else None
