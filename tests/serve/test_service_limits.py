"""What one key can make the service do: time, memory, other people's keys, guards that learn."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from sqlalchemy import select

from hardrank.errors import DataError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.change_of_text import ChangeOfText
from hardrank.guards.events import EventGuard
from hardrank.models import Popularity
from hardrank.serve import lists
from hardrank.serve.catalogue import Catalogue
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.event_door import EventDoor
from hardrank.serve.fallback import popular_of
from hardrank.serve.ingest import Ingest
from hardrank.serve.limits import Quotas
from hardrank.serve.metrics import Metrics
from hardrank.serve.monitors import Alarm
from hardrank.serve.records import EventIn
from hardrank.serve.remembered import Remembered
from hardrank.serve.report import allowed
from hardrank.serve.routes.quarantine import pieces
from hardrank.serve.settings import Settings
from hardrank.serve.store import Store
from hardrank.serve.swap import Live
from hardrank.serve.tables import tombstones
from hardrank.serve.watching import Watching
from hardrank.testing.service import WordGuard, served, toy_bundle

_HISTORY = {"history": ["i0"]}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`live`, and `larger` with ten items more."""
    folder = tmp_path_factory.mktemp("bundles")
    toy_bundle(folder / "live", Popularity())
    toy_bundle(folder / "larger", Popularity(), items=70)
    return folder


def _line(said: Any) -> bytes:
    return json.dumps(said).encode()


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.db") as opened:
        yield opened


# Keys


