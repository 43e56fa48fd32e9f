"""Several processes on one store show the same catalogue (C11)."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest

from hardrank.guards.base import Verdict, admit
from hardrank.models import Tfidf
from hardrank.serve.engine import Engine
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.loading import load_engine
from hardrank.serve.service import Service
from hardrank.serve.store import Store
from hardrank.testing.service import Served, WordGuard, served, toy_bundle, until

_HELD = Verdict("quarantine", "g", 0.9, "r")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("bundles") / "live", Tfidf())


@pytest.fixture
def pair(bundle: Path, store_url: str) -> Iterator[list[Served]]:
    """Two services on one store, on each database."""
    with ExitStack() as running:
        yield [
            running.enter_context(
                served(bundle, cast(Path, store_url), guard=WordGuard(), follow_seconds=0.05)
            )
            for _ in range(2)
        ]


@pytest.fixture
def shop(bundle: Path, tmp_path: Path) -> Iterator[Served]:
    """Alone; it looks when it is told to."""
    with served(bundle, tmp_path / "s.db", follow_seconds=0.0) as made:
        yield made


def _service(shop: Served) -> Service:
    service: Service = shop.app.state.service
    return service


def _look(shop: Served) -> int:
    return int(shop.client.portal.call(_service(shop).items.look))


def _listed(shop: Served) -> dict[str, str]:
    """Titles by item, as the model lists all."""
    asked = {"history": ["i0"], "k": 200, "exclude_seen": False}
    answer = shop.ask("read", "POST", "/v1/recommend", json=asked).json()
    assert answer["source"] == "model"
    return {item["item_id"]: item["title"] for item in answer["items"]}


def _popular(shop: Served) -> dict[str, str]:
    """The same of popularity."""
    frame = _service(shop).live.popular.frame()
    return dict(frame.select("item_id", "title").iter_rows())


def _put(shop: Served, item: str, title: str) -> str:
    told = shop.ask("ingest", "PUT", f"/v1/items/{item}", json={"fields": {"title": title}})
    return str(told.json()["state"])


def test_what_one_process_does_the_other_shows(pair: list[Served]) -> None:
    """Created, rewritten, mended, deleted, held, admitted, refused."""
    one, other = pair
    assert _put(one, "new", "group 1 lamp") == "live"
    assert _put(one, "i6", "a thing anew") == "live"
    assert _put(one, "i7", "SHOUTED thing") == "live"
    assert one.ask("ingest", "DELETE", "/v1/items/i5").status_code == 200
    assert _put(one, "i8", "spam") == "quarantined" == _put(one, "held", "spam lamp")
    assert _put(one, "refused", "spam again") == "quarantined"
    until(lambda: "i5" not in _listed(other) and "new" in _listed(other))
    until(lambda: _listed(other) == _listed(one))
    found = _listed(other)
    assert (found["new"], found["i6"], found["i7"]) == (
        "group 1 lamp", "a thing anew", "shouted thing",
    )  # fmt: skip
    assert found["i8"] == "group 2 thing 8" and not {"held", "refused"} & set(found)
    rows = other.ask("review", "GET", "/v1/quarantine").json()["rows"]
    case = {row["item_id"]: row["id"] for row in rows}
    for item, action in (("held", "admit"), ("i8", "admit"), ("refused", "reject")):
        done = other.ask("review", "POST", f"/v1/quarantine/{case[item]}/{action}")
        assert done.status_code == 200
    assert _put(other, "i5", "back again") == "live"
    until(lambda: _listed(one).get("held") == "spam lamp" and _listed(one).get("i8") == "spam")
    until(lambda: _listed(one).get("i5") == "back again")
    assert "refused" not in _listed(one)
    assert _listed(one) == _listed(other) == _popular(one) == _popular(other)


def test_a_text_that_stands_is_not_read_again(
    shop: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what this process wrote itself nor what another wrote just the same: no text is
    encoded and no remembered answer is lost."""
    _put(shop, "new", "group 1 lamp")
    shop.ask("ingest", "DELETE", "/v1/items/i5")
    service, read = _service(shop), list[str]()
    engine = service.live.engine
    assert engine is not None
    version, put = engine.version, Engine.put_item

    def counted(self: Engine, item_id: str, fields: Any) -> bool:
        read.append(item_id)
        return put(self, item_id, fields)

    monkeypatch.setattr(Engine, "put_item", counted)
    assert _look(shop) == 0 and read == [] and engine.version == version
    stands = service.live.fields("i9") or {}
    service.store.put_item("i9", stands, admit("elsewhere"))
    service.store.put_item("i10", {**(service.live.fields("i10") or {}), "title": "x"}, admit("e"))
    assert _look(shop) == 1 and read == ["i10"] and _look(shop) == 0


