"""The guard for events: planted bots, floods and clocks, and people who are none of those."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from hardrank.data import Dataset
from hardrank.detection import InterestConsistency
from hardrank.detection.parts import midranks
from hardrank.guards.base import Verdict
from hardrank.guards.events import EventGuard, EventWatch
from hardrank.guards.pace import Decayed, Gaps, Pace
from hardrank.guards.trust_scores import TrustScores
from hardrank.metrics.detection import auroc
from hardrank.testing.logs import GROUPS, taste_log

NOW, HOUR, DAY = 1_700_000_000, 3600, 86_400
ITEMS = {f"i{n}" for n in range(60)}


@dataclass(frozen=True)
class Event:
    user_id: str
    item_id: str
    time: int = NOW


def watch(**limits: float) -> EventWatch:
    return EventGuard(**limits).watch(ITEMS)  # type: ignore[arg-type]


def held(verdicts: list[Verdict]) -> list[int]:
    return [n for n, v in enumerate(verdicts) if v.action == "quarantine"]


def test_unknown_items_and_wrong_clocks() -> None:
    """The borders themselves are let in; nobody's trust falls for a wrong clock."""
    guard = watch(ahead=300, behind=7 * DAY)
    times = (NOW + 300, NOW + 301, NOW - 7 * DAY, NOW - 7 * DAY - 1)
    found = guard.inspect([Event("u", f"i{n}", t) for n, t in enumerate(times)], NOW)
    assert held(found) == [1, 3]
    assert found[1].reason == "it lies 301 s in the future"
    assert found[3].reason == "it lies 7.0 days in the past"
    (lost,) = guard.inspect([Event("v", "nowhere")], NOW)
    assert (lost.action, lost.score, lost.guard) == ("quarantine", 1.0, "events")
    assert lost.reason == "there is no item 'nowhere'"
    assert guard.trust.of("v", NOW) == 0.8 and guard.trust.of("u", NOW) > 0.8
    assert held(watch(behind=0).inspect([Event("u", "i0", 5)], NOW)) == []
    live = EventGuard().watch(lambda: {"i0"})
    assert held(live.inspect([Event("u", "i0"), Event("u", "i1")], NOW)) == [1]


def test_thirty_events_in_a_second_are_enough() -> None:
    events = [Event("u", f"i{n}") for n in range(31)]
    found = watch(minute=30).inspect(events, NOW)
    assert held(found) == [30]
    assert found[29].score == 0.5 and found[30].score > 0.5
    assert found[30].reason == "the user does about 31 events a minute"
    others = [Event(f"u{n}", f"i{n}") for n in range(31)]
    assert held(watch(minute=30).inspect(others, NOW)) == []


def test_a_claimed_past_does_not_thin_out_a_burst() -> None:
    """Times that fall count as one time."""
    events = [Event("u", f"i{n % 60}", NOW - 600 * n) for n in range(31)]
    assert held(watch().inspect(events, NOW)) == [30]


def test_one_item_again_and_again() -> None:
    events = [Event("u", "i0", NOW + 7 * n * n) for n in range(9)]
    found = watch(repeats=8).inspect(events)
    assert held(found) == [8]
    assert found[8].reason == "the user's 9th event with this item"


def test_machines_are_regular_and_people_are_not() -> None:
    """Sixteen equal gaps: the 17th event is the first that is held."""
    bot = [Event("bot", f"i{n % 60}", NOW + 240 * n) for n in range(30)]
    found = watch().inspect(bot)
    assert held(found) == list(range(16, 30))
    assert found[16].reason == "events every 240 s, off by 0%: a machine"
    rng = np.random.default_rng(0)
    for spread in (0.5, 1.0, 2.0):
        gaps = rng.lognormal(5.0, spread, size=400)
        person = [
            Event("p", f"i{rng.integers(60)}", int(t)) for t in NOW + np.cumsum(gaps)
        ]  # fmt: skip
        assert held(watch(repeats=32).inspect(person)) == []


def background(rng: np.random.Generator, days: int = 7, a_day: int = 480) -> list[Event]:
    """A shop's week: users come back, items differ in popularity, and i59 nobody wants."""
    odds = 1 / (1 + np.arange(60))
    odds[59] = 0
    times = np.sort(rng.integers(0, days * DAY, size=days * a_day)) + NOW - days * DAY
    items = rng.choice(60, size=len(times), p=odds / odds.sum())
    return [
        Event(f"u{rng.integers(400)}", f"i{i}", int(t))
        for i, t in zip(items, times, strict=True)
    ]  # fmt: skip


def test_a_flood_on_one_item_is_held_and_named() -> None:
    """S0-29, S4-29: 200 new accounts push i59 within ten minutes; the rest of the shop goes on."""
    rng = np.random.default_rng(1)
    guard = watch()
    assert held(guard.inspect(background(rng))) == []
    flood = [Event(f"fake{n}", "i59", NOW + 3 * n) for n in range(200)]
    found = guard.inspect(flood)
    assert held(found) == list(range(30, 200))
    assert found[30].reason.startswith("about 31 events with this item in an hour, 30 at most")
    assert held(guard.inspect([Event("u1", f"i{n}", NOW + 600) for n in range(9)])) == []
    assert guard.trust.of("fake199", NOW + 600) < 0.8
    assert held(guard.inspect([Event("x", "i59", NOW + 9 * HOUR)])) == []  # it has ebbed