def test_wrong_keys_of_others_do_not_lock_out_who_was_let_in(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", refusals=3, key_seconds=0.0) as shop:
        assert shop.ask("review", "GET", "/metrics").status_code == 200
        wrong = {"Authorization": "Bearer hr_000000000000_" + "a" * 43}
        codes = [shop.client.get("/metrics", headers=wrong).status_code for _ in range(4)]
        assert codes == [401, 401, 401, 429]
        assert shop.ask("review", "GET", "/metrics").status_code == 200


def test_a_key_with_a_quota_is_told_at_once_while_the_store_is_away(
    bundles: Path, tmp_path: Path
) -> None:
    with served(bundles / "live", tmp_path / "s.db") as shop:
        service, calls = shop.app.state.service, []

        def away(*_: Any) -> bool:
            calls.append(1)
            raise StoreUnavailable("away")

        async def ask() -> None:
            with pytest.raises(StoreUnavailable):
                await service.door._quotas.wait("somebody", 100)

        service.store.spend = away
        for _ in range(5):
            asyncio.run(ask())
        assert len(calls) == 1


def test_a_party_that_reads_with_one_key_and_writes_with_another_probes(
    bundles: Path, tmp_path: Path
) -> None:
    """S1-53: no key but an administrator's does both."""
    with served(bundles / "live", tmp_path / "s.db", probes=3, block_probes=True) as shop:
        store = shop.app.state.service.store
        for role in ("read", "ingest"):
            shop.keys[f"acme {role}"] = store.add_key("acme", role)
        codes = []
        for n in range(6):
            put = {"fields": {"title": f"group 0 number {n} a lamp that is never the same"}}
            codes.append(shop.ask("acme ingest", "PUT", "/v1/items/i1", json=put).status_code)
            shop.ask("acme read", "POST", "/v1/recommend", json=_HISTORY)
        assert codes == [200] * 4 + [429] * 2
        assert shop.ask("ingest", "PUT", "/v1/items/i1", json=put).status_code == 200


# Time


def test_a_filter_with_many_values_reads_a_column_once() -> None:
    class Once(list[str]):
        times = 0

        def __iter__(self) -> Iterator[str]:
            Once.times += 1
            return super().__iter__()

    catalogue = Catalogue(pl.DataFrame({"item_id": ["a", "b", "c"], "brand": ["x", "y", "x"]}))
    catalogue.columns["brand"] = Once(["x", "y", "x"])
    wanted = ["x", *(f"none{n}" for n in range(300))]
    for _ in range(2):
        allowed = catalogue.allowed({"brand": wanted})
        assert allowed is not None and allowed.tolist() == [True, False, True]
    assert Once.times <= 2 and len(catalogue._matches) <= 301


def test_texts_that_repeat_themselves_are_not_compared_for_ever() -> None:
    for a, b in (("!" * 400, "!?" * 200), ("w " * 200, "w v " * 100)):
        assert pieces(a, b) == [("removed", a), ("added", b)]
    a = " ".join(f"v{n}" for n in range(199))
    b = " ".join(f"w{n}" for n in range(199))
    began = time.process_time()
    for _ in range(20):
        assert pieces(a, b) == [("removed", a), ("added", b)]
    assert time.process_time() - began < 1.0
    assert pieces("a red lamp", "a blue lamp") == [
        ("same", "a "), ("removed", "red"), ("added", "blue"), ("same", " lamp"),
    ]  # fmt: skip


def test_an_erasure_that_waits_for_the_model_holds_up_nobody_else(
    bundles: Path, tmp_path: Path
) -> None:
    with served(bundles / "live", tmp_path / "s.db", drain=0.2) as shop:
        engine, answers = shop.app.state.service.live.engine, []
        user = next(iter(engine.bundle.histories))
        erasing = threading.Thread(
            target=lambda: answers.append(shop.ask("admin", "DELETE", f"/v1/users/{user}"))
        )
        with engine._lock:  # as a pass of the model does
            erasing.start()
            time.sleep(0.3)
            asked = threading.Thread(target=lambda: answers.append(shop.client.get("/v1/health")))
            asked.start()
            asked.join(5.0)
            assert not asked.is_alive() and answers[0].status_code == 200
        erasing.join(5.0)
        assert answers[1].json()["removed"]["bundled"] > 0


# Memory


def test_long_answers_leave_no_room_for_ten_thousand_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hardrank.serve.remembered._ROOM", 100)
    kept = Remembered(10)
    for n in range(5):
        kept.put(b"%d" % n, None, (), b"x" * 40)
        kept.put(b"%d" % n, None, (), b"x" * 40)  # again: counted once
    assert [kept.user_of(b"%d" % n)[0] for n in range(5)] == [False, False, False, True, True]
    assert kept.get(b"4", ("other",)) is None  # gone, and so are its bytes
    kept.put(b"5", None, (), b"x" * 60)
    assert kept.user_of(b"3")[0] and kept.user_of(b"5")[0]


def test_columns_of_items_do_not_grow_without_end(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db") as shop:
        lines = [
            {"item_id": f"n{n}", "fields": {f"c{n}_{m}": "x" for m in range(32)}} for n in range(9)
        ]
        body = "\n".join(map(json.dumps, lines))
        said = shop.ask("ingest", "POST", "/v1/items", content=body).text.splitlines()
        states = [json.loads(line)["state"] for line in said]
        assert states == ["live"] * 3 + ["refused"] * 6
        assert len(shop.app.state.service.live.popular.columns) <= 100
        more = {"fields": {"another": "x"}}
        fits = {"fields": {"c0_0": "y"}}
        assert shop.ask("ingest", "PUT", "/v1/items/i0", json=more).status_code in (200, 422)
        assert shop.ask("ingest", "PUT", "/v1/items/i0", json=fits).status_code == 200


# Guards that learn


def test_copies_of_one_event_id_count_for_nobody_else(lite: Store) -> None:
    """One event is kept: the guard must not count forty of another user."""
    now = 1_800_000_000
    lite._clock = lambda: float(now)
    live = SimpleNamespace(engine=object(), fields=lambda _: {})
    door = EventDoor(lite, cast(Live, live), EventGuard(minute=5), clock=lambda: float(now))
    copies = [EventIn("one", "victim" if n else "v", f"i{n}", now) for n in range(40)]
    assert door.take(copies) == ["kept"] + ["known"] * 39
    assert door.take([EventIn("two", "victim", "i1", now)]) == ["kept"]


@dataclass
class Looks:
    """Remembers what it was shown."""

    kind: str = "looks"
    seen: Listing | None = None

    def inspect(self, listings: Any, shop: Shop) -> list[Verdict]:
        self.seen = listings[-1]
        return [admit(self.kind) for _ in listings]


def test_a_rewrite_is_compared_with_what_another_process_wrote(lite: Store) -> None:
    looks, popular = Looks(), popular_of(None, {})
    live = SimpleNamespace(
        engine=None, generation=0, popular=popular, fields=popular.fields,
        put_item=lambda *_: True, remove_item=lambda _: None,
    )  # fmt: skip
    ingest = Ingest(lite, cast(Live, live), looks)
    lite.put_item("lamp", {"title": "a lamp", "brand": "b"}, admit("elsewhere"))
    ingest.put([("lamp", {"title": "best lamp"})])
    assert looks.seen is not None and looks.seen.before == {"title": "a lamp", "brand": "b"}
    assert looks.seen.fields == {"title": "best lamp", "brand": "b"}
    lite.delete_item("lamp")
    ingest.put([("lamp", {"title": "anew"})])
    assert looks.seen.before == {"title": "best lamp", "brand": "b"}, "the last that stood"
    assert looks.seen.fields == {"title": "anew"} and looks.seen.created is not None


def test_who_deletes_and_creates_anew_is_still_compared(bundles: Path, tmp_path: Path) -> None:
    """Review hijacking by way of a deletion: with what stood last, not with a text that only
    waited, and with the events that were earned since the start, too."""
    guard = ChangeOfText(half=1).restore({})
    with served(bundles / "live", tmp_path / "s.db", guard=guard, follow_seconds=0.0) as shop:

        def put(title: str) -> str:
            body = {"fields": {"title": title}}
            return str(shop.ask("ingest", "PUT", "/v1/items/lamp", json=body).json()["state"])

        assert put("a small green lamp") == "live"
        events = [
            {"event_id": f"e{n}", "user_id": f"v{n}", "item_id": "lamp", "time": 1_000}
            for n in range(40)
        ]
        assert shop.ask("ingest", "POST", "/v1/events", json={"events": events}).status_code == 200
        for _ in range(2):
            assert shop.ask("ingest", "DELETE", "/v1/items/lamp").status_code == 200
            assert put("quite another pill") == "quarantined"
        assert put("a small blue lamp") == "live", "an honest edit passes"


# A bound for what a key makes


def test_a_full_catalogue_takes_no_new_items(bundles: Path, tmp_path: Path) -> None:
    """62 items and no more: old ones are rewritten still, deleted ones come back."""
    with served(bundles / "live", tmp_path / "s.db", max_items=62) as shop:

        def put(item: str) -> Any:
            return shop.ask("ingest", "PUT", f"/v1/items/{item}", json={"fields": {"title": "x"}})

        lines = [{"item_id": name, "fields": {"title": "x"}} for name in ("a", "i3", "b", "c")]
        sent = shop.ask("ingest", "POST", "/v1/items", content=b"\n".join(map(_line, lines)))
        states = [json.loads(line)["state"] for line in sent.text.splitlines()]
        assert states == ["live", "live", "live", "refused"] and "full" in sent.text
        assert put("d").status_code == 422 and "full" in put("d").json()["error"]
        assert put("i5").status_code == 200
        assert shop.ask("ingest", "DELETE", "/v1/items/a").status_code == 200
        assert put("a").status_code == 200 and put("d").status_code == 422


def test_items_that_wait_fill_the_catalogue_too(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", max_items=60, guard=WordGuard()) as shop:
        body = {"fields": {"title": "spam"}}
        assert shop.ask("ingest", "PUT", "/v1/items/new", json=body).status_code == 422
        assert shop.ask("review", "GET", "/v1/quarantine").json()["rows"] == []


def test_a_line_of_a_bulk_request_is_a_unit_of_the_quota(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db") as shop:
        key = shop.app.state.service.store.add_key("feed", "ingest", 10)
        header = {"Authorization": f"Bearer {key}"}

        def send(n: int) -> int:
            line = json.dumps({"item_id": "i5", "fields": {"title": "x"}})
            body = "\n".join([line] * n)
            return int(shop.client.post("/v1/items", content=body, headers=header).status_code)

        assert [send(4), send(6), send(1)] == [200, 200, 429]
        assert shop.app.state.service.store.used() == {header["Authorization"][10:22]: 10}


def test_a_request_that_is_too_much_for_a_quota_counts_little(tmp_path: Path) -> None:
    spent = list[int]()

    async def spend(_: str, units: int) -> bool:
        fits = sum(spent) + units <= 100
        spent.extend([units] if fits else [])
        return fits

    async def work() -> None:
        quotas = Quotas(spend, lambda: 86_400.0 * 10)
        assert await quotas.take("k", 100, 101) > 0 and spent == []
        assert await quotas.wait("k", 100) == 0 and spent == [5]
        assert await quotas.take("k", 100, 94) == 0 and spent == [5, 90]
        assert await quotas.take("k", 100, 6) > 0 and spent == [5, 90]
        assert await quotas.take("k", 100, 5) == 0 and sum(spent) == 100
        assert await quotas.wait("k", 100) > 0

    asyncio.run(work())


def test_who_guesses_links_waits_as_who_guesses_keys(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", refusals=3) as shop:
        asked = {"until": int(time.time()) + 30, "mark": "0" * 64}
        told = [shop.client.get("/console/report", params=asked) for _ in range(5)]
        assert [t.status_code for t in told] == [403, 403, 403, 429, 429]
        assert int(told[4].headers["Retry-After"]) >= 1
        header = {"Authorization": "Bearer hr_000000000000_" + "a" * 43}
        assert shop.client.get("/metrics", headers=header).status_code == 429, "one account of both"


def test_no_tombstone_is_a_link(lite: Store) -> None:
    """Both are made with the store's salt: what erasing a user with a chosen id leaves in the
    database opens nothing."""
    until = int(time.time()) + 30
    lite.erase_user(f"console report until {until}")
    lite.erase_user(str(until))
    marks = lite.database.read(lambda c: c.execute(select(tombstones.c.digest)).scalars().all())
    assert len(marks) == 2 and not any(allowed(lite, until, mark) for mark in marks)


def test_items_that_only_the_next_bundle_has_are_known(bundles: Path, tmp_path: Path) -> None:
    """Their events are no impossible ones, and a rewrite has a text to be compared with."""
    with served(bundles / "live", tmp_path / "s.db", event_guard=True) as shop:
        assert shop.ask("ingest", "GET", "/v1/items/i65").status_code == 404
        swap = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "larger"})
        assert swap.status_code == 200
        assert shop.ask("ingest", "GET", "/v1/items/i65").json()["fields"]["brand"] == "b0"
        event = {"event_id": "e", "user_id": "u", "item_id": "i65", "time": int(time.time())}
        sent = shop.ask("ingest", "POST", "/v1/events", json={"events": [event]}).json()
        assert sent["added"] == 1 and sent["held"] == 0


# Answers and alarms


def test_an_answer_made_of_an_older_past_is_not_remembered(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db") as shop:
        service = shop.app.state.service
        turn = service.histories.turn("u")
        service.histories.forget("u")  # an event, while this request read the store
        service.histories.keep("u", ("i1",), fresh=True, turn=service.histories.turn("u"))
        assert service.stamp("u", turn) is None
        assert service.stamp("u", service.histories.turn("u")) is not None


def test_two_threads_that_tell_of_an_alarm_keep_it_once(tmp_path: Path) -> None:
    inside, noted = threading.Barrier(2), list[str]()

    def note(who: str, action: str, subject: str, detail: Mapping[str, str]) -> None:
        try:
            inside.wait(0.5)
        except threading.BrokenBarrierError:
            time.sleep(0.01)
        noted.append(subject)

    store = cast(Store, SimpleNamespace(note=note))
    watching = Watching(Settings(bundle="b"), store, Metrics())
    watching._notes.extend(Alarm("k", s, 1.0, 0.0, 0.0, "m") for s in ("one", "two"))
    threads = [threading.Thread(target=watching._keep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert noted == ["one", "two"]


def test_too_many_columns_are_named_as_such() -> None:
    live = SimpleNamespace(popular=popular_of(None, {}))
    with pytest.raises(DataError, match="too many"):
        Ingest(cast(Store, None), cast(Live, live), None).put(
            [("a", {f"c{n}": "x" for n in range(120)})]
        )


def test_words_in_common_are_looked_up_once_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of 200 with reasons of 50 items compares 10,000 pairs of titles."""
    times: list[str] = []
    words = lists._WORD

    class Counting:
        def findall(self, text: str) -> list[str]:
            times.append(text)
            return words.findall(text)

    monkeypatch.setattr(lists, "_WORD", Counting())
    others = [f"other{n} lamp" for n in range(50)]
    for n in range(20):
        found = lists.nearest(f"mine{n} lamp", others, None, 2)
        assert found == [(0, ("lamp",)), (1, ("lamp",))]
    assert len(times) == 70
    likeness = np.array([-1.0, 0.5, 0.9], dtype=np.float32)
    assert lists.nearest("lamp", others[:3], likeness, 2) == [(2, ("lamp",)), (1, ("lamp",))]
