"""Clocks that jump back an hour or ahead a year: nothing freezes, and nobody is locked out."""

import asyncio
from pathlib import Path

import pytest

from hardrank.models import Tfidf
from hardrank.serve.clocks import SteadyClock
from hardrank.serve.histories import Histories
from hardrank.serve.limits import Buckets, Quotas
from hardrank.serve.monitors import ShareSurges
from hardrank.serve.online import DecayedCounts
from hardrank.serve.records import EventIn
from hardrank.serve.store import Store
from hardrank.testing.service import served, toy_bundle

HOUR, YEAR = 3600.0, 366 * 86_400.0
JUMPS = (-HOUR, YEAR)


class Clock:
    def __init__(self, now: float = 1.7e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("jump", JUMPS)
def test_the_steady_clock_does_not_jump(jump: float) -> None:
    wall, even = Clock(), Clock(50.0)
    clock = SteadyClock(wall, even)
    wall.now += jump
    even.now += 7
    assert clock() == 1.7e9 + 7 and clock.elapsed() == 7


@pytest.mark.parametrize("jump", JUMPS)
def test_counts_neither_freeze_nor_break(jump: float) -> None:
    """Whatever is read at a wrong time, the next counts at the right one are right."""
    counts = DecayedCounts(half_life=1800.0)
    for n in range(4):
        counts.add("a", 1.7e9, user=f"u{n}")
    wrong = counts.count("a", 1.7e9 + jump)
    assert wrong == (pytest.approx(4.0) if jump < 0 else pytest.approx(0.0))
    assert counts.prior(["a"], 1.7e9 + jump)[0] >= 0
    assert counts.count("a", 1.7e9 + 1800) == pytest.approx(2.0)
    counts.add("b", 1.7e9 + 1800)
    assert counts.counts(1.7e9 + 1800) == pytest.approx({"a": 2.0, "b": 1.0})
    counts.add("c", 1.7e9 - HOUR)
    assert counts.count("c", 1.7e9 + 1800) == pytest.approx(2**-3)


def test_a_rate_is_kept_over_a_clock_that_goes_back() -> None:
    clock = Clock(100.0)
    buckets = Buckets(1.0, 2, clock)
    assert [buckets.wait("k"), buckets.wait("k")] == [0.0, 0.0] and buckets.wait("k") > 0
    clock.now -= HOUR
    assert buckets.wait("k") <= 1.0, "no longer than it would have been"
    clock.now += HOUR + 1
    assert buckets.wait("k") == 0.0


@pytest.mark.parametrize("jump", JUMPS)
def test_a_quota_is_of_a_day_and_comes_back_with_the_clock(jump: float, tmp_path: Path) -> None:
    """A jump ahead gives a new day, and the way back takes up the old one: what was used of
    it stays used, and a key that is refused is not refused on another day."""
    clock = Clock(1_700_000_000.0 + 12 * 3600 - 1_700_000_000 % 86_400)
    with Store.open(tmp_path / "s.db", clock=clock) as store:
        key = store.key_of(store.add_key("k", "read", 3))
        assert key is not None

        async def spend(key_id: str, units: int) -> bool:
            return store.spend(key_id, units)

        async def course() -> list[bool]:
            quotas = Quotas(spend, clock)
            out = [await quotas.wait(key.id, 3) == 0 for _ in range(4)]
            clock.now += jump
            out.append(await quotas.wait(key.id, 3) == 0)
            clock.now -= jump
            return [*out, await quotas.wait(key.id, 3) == 0]

        same_day = jump < 0
        assert asyncio.run(course()) == [True, True, True, False, not same_day, False]


def test_histories_go_by_a_clock_of_their_own() -> None:
    even = Clock(10.0)
    histories = Histories(30.0, even)
    histories.keep("u", ("a",), fresh=True, turn=histories.turn("u"))
    assert histories.get("u") is not None
    even.now += 31
    assert histories.get("u") is None


@pytest.mark.parametrize("jump", JUMPS)
def test_a_monitor_counts_observations_and_not_hours(jump: float) -> None:
    monitor, now = ShareSurges(window=50, warm=2), 1.7e9
    for n in range(200):
        monitor.observe([f"i{n % 40}"], time=now + n)
    for n in range(50):
        monitor.observe(["x"], time=now + jump + n)
    (alarm,) = monitor.alarms()
    assert alarm.subject == "x" and alarm.since == now + jump


@pytest.mark.parametrize("jump", JUMPS)
def test_the_service_takes_events_while_its_clock_is_wrong(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store writes the wrong hour down; the next answer counts the event all the same, and
    the audit log and the pages of monitors go on."""
    import time

    bundle = toy_bundle(tmp_path / "b", Tfidf())
    with served(bundle, tmp_path / "s.db", event_guard=False) as shop:
        service = shop.app.state.service
        real = time.time
        asked = {"user_id": "u3", "k": 60}
        before = shop.ask("read", "POST", "/v1/recommend", json=asked).json()["items"]
        unseen = before[0]["item_id"]
        monkeypatch.setattr(service.store, "_clock", lambda: real() + jump)
        event = {"event_id": "e", "user_id": "u3", "item_id": unseen, "time": int(real())}
        assert shop.ask("ingest", "POST", "/v1/events", json={"events": [event]}).json()["added"]
        after = shop.ask("read", "POST", "/v1/recommend", json=asked).json()["items"]
        assert unseen not in {item["item_id"] for item in after}
        service.watching.look_at_events()
        assert unseen in service.priors._counts.counts(service.watching.clock())
        assert shop.ask("review", "GET", "/v1/monitors").status_code == 200
        stored = service.store.add_events([EventIn("f", "u3", "i1", int(real()))])
        assert stored == [True]