def test_a_sale_is_no_flood_of_each_item() -> None:
    """The whole shop is twelve times as busy for an hour, its bestseller with it; a flood of 60
    events on one item in a calm hour stands out."""
    rng = np.random.default_rng(2)
    guard = watch(flood=5, share=0.0)
    guard.inspect(background(rng, a_day=1200))
    odds = 1 / (1 + np.arange(60))
    items = rng.choice(60, size=600, p=odds / odds.sum())
    sale = [
        Event(f"s{rng.integers(400)}", f"i{i}", NOW + 6 * n) for n, i in enumerate(items.tolist())
    ]
    assert Counter(e.item_id for e in sale)["i0"] > 100
    assert len(held(guard.inspect(sale))) <= 6
    alone = watch(flood=5, share=0.0)
    alone.inspect(background(np.random.default_rng(2), a_day=1200))
    pushed = [Event(f"s{n}", "i40", NOW + 60 * n) for n in range(60)]
    assert len(held(alone.inspect(pushed))) > 40


def test_trust_falls_with_what_is_held_and_comes_back() -> None:
    guard = EventGuard(distrust=0.5).watch(ITEMS, trust=TrustScores(strength=1.0).start())
    guard.trust.add("u", 1.0, NOW, weight=2)
    (first,) = guard.inspect([Event("u", "i0")], NOW)
    assert first.reason == "the user is trusted 0.27, 0.50 is needed"
    assert first.action == "quarantine" and first.score > 0.5
    later = [Event("u", f"i{n}", NOW + 5000 * n * n) for n in range(1, 20)]
    found = guard.inspect(later)
    assert found[0].action == "quarantine" and found[-1].action == "admit"
    assert held(found) == list(range(len(held(found))))  # held at first, then trusted for good


def test_the_same_stream_gives_the_same_verdicts() -> None:
    stream = background(np.random.default_rng(3), days=2)
    stream += [Event(f"f{n}", "i59", NOW) for n in range(60)]
    whole = watch().inspect(stream)
    guard = watch()
    pieces = [v for s in range(0, len(stream), 7) for v in guard.inspect(stream[s : s + 7])]
    assert pieces == whole and len(held(whole)) == 30


def test_memory_is_bounded_and_a_user_can_be_erased() -> None:
    guard = EventGuard(most=50).watch(ITEMS, trust=TrustScores(most=50).start())
    guard.inspect([Event(f"u{n}", f"i{n % 60}", NOW + n) for n in range(500)])
    assert (len(guard._users), len(guard._items), len(guard.trust)) == (50, 50, 50)
    assert guard.forget("u499") and not guard.forget("u499") and not guard.forget("u0")
    assert guard.trust.of("u499", NOW) == 0.8


def test_counters_by_hand() -> None:
    count = Decayed(10)
    assert [count.add(t) for t in (0, 0, 10, 0)] == [1, 2, 2, 3]
    assert count.at(30) == 0.75 and count.at(-5) == 3
    gaps = Gaps()
    found = [gaps.add(t) for t in (0, 2, 6, 5, 12)]
    assert found[2] == (3, pytest.approx(1 / 3))
    assert gaps.n == 3 and gaps.mean == 4  # 5 was reported late: no gap
    assert found[4].share == pytest.approx(np.std([2, 4, 6]) / 4)
    pace = Pace()
    for _ in range(168):
        pace.take(0)
    assert (pace.expected(0), pace.busy(0)) == (1, 168)
    assert Pace().busy(0) == 1


def taken_over(data: Dataset, rng: np.random.Generator) -> tuple[Dataset, np.ndarray]:
    """One user in eight goes on with the latest half of another group's user's items."""
    items = data.event_items.copy()
    stolen = rng.choice(data.n_users, size=data.n_users // 8, replace=False)
    for user in stolen.tolist():
        start, end = data.offsets[user], data.offsets[user + 1]
        other = (user + 1) % data.n_users
        theirs = data.event_items[data.offsets[other] : data.offsets[other + 1]]
        half = min((end - start + 1) // 2, len(theirs))
        items[end - half : end] = theirs[-half:]
    events = data.events.with_columns(item=items.astype(np.int32))
    return replace(data, events=events), np.isin(np.arange(data.n_users), stolen)


def test_a_detectors_judgement_lowers_trust_in_accounts_taken_over() -> None:
    """S4-16 in part: what a detector of `hardrank.detection` says of whole histories reaches the
    stream. With half of a history another's the AUROC is 0.79 (the row's 0.85 is asked of
    sequences that are another's altogether)."""
    assert GROUPS == 3
    data, stolen = taken_over(
        taste_log(users=160, items=60, events=20), np.random.default_rng(0)
    )  # fmt: skip
    guard = watch()
    guard.refresh(
        data, InterestConsistency(), NOW, calibrate=lambda s: midranks(s.astype(float))
    )  # fmt: skip
    trust = np.array([guard.trust.of(u, NOW) for u in data.users["user_id"]])
    assert auroc(1 - trust, stolen) >= 0.75
    usual = watch()
    usual.refresh(data, InterestConsistency(), NOW)
    assert usual.trust.of("nobody", NOW) == 0.8
