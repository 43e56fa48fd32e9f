"""The thread that asks the model: it may hang, fail or die, and answers go on (S3-46)."""

import ctypes
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hardrank.models import Popularity, Tfidf
from hardrank.serve.engine import Engine
from hardrank.serve.service import Service
from hardrank.serve.worker import Worker, WorkerDied
from hardrank.testing.service import Served, served, toy_bundle, until

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
PATIENCE = 0.5
"""Seconds. That an answer is made in this time is not certain on a busy machine, so tests wait
until the model answers again."""
_ASKED = {"history": ["i0", "i3"], "k": 5}


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker("test")
    yield made
    made.shutdown(timeout=5.0)
    assert not made.alive


def test_calls_run_in_order_on_one_thread(worker: Worker) -> None:
    seen: list[int] = []
    futures = [worker.submit(seen.append, n) for n in range(50)]
    names = {worker.submit(threading.current_thread).result(5).name for _ in range(5)}
    assert [f.result(5) for f in futures] == [None] * 50 and seen == list(range(50))
    assert names == {"test"} and worker.busy == 0 and worker.alive


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_error_reaches_who_asked_and_no_one_else(worker: Worker, error: BaseException) -> None:
    def fail() -> None:
        raise error

    expected = ValueError if isinstance(error, ValueError) else WorkerDied
    with pytest.raises(expected):
        worker.submit(fail).result(5)
    assert worker.alive and worker.submit(int, "7").result(5) == 7


def test_a_call_that_never_returns_is_left_behind(worker: Worker) -> None:
    go = threading.Event()
    stuck, waiting = worker.submit(go.wait, 30), worker.submit(int, "1")
    time.sleep(0.05)
    assert worker.busy >= 0.05
    worker.renew()
    assert waiting.result(5) == 1 and worker.busy == 0 and not stuck.done()
    go.set()
    assert stuck.result(5) is True
    assert worker.submit(int, "2").result(5) == 2
    for _ in range(100):
        if sum(t.name == "test" for t in threading.enumerate()) == 1:
            break
        time.sleep(0.01)
    assert sum(t.name == "test" for t in threading.enumerate()) == 1, "the old thread went"


def test_a_thread_that_was_killed_is_replaced(worker: Worker) -> None:
    _kill(worker)
    worker.renew()
    assert worker.alive and worker.submit(int, "3").result(5) == 3


def test_the_end_does_not_wait_for_ever_and_takes_nothing_more() -> None:
    worker, go = Worker("test"), threading.Event()
    stuck = worker.submit(go.wait, 30)
    waiting = worker.submit(int, "1")
    time.sleep(0.02)
    begun = time.monotonic()
    worker.shutdown(cancel_futures=True, timeout=0.1)
    assert time.monotonic() - begun < 5 and waiting.cancelled() and not stuck.done()
    with pytest.raises(RuntimeError, match="shut down"):
        worker.submit(int, "1")
    worker.renew()
    go.set()
    stuck.result(5)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    toy_bundle(folder / "live", Tfidf())
    toy_bundle(folder / "other", Popularity(), seed=1)
    return folder


@pytest.fixture
def shop(bundles: Path, tmp_path: Path) -> Iterator[Served]:
    with served(bundles / "live", tmp_path / "s.db", patience=PATIENCE, drain=0.5, remembered=0,
                follow_seconds=0.0) as made:  # fmt: skip
        yield made


def _both(shop: Served) -> set[str]:
    """Who answers; every answer is a 200."""
    asked = {"history": ["i0"], "items": ["i1", "i2"]}
    answers = [
        shop.ask("read", "POST", "/v1/recommend", json=_ASKED),
        shop.ask("read", "POST", "/v1/score", json=asked),
    ]
    assert [a.status_code for a in answers] == [200, 200]
    assert len(answers[0].json()["items"]) == 5 and None not in answers[1].json()["scores"]
    return {a.json()["source"] for a in answers}


@pytest.mark.parametrize("error", [RuntimeError("x"), MemoryError(), SystemExit(1),
                                   KeyboardInterrupt()])  # fmt: skip
def test_a_model_that_fails(
    shop: Served, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Not even what ends a process ends the service."""

    def fail(*_: Any) -> Any:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "recommend", fail)
        patch.setattr(Engine, "score", fail)
        assert _both(shop) == {"popularity"}
    until(lambda: _both(shop) == {"model"})


def test_a_model_that_hangs(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request waits `patience`, the others not at all; another bundle brings the
    model back, as does the end of the call."""
    go = threading.Event()

    def hang(engine: Engine, *_: Any) -> Any:
        with engine._lock:
            go.wait(30)
        raise RuntimeError("too late")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "recommend", hang)
        assert _both(shop) == {"popularity"}
    begun = time.monotonic()
    for _ in range(5):
        assert _both(shop) == {"popularity"}
    assert time.monotonic() - begun < 5 * PATIENCE, "nobody waits for what hangs"
    done = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"})
    assert done.status_code == 200
    until(lambda: _both(shop) == {"model"})
    go.set()
    until(lambda: _both(shop) == {"model"})


def test_a_model_that_was_slow_once(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    recommend = Engine.recommend

    def slow(engine: Engine, asks: Any) -> Any:
        time.sleep(2 * PATIENCE)
        return recommend(engine, asks)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "recommend", slow)
        answer = shop.ask("read", "POST", "/v1/recommend", json=_ASKED)
        assert answer.status_code == 200 and answer.json()["source"] == "popularity"
    until(lambda: _both(shop) == {"model"})


def test_a_thread_of_the_model_that_is_killed(shop: Served) -> None:
    service: Service = shop.app.state.service
    _kill(service._model)
    until(lambda: _both(shop) == {"model"})


def test_a_service_whose_model_hangs_still_ends(bundles: Path, tmp_path: Path) -> None:
    go = threading.Event()
    begun = time.monotonic()
    with served(bundles / "live", tmp_path / "s.db", patience=PATIENCE, drain=0.3) as shop:
        service: Service = shop.app.state.service
        service._model.submit(go.wait, 30)
        assert _both(shop) == {"popularity"}
    assert time.monotonic() - begun < 20
    go.set()


def _kill(worker: Worker) -> None:
    """As a fault in a native library may: the thread ends between two calls."""
    ident = worker._thread.ident
    assert ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))
    future = worker.submit(int, "0")  # it sees the order when it wakes
    for _ in range(200):
        if not worker.alive:
            break
        time.sleep(0.01)
    assert not worker.alive
    future.cancel()
