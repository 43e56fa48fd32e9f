"""The running service watches itself: what it shows, takes in and holds back (S0-47, S3-21)."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from hardrank.errors import ConfigError
from hardrank.models import ItemKnn, Tfidf
from hardrank.serve.alerts import SIGNATURE, signature
from hardrank.serve.clocks import SteadyClock
from hardrank.serve.exposures import Exposures
from hardrank.serve.metrics import Metrics
from hardrank.serve.monitors import Alarm
from hardrank.serve.settings import Settings
from hardrank.serve.store import Store
from hardrank.serve.watching import Watching
from hardrank.testing.service import Served, WordGuard, served, toy_bundle

_WINDOW = 40


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    toy_bundle(folder / "live", ItemKnn())
    toy_bundle(folder / "other", Tfidf(), seed=1)
    return folder


@pytest.fixture
def shop(bundles: Path, tmp_path: Path) -> Iterator[Served]:
    with served(bundles / "live", tmp_path / "s.db", guard=WordGuard(), rate=1e6, burst=10**6,
                watch_window=_WINDOW, watched=100_000, event_guard=False) as made:  # fmt: skip
        yield made


def _watching(shop: Served) -> Watching:
    watching: Watching = shop.app.state.service.watching
    return watching


def _ask(shop: Served, n: int, k: int = 5) -> None:
    """From a user of the log, u0 to u119: lists of many kinds."""
    answer = shop.ask("read", "POST", "/v1/recommend", json={"user_id": f"u{n % 120}", "k": k})
    assert answer.status_code == 200


def _state(shop: Served, kind: str, subject: str | None = None) -> dict[str, Any]:
    told = shop.ask("review", "GET", "/v1/monitors").json()["monitors"]
    (one,) = [s for s in told if s["kind"] == kind and subject in (None, s["subject"])]
    return dict(one)


def _push(shop: Served, item: str) -> None:
    """Lists of one item alone, whatever the model thinks of it."""
    others = [f"i{n}" for n in range(60) if f"i{n}" != item]
    asked = {"history": ["i0"], "k": 1, "exclude": others}
    answer = shop.ask("read", "POST", "/v1/recommend", json=asked)
    assert [i["item_id"] for i in answer.json()["items"]] == [item]


def _surge(shop: Served) -> None:
    for n in range(8 * _WINDOW):
        _ask(shop, 7 * n)
    _watching(shop).look()
    for _ in range(2 * _WINDOW):
        _push(shop, "i58")
    _watching(shop).look()


def test_an_item_that_is_pushed_is_named_kept_counted_and_drawn(shop: Served) -> None:
    """S3-21; remembered answers are shown, too."""
    assert _state(shop, "exposure-surge")["phase"] == "learning"
    _surge(shop)
    told = shop.ask("review", "GET", "/v1/monitors").json()
    (surge,) = [a for a in told["standing"] if a["kind"] == "exposure-surge"]
    assert surge["subject"] == "i58" and surge["value"] == 1.0 and "i58" in surge["message"]
    assert surge["value"] > surge["threshold"]
    state = _state(shop, "exposure-surge")
    assert (state["phase"], state["subject"]) == ("alarm", "i58") and state["usual"] < 0.05
    (kept,) = [a for a in told["alarms"] if a["subject"] == "i58"]
    assert kept["value"] == surge["value"] and abs(kept["time"] - time.time()) < 60
    text = shop.ask("review", "GET", "/metrics").text
    assert 'hardrank_alarms_total{kind="exposure-surge"} 1.0' in text
    assert "hardrank_standing_alarms 1.0" in text
    assert 'hardrank_answers_total{source="remembered"}' in text
    chart = told["exposure"]
    assert sum(chart["lists"]) == 10 * _WINDOW and chart["sampled"] == 1.0
    assert len(chart["lists"]) == 240 and len(chart["items"]) == 20
    (course,) = [c for c in chart["items"] if c["item_id"] == "i58"]
    assert course["title"] == "group 1 thing 58" and 0.19 < course["share"] < 0.3
    assert len(course["history"]) == 240 and course["history"][0] is None
    assert _watching(shop).states()


def test_what_is_meant_is_accepted_once_and_noted(shop: Served) -> None:
    _surge(shop)
    meant = {"kind": "exposure-surge", "subject": "i58"}
    done = shop.ask("review", "POST", "/v1/monitors/accept", json=meant)
    assert done.status_code == 200 and done.json() == meant
    assert shop.ask("review", "POST", "/v1/monitors/accept", json=meant).status_code == 404
    (row,) = shop.app.state.service.store.audit_log(action="accept-alarm")
    assert (row.subject, row.detail) == ("i58", {"kind": "exposure-surge"})
    assert shop.ask("review", "GET", "/v1/monitors").json()["standing"] == []
    for n in range(_WINDOW):
        _push(shop, "i58") if n % 4 else _ask(shop, n)
    _watching(shop).look()
    assert shop.ask("review", "GET", "/v1/monitors").json()["standing"] == [], "usual now"


@pytest.mark.parametrize("role", ["read", "ingest"])
def test_only_reviewers_see_and_accept(shop: Served, role: str) -> None:
    assert shop.ask(role, "GET", "/v1/monitors").status_code == 403
    meant = {"kind": "exposure-surge", "subject": "i58"}
    assert shop.ask(role, "POST", "/v1/monitors/accept", json=meant).status_code == 403


@pytest.mark.parametrize("body", [{}, {"kind": "x"}, {"kind": "", "subject": "y"}, {"kind": 1},
                                  {"kind": "x", "subject": "y", "more": 1}])  # fmt: skip
def test_what_cannot_be_accepted(shop: Served, body: dict[str, Any]) -> None:
    assert shop.ask("review", "POST", "/v1/monitors/accept", json=body).status_code == 422


def test_events_surge(shop: Served) -> None:
    watching = _watching(shop)
    events = [f"i{n % 50}" for n in range(8 * _WINDOW)] + ["i59"] * _WINDOW
    rows = [
        {"event_id": f"e{n}", "user_id": f"x{n}", "item_id": item, "time": int(time.time())}
        for n, item in enumerate(events)
    ]
    shop.ask("ingest", "POST", "/v1/events", json={"events": rows})
    watching.look_at_events()
    watching.look()
    assert ("event-surge", "i59") in {(a.kind, a.subject) for a in watching.standing()}
    assert watching.surging() == {"i59"}


def test_a_guard_that_stops_more_than_usual_and_texts_of_another_kind(shop: Served) -> None:
    watching = _watching(shop)
    lines = [{"item_id": f"n{n}", "fields": {"title": f"group {n % 3} thing"}} for n in range(1600)]
    bad = [{"item_id": f"b{n}", "fields": {"title": "spam СПАМ и ещё спам"}} for n in range(600)]
    for part in (lines[:800], lines[800:], bad):
        body = "\n".join(map(json.dumps, part))
        assert shop.ask("ingest", "POST", "/v1/items", content=body).status_code == 200
        watching.look()
    kinds = {(a.kind, a.subject) for a in watching.standing()}
    assert ("guard-rate", "all guards") in kinds
    assert {("input-drift", "script"), ("input-drift", "unknown words")} <= kinds
    state = _state(shop, "guard-rate", "all guards")
    assert state["phase"] == "alarm" and state["present"] > state["threshold"] > state["usual"]
    assert watching.accept("guard-rate", "all guards") and watching.accept("input-drift", "script")
    watching.look()
    kinds = {(a.kind, a.subject) for a in watching.standing()}
    assert not {("guard-rate", "all guards"), ("input-drift", "script")} & kinds


def test_a_swap_learns_exposure_anew_and_compares_scores(shop: Served) -> None:
    for n in range(700):
        _ask(shop, n)
    _watching(shop).look()
    assert _state(shop, "exposure-surge")["phase"] == "quiet"
    assert _state(shop, "score-shift")["phase"] == "learning"
    assert shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"}).status_code == 200
    assert _state(shop, "exposure-surge")["phase"] == "learning"
    assert _state(shop, "score-shift")["phase"] == "quiet", "the former bundle's are usual"
    for n in range(2000):
        _ask(shop, n)
    _watching(shop).look()
    state = _state(shop, "score-shift")
    assert state["phase"] == "alarm" and state["present"] > state["threshold"]
    meant = {"kind": "score-shift", "subject": "scores"}
    assert shop.ask("review", "POST", "/v1/monitors/accept", json=meant).status_code == 200
    assert _state(shop, "score-shift")["phase"] == "learning"


class _Receiver(BaseHTTPRequestHandler):
    got: list[tuple[bytes, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((body, self.headers[SIGNATURE]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def test_alarms_reach_the_webhook_and_its_secret_stays(
    bundles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _Receiver.got = []
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    secret = "quite-a-secret-9"
    try:
        with caplog.at_level(10), served(
            bundles / "live", tmp_path / "s.db", webhook_secret=secret,
            webhook=f"http://127.0.0.1:{server.server_port}/token-7",
        ) as shop:  # fmt: skip
            settings = shop.app.state.service.settings
            _watching(shop).ring(Alarm("test", "i1", 2.0, 1.0, 5.0, "a message"))
            _watching(shop).ring(Alarm("test", "i1", 3.0, 1.0, 5.0, "the same again"))
            for _ in range(200):
                if _Receiver.got:
                    break
                time.sleep(0.02)
            assert secret not in shop.ask("review", "GET", "/v1/monitors").text
    finally:
        server.shutdown()
        server.server_close()
    ((body, said),) = _Receiver.got
    assert json.loads(body) == {
        "kind": "test", "subject": "i1", "value": 2.0, "threshold": 1.0, "since": 5.0,
        "message": "a message",
    }  # fmt: skip
    now = int(said.split(",")[0].removeprefix("t="))
    assert said == signature(secret, body, now)
    told = caplog.text + repr(settings) + json.dumps([r.__dict__ for r in caplog.records],
                                                     default=str)  # fmt: skip
    assert secret not in told and "token-7" not in caplog.text


def test_a_webhook_without_a_secret_is_refused_at_the_start(bundles: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="secret"),
        served(bundles / "live", tmp_path / "s.db", webhook="https://ops.example.org"),
    ):
        pass


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _alone(tmp_path: Path, clock: _Clock | None = None, **settings: Any) -> Watching:
    steady = SteadyClock(lambda: 1e9, clock or _Clock())
    store = Store.open(tmp_path / "w.db")
    return Watching(Settings(bundle="b", **settings), store, Metrics(), clock=steady)


def test_a_flood_of_lists_is_sampled_fairly(tmp_path: Path) -> None:
    watching = _alone(tmp_path, watched=400, watch_window=10**6)
    answer = [
        json.dumps({"items": [{"item_id": f"i{n}", "score": 1.0}], "source": "model"}).encode()
        for n in range(4)
    ]
    for _ in range(60):
        for n in range(2_000):
            watching.again(answer[n % 4])
        watching.look()
    assert 0.03 < watching.sampled < 0.08, "about 100 of 2000"
    counts = watching.courses().lists
    assert 2_000 < sum(counts) < 9_000, "no more than about 100 a look"
    shares = {c.item_id: c.share for c in watching.courses().items}
    assert all(0.2 < share < 0.3 for share in shares.values()) and len(shares) == 4
    for _ in range(60):
        watching.look()
    assert watching.sampled == 1.0, "when it is over, every list is looked at again"


def test_nothing_is_looked_at_where_it_is_switched_off(tmp_path: Path) -> None:
    watching = _alone(tmp_path, watched=0)
    watching.again(b'{"items": [{"item_id": "a", "score": 1.0}], "source": "model"}')
    watching.look()
    assert sum(watching.courses().lists) == 0 and watching.sampled == 0


def test_an_alarm_waits_for_a_store_that_is_away_and_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardrank.serve.errors import StoreUnavailable

    clock = _Clock()
    watching = _alone(tmp_path, clock)
    note = watching._store.note

    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(watching._store, "note", away)
    watching.ring(Alarm("test", "a", 1.0, 0.5, 1e9, "m"))
    monkeypatch.setattr(watching._store, "note", note)
    for _ in range(3):
        watching.look()
    assert len(watching._store.audit_log(action="alarm")) == 1
    assert watching.settle("test") and not watching.settle("test")
    watching.look()
    assert watching.standing() == []
    watching.ring(Alarm("test", "a", 1.0, 0.5, 1e9, "m"))
    assert len(watching._store.audit_log(action="alarm")) == 1, "it flickers"
    watching.settle("test")
    clock.now += 601
    watching.look()
    watching.ring(Alarm("test", "a", 1.0, 0.5, 1e9, "m"))
    assert len(watching._store.audit_log(action="alarm")) == 2
    assert watching.accept("test", "a") and watching.standing() == []


def test_a_thousand_alarms_at_once_do_not_fill_the_log(tmp_path: Path) -> None:
    watching = _alone(tmp_path)
    with watching._looking:
        for n in range(1000):
            watching._told["test", f"i{n}"] = Alarm("test", f"i{n}", float(n), 1.0, 0.0, "m")
    for _ in range(5):
        watching.look()
    kept = watching._store.audit_log(2000, action="alarm")
    assert {row.subject for row in kept} == {f"i{n}" for n in range(980, 1000)}
    assert len(watching.standing()) == 1000


def test_courses_are_bounded_and_minutes_pass() -> None:
    clock = _Clock()
    shown = Exposures(3, recent=2, clock=clock)
    for n in range(500):
        shown.observe([f"x{n}", "hit"])
    clock.now = 60.0
    shown.observe(["hit", "hit"])
    shown.observe(["b"])
    first = shown.courses(2, also=["b", "nothing", "hit"])
    assert first.lists == (0, 500, 2)
    assert [c.item_id for c in first.items[:1]] == ["hit"]
    assert {c.item_id: c.history for c in first.items}["b"] == (None, 0.0, 0.5)
    assert {c.item_id: c.history for c in first.items}["nothing"] == (None, 0.0, 0.0)
    assert sum(len(counts) for _, _, counts in shown._bins) <= 200 + 2
    clock.now = 60.0 * 3
    assert shown.courses(2).lists == (2, 0, 0)
    clock.now = 60.0 * 400
    assert shown.courses(2).lists == (0, 0, 0) and shown.courses(2).items == ()
