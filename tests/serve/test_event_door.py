"""Events at the door: kept, known or held, and what a person decides of those that wait."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hardrank.guards.base import Verdict
from hardrank.guards.events import EventGuard
from hardrank.models import Popularity
from hardrank.serve.errors import StoreError, StoreUnavailable
from hardrank.serve.event_door import EventDoor
from hardrank.serve.records import EventIn, EventRow
from hardrank.serve.store import Store
from hardrank.serve.swap import Live
from hardrank.testing.service import Served, served, toy_bundle

NOW = 1_800_000_000
HELD = Verdict("quarantine", "events", 0.7, "too many")
GUARD = EventGuard(minute=5)


def event(n: int, user: str = "u", item: str = "i1", when: int = NOW) -> EventIn:
    return EventIn(f"e{n}", user, item, when)


def door(store: Store, guard: EventGuard | None = GUARD) -> EventDoor:
    """Before a catalogue that has `i0` to `i9`."""
    store._clock = lambda: float(NOW)
    items = {f"i{n}": {"title": "t"} for n in range(10)}
    live = SimpleNamespace(engine=object(), fields=items.get)
    return EventDoor(store, cast(Live, live), guard, clock=lambda: float(NOW))


def a_quiet_week(store: Store, now: int) -> None:
    """Ten events an hour of people who look at i6 to i9: a shop has a pace of its own."""
    past = [
        EventIn(f"past{n}", f"p{n % 400}", f"i{6 + n % 4}", now - 360 * (1600 - n) - n * n % 97)
        for n in range(1600)
    ]
    store.add_events(past)


# The store, on both databases


def test_held_events_are_durable_and_count_nowhere(store: Store) -> None:
    sent = [event(1), event(2), event(3, "v")]
    assert store.take_events(sent, [None, HELD, HELD]) == ["kept", "held", "held"]
    assert store.take_events(sent, [HELD, None, HELD]) == ["known"] * 3
    assert store.known_events([*sent, event(4)]) == [True, True, True, False]
    assert [row.event_id for row in store.events_since()] == ["e1"]
    assert store.history("v") == [] and store.events_per_item() == {"i1": 1}
    assert store.add_events(sent) == [False] * 3 and store.held_count() == 2


def test_the_first_copy_within_a_call_decides(store: Store) -> None:
    twice = [event(1), event(1), event(2), event(2)]
    said = [HELD, None, None, HELD]
    assert store.take_events(twice, said) == ["held", "known", "kept", "known"]
    assert [row.event_id for row in store.events_since()] == ["e2"] and store.held_count() == 1


def test_held_events_are_decided_together(store: Store) -> None:
    sent = [event(1, "u", "a"), event(2, "u", "b", NOW + 5), event(3, "v", "a", NOW + 9)]
    store.take_events(sent, [HELD, Verdict("quarantine", "events", 1.0, "late"), HELD])
    first, second = store.held_groups("item")
    assert (first.name, first.events, first.users, first.items) == ("a", 2, 2, 1)
    assert (first.first, first.last, first.reason) == (NOW, NOW + 9, "too many")
    assert (second.name, second.score, second.reason) == ("b", 1.0, "late")
    assert [(g.name, g.events) for g in store.held_groups("user")] == [("u", 2), ("v", 1)]
    assert len(store.held_groups("user", limit=1)) == 1
    before = store.decide_held("admit", "ann", by="item", name="a", until=first.until - 1)
    assert [row.event_id for row in before] == ["e1"], "what came after `until` waits on"
    assert [e.event_id for e in store.decide_held("reject", "ann", by="user", name="v")] == ["e3"]
    assert [row.event_id for row in store.events_since()] == ["e1"]
    assert store.history("u") == [("a", NOW)] and store.held_count() == 1
    assert store.decide_held("admit", "ann", by="user", name="v") == [], "decided once"
    assert store.take_events(sent, [None] * 3) == ["known"] * 3, "also when it is sent again"


def test_the_audit_log_names_no_user(store: Store) -> None:
    store.take_events([event(1, "anna-42"), event(2, "bob")], [HELD, HELD])
    store.decide_held("admit", "k1", by="user", name="anna-42")
    store.decide_held("reject", "k1", by="item", name="i1")
    rows = [(r.who, r.action, r.detail) for r in store.audit_log()]
    assert rows == [
        ("k1", "reject-events", {"events": "1"}), ("k1", "admit-events", {"events": "1"}),
    ]  # fmt: skip
    assert "anna" not in repr(store.audit_log()) and store.audit_log()[0].subject == "i1"


def test_erasure_takes_held_events_and_refuses_new_ones(store: Store) -> None:
    store.take_events([event(1), event(2), event(3, "v")], [None, HELD, HELD])
    assert store.erase_user("u").events == 2
    assert [g.name for g in store.held_groups("user")] == ["v"]
    assert store.take_events([event(4)], [HELD]) == ["known"] and store.held_count() == 1


def test_recent_events_are_those_of_both_tables_as_they_came(store: Store) -> None:
    for n, said in enumerate([None, HELD, Verdict("quarantine", "events", 1.0, "no item"), None]):
        store._clock = lambda n=n: 100.0 + n  # type: ignore[misc]
        store.take_events([event(n)], [said])
    assert [row.event_id for row in store.recent_events(0, 10)] == ["e0", "e1", "e3"]
    assert [row.event_id for row in store.recent_events(101, 10)] == ["e1", "e3"]
    assert [row.event_id for row in store.recent_events(0, 2)] == ["e1", "e3"]


# The door


@pytest.fixture
def lite(migrated_file: Path, tmp_path: Path) -> Iterator[Store]:
    import shutil

    shutil.copy(migrated_file, tmp_path / "store.db")
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def test_a_bot_is_held_and_the_others_are_kept(lite: Store) -> None:
    """S3-21: what comes back into training is screened at the door."""
    sent = [event(n, "bot", f"i{n}") for n in range(8)] + [event(9, "ann")]
    assert door(lite).take(sent) == ["kept"] * 5 + ["held"] * 3 + ["kept"]
    [group] = lite.held_groups("user")
    assert (group.name, group.events) == ("bot", 3) and "a minute" in group.reason


def test_unknown_items_and_wrong_clocks_are_held(lite: Store) -> None:
    lite.put_item("new", {"title": "put by another process"}, Verdict("admit", "g", 0.0, ""))
    sent = [event(1, item="x"), event(2, when=NOW + 400), event(3, when=5), event(4, item="new")]
    assert door(lite).take(sent) == ["held", "held", "held", "kept"]


def test_without_a_guard_everything_is_kept(lite: Store) -> None:
    assert set(door(lite, None).take([event(n, item="x", when=5) for n in range(99)])) == {"kept"}


def test_sending_again_counts_nothing(lite: Store) -> None:
    made = door(lite)
    for _ in range(20):
        taken = made.take([event(n) for n in range(4)])
    assert taken == ["known"] * 4
    assert made.take([event(4)]) == ["kept"], "the fifth of a minute, not the eighty-first"


def test_a_store_that_fails_in_between_counts_nothing_twice(
    lite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, sent = door(lite), [event(n) for n in range(4)]
    made.start()

    def full(*_: object) -> Any:
        raise StoreUnavailable("full")

    with monkeypatch.context() as patch:
        patch.setattr(lite, "take_events", full)
        for _ in range(9):
            with pytest.raises(StoreError):
                made.take(sent)
    assert made.take([*sent, event(4)]) == ["kept"] * 5 and not made._pending


def test_a_day_that_is_sent_user_by_user_is_no_flood(lite: Store) -> None:
    """Twenty users, each with an event at every hour: sorted, no hour has more than twenty."""
    sent = [
        event(100 * user + hour, f"u{user}", "i1", NOW - 3600 * hour)
        for user in range(20) for hour in range(4, 8)
    ]  # fmt: skip
    assert set(door(lite, EventGuard(gaps=99)).take(sent)) == {"kept"}


def test_a_restart_goes_on_counting(lite: Store) -> None:
    """The week is read again, held events too: a bot gains nothing by a restart."""
    half = [event(n, "bot", f"i{n}") for n in range(5)]
    assert door(lite).take(half) == ["kept"] * 5
    assert door(lite).take([event(5, "bot")]) == ["held"]
    assert door(lite).take([event(6, "bot")]) == ["held"]
    later = door(lite)
    later._clock = lambda: NOW + 9 * 86_400.0
    assert later.take([event(7, "bot", when=NOW + 9 * 86_400)]) == ["kept"]


def test_an_impossible_event_does_not_come_back_by_a_restart(lite: Store) -> None:
    """An event of the far future must not make the clock stand still for everybody else."""
    assert door(lite).take([event(1, when=1 << 40), event(2, item="x")]) == ["held", "held"]
    made = door(lite)
    assert made.take([event(10 + n, f"u{n}", "i2") for n in range(9)]) == ["kept"] * 9
    assert made._watch is not None and max(made._watch._items) == "i2"


def test_the_week_is_read_lazily_where_the_store_was_away(
    lite: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = door(lite)

    def away(*_: object) -> list[EventRow]:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(lite, "recent_events", away)
        made.start()
        with pytest.raises(StoreUnavailable):
            made.take([event(1)])
    assert made.take([event(1)]) == ["kept"]


def test_an_admitted_flood_is_meant_for_a_day(lite: Store) -> None:
    made = door(lite, EventGuard(flood=10))
    a_quiet_week(lite, NOW)

    def rush(first: int) -> list[str]:
        return list(made.take([event(n, f"u{n}") for n in range(first, first + 20)]))

    assert rush(0) == ["kept"] * 10 + ["held"] * 10
    decided = made.decide("admit", "ann", "item", "i1", None)
    assert len(decided) == 10 and len(lite.events_since()) == 1620
    assert rush(100) == ["kept"] * 20
    made._clock = lambda: NOW + 86_401.0
    late = [event(n, f"u{n}", when=NOW + 86_401) for n in range(200, 220)]
    assert "held" in made.take(late)


def test_trust_follows_the_decision(lite: Store) -> None:
    made = door(lite)
    made.take([event(100 * ord(user) + n, user, f"i{n % 9}") for user in "ab" for n in range(12)])
    assert made._watch is not None
    low = made._watch.trust.of("a", NOW)
    made.decide("admit", "ann", "user", "a", None)
    held = len(made.decide("reject", "ann", "user", "b", None))
    assert made._watch.trust.of("a", NOW) > low > made._watch.trust.of("b", NOW)
    assert held and lite.held_count() == 0


def test_an_erased_user_is_forgotten_by_the_guard(lite: Store) -> None:
    made = door(lite)
    made.take([event(1)])
    lite.erase_user("u")
    made.forget("u")
    assert made.take([event(2)]) == ["known"]
    assert made._watch is not None and not made._watch._users and not len(made._watch.trust)


@pytest.mark.slow
def test_a_busy_week_is_read_again_in_seconds(lite: Store) -> None:
    """100,000 events, of which a start replays all."""
    made = door(lite)
    for start in range(0, 100_000, 5_000):
        lite.add_events(
            [event(n, f"u{n % 9_000}", f"i{n % 10}", NOW - n) for n in range(start, start + 5_000)]
        )
    began = time.process_time()
    made.start()
    spent = time.process_time() - began
    print(f"replayed 100,000 events in {spent:.2f} s of CPU")
    assert spent < 20 and made._watch is not None and len(made._watch._users) == 9_000


# Over HTTP


@pytest.fixture
def shop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    bundle = toy_bundle(tmp_path / "live", Popularity())
    with Store.open(tmp_path / "s.db") as store:
        a_quiet_week(store, int(time.time()))
    with served(bundle, tmp_path / "s.db", event_guard=True) as made:
        yield made


def test_a_flood_over_http(shop: Served) -> None:
    now = int(time.time())
    sent = [
        {"event_id": f"f{n}", "user_id": f"u-{n}", "item_id": "i3", "time": now} for n in range(60)
    ]
    answer = shop.ask("ingest", "POST", "/v1/events", json={"events": sent}).json()
    assert (answer["added"], answer["known"], answer["held"]) == (30, 0, 30)
    assert answer["events"][59] == {"event_id": "f59", "new": False, "held": True}
    again = shop.ask("ingest", "POST", "/v1/events", json={"events": sent}).json()
    assert (again["added"], again["known"], again["held"]) == (0, 60, 0)
    seen = shop.ask("review", "GET", "/v1/quarantine/events").json()
    [group] = seen["groups"]
    assert seen["waiting"] == 30 and (group["name"], group["users"]) == ("i3", 30)
    by_user = shop.ask("review", "GET", "/v1/quarantine/events?by=user&limit=7").json()
    assert len(by_user["groups"]) == 7

    def listed() -> list[str]:
        asked = {"user_id": "u-59", "k": 100}
        answer = shop.ask("read", "POST", "/v1/recommend", json=asked).json()
        return [item["item_id"] for item in answer["items"]]

    assert "i3" in listed(), "a held event is in no history"
    decision = {"by": "item", "name": "i3", "until": group["until"]}
    done = shop.ask("review", "POST", "/v1/quarantine/events/admit", json=decision)
    assert done.json() == {"action": "admit", "events": 30}
    assert "i3" not in listed(), "an admitted one is, at once"
    empty = shop.ask("review", "POST", "/v1/quarantine/events/reject", json=decision)
    assert empty.json() == {"action": "reject", "events": 0}
    text = shop.ask("review", "GET", "/metrics").text
    assert 'hardrank_events_total{new="held"} 30.0' in text


def test_who_may_decide_and_what_is_refused(shop: Served) -> None:
    decision = {"by": "user", "name": "u1"}
    for role in ("read", "ingest"):
        assert shop.ask(role, "GET", "/v1/quarantine/events").status_code == 403
        asked = shop.ask(role, "POST", "/v1/quarantine/events/admit", json=decision)
        assert asked.status_code == 403
    for bad in ({"by": "shop", "name": "u"}, {"by": "user"}, {"by": "user", "name": ""}, {}):
        asked = shop.ask("review", "POST", "/v1/quarantine/events/admit", json=bad)
        assert asked.status_code == 422
    asked = shop.ask("review", "POST", "/v1/quarantine/events/keep", json=decision)
    assert asked.status_code == 422
    assert shop.ask("review", "POST", "/v1/quarantine/7/admit").status_code == 404
