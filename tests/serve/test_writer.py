"""A model that hangs with its engine's lock in hand does not stop writing for good (S3-46)."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.models import Tfidf
from hardrank.serve.engine import Engine
from hardrank.serve.service import Service
from hardrank.serve.worker import LeftBehind, Worker
from hardrank.testing.service import Served, served, toy_bundle, until


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    toy_bundle(folder / "live", Tfidf())
    toy_bundle(folder / "other", Tfidf(), seed=1)
    return folder


class Hung:
    """Who holds the lock of an engine until told to let go."""

    def __init__(self, engine: Engine | None) -> None:
        assert engine is not None
        self.engine, self.go, held = engine, threading.Event(), threading.Event()

        def hold() -> None:
            with self.engine._lock:
                held.set()
                self.go.wait(30)

        self.thread = threading.Thread(target=hold, daemon=True)
        self.thread.start()
        assert held.wait(5)


def _service(shop: Served) -> Service:
    service: Service = shop.app.state.service
    return service


@pytest.fixture
def hang() -> Iterator[Callable[[Served], Hung]]:
    made = list[Hung]()

    def begin(shop: Served) -> Hung:
        made.append(Hung(_service(shop).live.engine))
        return made[-1]

    yield begin
    for hung in made:
        hung.go.set()
        hung.thread.join(5)


def _put(shop: Served, item: str, title: str) -> Any:
    return shop.ask("ingest", "PUT", f"/v1/items/{item}", json={"fields": {"title": title}})


class Behind:
    """A request that is under way."""

    def __init__(self, shop: Served, item: str, title: str) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._ask, args=(shop, item, title))
        self._thread.start()

    def _ask(self, *asked: Any) -> None:
        self.answer = _put(*asked)

    def wait(self) -> Any:
        self._thread.join(15)
        assert self.answer is not None, "it still waits"
        return self.answer


def _reads(shop: Served, item: str) -> set[str]:
    """What the store, popularity and the model say of an item."""
    live, kept = _service(shop).live, _service(shop).store.item(item)
    engine = live.engine
    assert engine is not None and kept is not None
    row = engine.catalogue.row(item)
    said = [kept.fields, live.popular.fields(item) or {}, engine.catalogue.fields(row or 0)]
    return {fields.get("title", "") for fields in said}


@pytest.mark.parametrize("follow", [0.0, 0.05])
def test_another_bundle_opens_the_door_again(
    bundles: Path, tmp_path: Path, hang: Callable[[Served], Hung], follow: float
) -> None:
    """The write that hangs and those behind it are answered with 503; the next are done, and a
    newer text is not written over by the older one when its call returns."""
    with served(bundles / "live", tmp_path / "s.db", patience=0.2, drain=0.5,
                follow_seconds=follow) as shop:  # fmt: skip
        hung = hang(shop)
        first, second = Behind(shop, "i5", "hung"), Behind(shop, "i6", "behind")
        time.sleep(0.4)
        done = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"})
        assert done.status_code == 200
        told = [first.wait(), second.wait()]
        assert [t.status_code for t in told] == [503, 503] and "Retry-After" in told[0].headers
        assert _put(shop, "i5", "newer").status_code == 200 and _reads(shop, "i5") == {"newer"}
        hung.go.set()
        until(lambda: not _service(shop)._writer.worker._ended)
        time.sleep(0.1)
        assert _reads(shop, "i5") == {"newer"}
        assert _put(shop, "i6", "again").status_code == 200 and _reads(shop, "i6") == {"again"}


def test_without_another_bundle_nobody_waits_for_ever(
    bundles: Path, tmp_path: Path, hang: Callable[[Served], Hung]
) -> None:
    """After `write_seconds` it is said; while the call hangs the next are told at once; when
    it returns, the door opens."""
    with served(bundles / "live", tmp_path / "s.db", write_seconds=0.4, patience=0.2,
                follow_seconds=0.0) as shop:  # fmt: skip
        hung = hang(shop)
        first = Behind(shop, "i5", "hung")
        assert first.wait().status_code == 503
        begun = time.monotonic()
        assert [_put(shop, "i6", "x").status_code for _ in range(3)] == [503] * 3
        assert shop.ask("ingest", "DELETE", "/v1/items/i7").status_code == 503
        assert time.monotonic() - begun < 1.0
        hung.go.set()
        until(lambda: _put(shop, "i6", "later").status_code == 200)
        assert _reads(shop, "i6") == {"later"}
        until(lambda: len(_reads(shop, "i5")) == 1)  # the store kept it, so all have it


def test_the_monitors_go_on(bundles: Path, tmp_path: Path, hang: Callable[[Served], Hung]) -> None:
    """They lift what is popular now, and do not wait for a model that hangs."""
    with served(bundles / "live", tmp_path / "s.db", prior=1.0) as shop:
        service, done = _service(shop), threading.Event()
        hang(shop)
        thread = threading.Thread(
            target=lambda: (service._lift(service.watching.clock()), done.set()), daemon=True
        )
        thread.start()
        assert done.wait(10)


class Waits:
    """A guard that asks something that hangs."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        if any("hangs" in one.text for one in listings):
            self.go.wait(30)
        return [admit("waits") for _ in listings]


def test_who_was_told_that_it_failed_writes_nothing_later(bundles: Path, tmp_path: Path) -> None:
    guard = Waits()
    with served(bundles / "live", tmp_path / "s.db", write_seconds=0.3, guard=guard,
                follow_seconds=0.0) as shop:  # fmt: skip
        assert _put(shop, "i5", "hangs").status_code == 503
        _service(shop)._writer._hangs = None  # as another bundle does
        assert _put(shop, "i5", "newer").status_code == 200
        guard.go.set()
        until(lambda: not _service(shop)._writer.worker._ended)
        assert _reads(shop, "i5") == {"newer"}
        assert [v.shown["title"] for v in _service(shop).store.versions("i5")][1:] == ["newer"]


def test_a_call_that_is_left_behind_is_told_so() -> None:
    worker, go, late, ended = Worker("test"), threading.Event(), list[str](), threading.Event()

    def call() -> None:
        worker.fence()
        go.wait(10)
        try:
            worker.fence()
        except LeftBehind:
            late.append("left behind")

    stuck, waiting = worker.submit(call), worker.submit(int, "1")
    time.sleep(0.05)
    worker.renew(lambda: ValueError("told"), ended.set)
    for future in (stuck, waiting):
        with pytest.raises(ValueError, match="told"):
            future.result(5)
    assert worker.submit(int, "2").result(5) == 2 and not ended.is_set()
    go.set()
    assert ended.wait(5) and late == ["left behind"] and worker.alive
    assert worker.submit(int, "3").result(5) == 3
    worker.shutdown(timeout=5)


def test_a_writer_that_was_killed_is_replaced(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", follow_seconds=0.0) as shop:
        worker = _service(shop)._writer.worker
        worker._tasks.put(None)  # as if it had ended
        until(lambda: not worker.alive)
        assert _put(shop, "i5", "anew").status_code == 200
