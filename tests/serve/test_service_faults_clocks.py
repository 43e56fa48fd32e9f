"""Clocks that jump, and a store that is away: nobody is locked out, let in, or kept waiting."""

import asyncio
import inspect
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hardrank.models import Tfidf
from hardrank.serve.auth import Door
from hardrank.serve.away import Away
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.histories import Histories
from hardrank.serve.limits import Buckets, Quotas
from hardrank.serve.probing import ProbeWatch
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store
from hardrank.testing.service import served, toy_bundle

_DAY = 86_400.0


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("kind", [Door, Buckets, Histories, ProbeWatch, Away])
def test_durations_are_measured_by_a_clock_that_nobody_sets(kind: type) -> None:
    assert inspect.signature(kind).parameters["clock"].default is time.monotonic


@pytest.mark.parametrize("jump", [-3_650 * _DAY, -_DAY, -1.0, 1.0, _DAY, 3_650 * _DAY])
def test_a_quota_outlives_a_jump_of_the_date(jump: float) -> None:
    """The store counts by day: what a jump costs is one lease, and no wait is longer than a
    day."""
    spent: dict[str, int] = {}
    clock = Clock(1_700_000_000.0)
    quotas = Quotas(None, clock)  # type: ignore[arg-type]

    async def spend(key: str, units: int) -> bool:
        day = quotas._day()
        if spent.get(day, 0) + units > 10:
            return False
        spent[day] = spent.get(day, 0) + units
        return True

    quotas._spend = spend
    waits = [asyncio.run(quotas.wait("k", 10)) for _ in range(4)]
    clock.now += jump
    waits += [asyncio.run(quotas.wait("k", 10)) for _ in range(12)]
    clock.now -= jump
    waits += [asyncio.run(quotas.wait("k", 10)) for _ in range(12)]
    assert all(0 <= wait <= _DAY for wait in waits) and max(spent.values()) <= 10
    days = {"2023-11-14", time.strftime("%Y-%m-%d", time.gmtime(clock.now + jump))}
    assert waits.count(0.0) == 10 * len(days) and set(spent) == days


@pytest.mark.parametrize("start", [1_700_000_000.0, 0.0])
def test_a_store_under_a_clock_that_goes_back_keeps_its_order(tmp_path: Path, start: float) -> None:
    """What came later counts as later, whatever the date says; a key revoked in 1970 is."""
    from hardrank.guards.base import admit

    clock = Clock(start)
    with Store.open(tmp_path / "s.db", clock=clock) as store:
        key = store.add_key("k", "read")
        for n, step in enumerate((0.0, 500.0, -400.0, -99.0)):
            clock.now += step
            store.put_item("a", {"title": f"v{n}"}, admit("none"))
            store.add_events([EventIn(f"e{n}", "u", f"i{n}", 100 + n)])
            store.note("me", f"step-{n}")
        item = store.item("a")
        assert item is not None and item.fields == {"title": "v3"}
        assert [row.event_id for row in store.events_since()] == ["e0", "e1", "e2", "e3"]
        assert [item for item, _ in store.history("u")] == ["i0", "i1", "i2", "i3"]
        steps = [row.action for row in store.audit_log() if row.who == "me"]
        assert steps == ["step-3", "step-2", "step-1", "step-0"]
        clock.now = start
        store.revoke_key(key.split("_")[1], who="me")
        assert store.key_of(key) is None
        clock.now = start + 20 * 365 * _DAY
        assert store.key_of(key) is None


def test_while_the_store_is_away_one_looks_and_the_others_go_on() -> None:
    clock = Clock(50.0)
    away = Away(1.0, clock)
    away.look()
    away.went()
    for now in (50.0, 50.9):
        clock.now = now
        with pytest.raises(StoreUnavailable):
            away.look()
    clock.now = 51.0
    away.look()  # this one
    with pytest.raises(StoreUnavailable):
        away.look()
    away.came()
    away.look()


def test_the_line_of_those_who_must_wait_is_short() -> None:
    away = Away(1.0, Clock(0.0))
    away.stand(1_000, 2)  # nobody waits for a store that answers
    away.went()
    away.stand(1, 2)
    with pytest.raises(StoreUnavailable):
        away.stand(2, 2)
    away.came()
    away.stand(2, 2)


@pytest.mark.slow
def test_no_line_forms_before_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 who read and 24 who write, three times each, to a store each of whose calls takes
    0.3 s to fail: one after the other on its threads they would wait for seconds."""
    bundle = toy_bundle(tmp_path / "live", Tfidf())
    options = {"key_seconds": 0.0, "history_seconds": 0.0, "remembered": 0}
    with served(bundle, tmp_path / "s.db", **options) as shop:
        for role in ("read", "ingest"):
            shop.ask(role, "POST", "/v1/recommend", json={"user_id": "u1", "k": 3})
        store, calls = shop.app.state.service.store, list[str]()

        def away(*_: Any, **__: Any) -> Any:
            calls.append("")
            time.sleep(0.3)
            raise StoreUnavailable("away")

        for name in ("key_of", "history", "add_events", "take_events", "known_events"):
            monkeypatch.setattr(store, name, away)
        codes = list[int]()
        event = {"event_id": "e", "user_id": "u", "item_id": "i1", "time": 1}

        def read() -> None:
            for n in range(3):
                asked = {"user_id": f"u{n}", "k": 3}
                codes.append(shop.ask("read", "POST", "/v1/recommend", json=asked).status_code)

        def write() -> None:
            for _ in range(3):
                said = shop.ask("ingest", "POST", "/v1/events", json={"events": [event]})
                codes.append(said.status_code)
                assert said.headers["retry-after"] == "1"

        threads = [threading.Thread(target=work) for work in (read, write) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(codes) == [200] * 72 + [503] * 72
        assert len(calls) < 100, "144 requests with two or three questions each"
        monkeypatch.undo()
        added = shop.ask("ingest", "POST", "/v1/events", json={"events": [event]})
        assert added.status_code == 200