def test_many_changes_come_in_pages(shop: Served) -> None:
    store = _service(shop).store
    store.put_items([(f"n{n}", {"title": f"thing {n}"}, admit("e")) for n in range(120)])
    for n in range(105):
        store.put_item(f"n{n}", {"title": f"other {n}"}, admit("e"))
    assert _look(shop) == 120
    found = _listed(shop)
    assert [found[f"n{n}"] for n in (0, 104, 105)] == ["other 0", "other 104", "thing 105"]


def test_what_is_written_while_a_bundle_is_loaded_is_found(bundle: Path, tmp_path: Path) -> None:
    """Before the first look, and after the engine read the store."""
    with Store.open(tmp_path / "s.db") as elsewhere:

        def load(*arguments: Any) -> Engine:
            engine = load_engine(*arguments)
            elsewhere.put_item("i4", {"title": "late"}, admit("e"))
            elsewhere.put_item("i5", {"title": "late"}, admit("e"))
            elsewhere.delete_item("i5")
            return engine

        with served(bundle, tmp_path / "s.db", follow_seconds=0.0, loader=load) as shop:
            assert _listed(shop)["i4"] == "group 1 thing 4"
            assert _look(shop) == 2
            assert _listed(shop)["i4"] == "late" and "i5" not in _listed(shop)
            assert _popular(shop) == _listed(shop)


def test_a_store_that_is_away_is_asked_again(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    service = _service(shop)
    service.store.put_item("i4", {"title": "other"}, admit("e"))
    assert _listed(shop)["i4"] != "other"

    def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(service.store, "items_since", away)
        shop.client.portal.call(service.items._try)
    assert _listed(shop)["i4"] != "other"
    assert _look(shop) == 1 and _listed(shop)["i4"] == "other"


def test_changes_are_numbered_as_they_happen(store: Store) -> None:
    assert (store.last_change(), store.items_since()) == (0, [])
    store.put_items([(name, {"t": "1"}, admit("g")) for name in "ab"])
    assert [(r.item_id, r.change) for r in store.items_since()] == [("a", 1), ("b", 2)]
    store.put_item("a", {"t": "1"}, admit("g"))
    assert store.last_change() == 2, "nothing changed"
    store.put_item("a", {"t": "2"}, _HELD)
    assert [(r.item_id, r.change, r.fields) for r in store.items_since(2)] == [("a", 3, {"t": "1"})]
    store.decide(store.quarantine()[0].id, "admit", "ann")
    assert [(r.change, r.fields) for r in store.items_since(3)] == [(4, {"t": "2"})]
    store.delete_item("b")
    assert [(r.item_id, r.state) for r in store.items_since(4)] == [("b", "deleted")]
    assert not store.delete_item("b") and store.last_change() == 5
    assert [r.item_id for r in store.items_since(0, 1)] == ["a"]


def test_who_follows_misses_nothing_of_writers_at_once(store_url: str) -> None:
    """Four writers, and a reader that never looks back below a number it has seen."""
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(store_url, patience=10.0)) for _ in range(5)]

        def write(store: Store, own: int) -> None:
            for n in range(25):
                store.put_items([(f"i{k}", {"t": f"{own} {n} {k}"}, admit("g")) for k in (n, own)])

        threads = [threading.Thread(target=write, args=(s, n)) for n, s in enumerate(stores[:4])]
        for thread in threads:
            thread.start()
        reader, mark, seen = stores[4], 0, dict[str, dict[str, str]]()
        while True:
            last = not any(thread.is_alive() for thread in threads)
            for row in reader.items_since(mark, 7):
                assert row.change > mark
                mark, seen[row.item_id] = row.change, row.fields
            if last and mark == reader.last_change():
                break
        assert seen == {row.item_id: row.fields for row in reader.items()}


def test_the_last_text_that_stood_is_known(store: Store) -> None:
    assert store.last_live("a") is None
    store.put_item("a", {"t": "held"}, _HELD)
    assert store.last_live("a") is None
    store.put_item("a", {"t": "1"}, admit("g"))
    store.put_item("a", {"t": "SPAM"}, Verdict("mend", "g", 0.1, "r", {"t": "spam"}))
    store.put_item("a", {"t": "held"}, _HELD)
    assert store.last_live("a") == {"t": "spam"}
    store.delete_item("a")
    assert store.last_live("a") == {"t": "spam"}
    store.put_item("a", {"t": "other"}, _HELD)
    store.decide(store.quarantine()[0].id, "reject", "ann")
    assert store.last_live("a") == {"t": "spam"}
    store.put_item("a", {"t": "third"}, _HELD)
    store.decide(store.quarantine()[0].id, "admit", "ann")
    store.delete_item("a")
    assert store.last_live("a") == {"t": "third"}
