"""What goes wrong, and what the service makes of it."""

import json
import logging
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hardrank.errors import BundleError
from hardrank.models import Popularity, Tfidf
from hardrank.serve.engine import Engine
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.loading import load_engine
from hardrank.serve.service import Service
from hardrank.testing.service import Served, WordGuard, served, toy_bundle, until

_PATHS = ("/v1/recommend", "/v1/score", "/v1/events", "/v1/reviews", "/v1/items", "/v1/bundle")
_HISTORY = {"history": ["i0", "i3"], "k": 5}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    toy_bundle(folder / "live", Tfidf())
    toy_bundle(folder / "other", Popularity(), seed=1)
    broken = shutil.copytree(folder / "live", folder / "broken")
    whole = (broken / "items.parquet").read_bytes()
    (broken / "items.parquet").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return folder


@pytest.fixture(scope="module")
def shop(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = tmp_path_factory.mktemp("store") / "s.db"
    with served(bundles / "live", store, guard=WordGuard(), max_bytes=50_000, rate=1e6,
                burst=10**6, max_bulk_bytes=60_000) as made:  # fmt: skip
        yield made


def _harmless(answer: Any) -> None:
    """No fault, no trace, no path of this machine."""
    assert answer.status_code < 500, answer.text
    for leak in ("Traceback", "site-packages", ".py", "/tmp", "sqlite", "SELECT", "hardrank."):
        assert leak not in answer.text, answer.text


_DEEP = "[" * 20_000 + "]" * 20_000
BODIES: tuple[bytes, ...] = (
    b"", b"null", b"[]", b"0", b'"x"', b"{", b"\xff\xfe", b"\x00" * 100, _DEEP.encode(),
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b'{"user_id": NaN}', b'{"history": [1, 2]}',
    b'{"user_id": "\\u0000"}', b'{"user_id": "\\ud800"}', b'{"user_id": ""}',
    b'{"user_id": "a", "k": 1e400}', b'{"user_id": "a", "k": -1}', b'{"user_id": "a", "k": true}',
    b'{"user_id": "a", "k": 99999999999999999999999}', b'{"user_id": "a", "k": "10"}',
    b'{"user_id": "a", "diversity": Infinity}', b'{"user_id": "a", "diversity": 1.5}',
    b'{"user_id": "a", "filters": {"title; DROP TABLE items": ["x"]}}',
    b'{"user_id": "a", "filters": {"__class__": ["x"]}}',
    b'{"user_id": "a", "filters": {"title": []}}', b'{"user_id": "a", "unknown": 1}',
    json.dumps({"user_id": "x" * 201}).encode(), json.dumps({"history": ["i0"] * 501}).encode(),
    json.dumps({"user_id": "'; DROP TABLE events; --"}).encode(),
    json.dumps({"user_id": "../../etc/passwd"}).encode(),
    json.dumps({"user_id": "a\u202eb\u200b\U0001f600"}).encode(),
    json.dumps({"history": ["\u0130" * 200]}).encode(), json.dumps({"text": " "}).encode(),
    b'{"events": [{}]}', b'{"events": []}', b'{"items": []}',
    b'{"events": [{"event_id": "e", "user_id": "u", "item_id": "i", "time": 1e30}]}',
    b'{"events": [{"event_id": "e", "user_id": "u", "item_id": "i", "time": -1}]}',
    b'{"events": [{"event_id": "e", "user_id": "u", "item_id": "i", "time": 1, "weight": 0}]}',
    b'{"events": [{"event_id": "e", "user_id": "u", "item_id": "i", "time": 1, "kind": "<b>"}]}',
    b'{"bundle": "../live"}', b'{"bundle": "/etc"}', b'{"bundle": ".."}', b'{"bundle": "none"}',
    b'{"bundle": "a\\u0000b"}', b'{"fields": {"title": "\\u0007"}}', b'{"fields": {}}',
    b'{"fields": {"title": 1}}', b'{"fields": {"title": null}}', b'{"fields": {"": "x"}}',
)  # fmt: skip


@pytest.mark.parametrize("path", [*_PATHS, "/v1/items/i1"])
def test_malformed_bodies_are_refused_quietly(shop: Served, path: str) -> None:
    method = "PUT" if path.endswith("i1") else "POST"
    for body in BODIES:
        for kind in ("application/json", "text/plain", "application/x-ndjson"):
            _harmless(shop.ask("admin", method, path, content=body,
                               headers={"Content-Type": kind}))  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/v1/items/%00", "/v1/items/", "/v1/items/..%2f..%2fetc%2fpasswd", "/v1/items/%ff%fe",
        "/v1/items/" + "x" * 5_000, "/v1/items/a'%20OR%201=1--", "/../../etc/passwd", "//", "/v1",
        "/v1/quarantine/abc/admit", "/v1/quarantine/99999999999999999999999/admit",
        "/v1/quarantine/-1/reject", "/v1/quarantine/1/explode", "/v1/quarantine?limit=NaN",
        "/v1/quarantine?limit=1e9", "/v1/quarantine?after=-1", "/v1/users/", "/v1/users/%00",
        "/openapi.json/../x", "/docs", "/console/../../x",
    ],
)  # fmt: skip
def test_malformed_paths_are_refused_quietly(shop: Served, path: str) -> None:
    for method in ("GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"):
        _harmless(shop.ask("admin", method, path))


def test_a_refusal_says_where_and_not_what(shop: Served) -> None:
    asked = {"user_id": "a", "k": "a secret of mine", "more": "another secret"}
    answer = shop.ask("read", "POST", "/v1/recommend", json=asked)
    assert answer.status_code == 422 and "secret" not in answer.text
    assert {p["where"] for p in answer.json()["problems"]} == {"body.k", "body.more"}


def _send(shop: Served, case: Any) -> None:
    """One generated request, with an admin's key."""
    case.headers = {"Authorization": f"Bearer {shop.keys['admin']}"}
    made = case.as_transport_kwargs(base_url="http://testserver")
    known = ("method", "url", "headers", "params", "json", "data")
    arguments = {name: made[name] for name in known if name in made}
    if isinstance(arguments.get("data"), bytes | str):
        arguments["content"] = arguments.pop("data")
    _harmless(shop.client.request(**arguments))


def _fuzz(shop: Served, examples: int) -> int:
    """Requests made from the OpenAPI description, good and bad ones; how many. NDJSON, which
    it cannot make, comes from `_lines`; a good swap of bundles does not."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    limits = settings(
        max_examples=examples, database=None, deadline=None, derandomize=True,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    sent = 0

    def check(case: Any) -> None:
        nonlocal sent
        sent += 1
        _send(shop, case)

    def lines(body: bytes) -> None:
        nonlocal sent
        sent += 1
        _harmless(shop.ask("admin", "POST", "/v1/items", content=body))

    limits(given(_lines())(lines))()
    schema = schemathesis.openapi.from_dict(shop.ask("admin", "GET", "/openapi.json").json())
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in ("/v1/items", "/v1/health", "/v1/health/ready", "/metrics"):
            continue
        good = () if operation.path == "/v1/bundle" else (schemathesis.GenerationMode.POSITIVE,)
        for mode in (*good, schemathesis.GenerationMode.NEGATIVE):
            limits(given(operation.as_strategy(generation_mode=mode))(check))()
    return sent


def _lines() -> Any:
    from hypothesis import strategies as st

    text = st.text(max_size=20)
    value = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    )
    near = st.fixed_dictionaries(
        {},
        optional={"item_id": text | value, "fields": st.dictionaries(text, text), "delete": value},
    )
    line = st.one_of(near, value).map(lambda v: json.dumps(v).encode()) | st.binary(max_size=40)
    return st.lists(line, max_size=5).map(b"\n".join)


@pytest.mark.filterwarnings("ignore")
def test_requests_made_from_the_description_do_no_harm(shop: Served) -> None:
    assert _fuzz(shop, 12) >= 200


@pytest.mark.slow
@pytest.mark.timeout(3_000)
@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_requests_made_from_the_description_do_no_harm(shop: Served) -> None:
    assert _fuzz(shop, 600) >= 10_000


def test_too_large_is_413_whatever_the_length_says(shop: Served) -> None:
    big = b'{"user_id": "' + b"x" * 60_000 + b'"}'
    assert shop.ask("read", "POST", "/v1/recommend", content=big).status_code == 413
    said = shop.ask("read", "POST", "/v1/recommend", content=iter([big[:30_000], big[30_000:]]))
    assert said.status_code == 413
    many = shop.ask("ingest", "POST", "/v1/items", content=b"\n" * 60_001)
    assert many.status_code == 413
    for length in ("-5", "1e3", "9" * 30):
        answer = shop.ask("read", "POST", "/v1/recommend", content=b"{}",
                          headers={"Content-Length": length})  # fmt: skip
        assert answer.status_code in (400, 413)


def test_a_key_that_asks_too_often_waits(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", rate=0.5, burst=3) as shop:
        codes = [shop.ask("read", "POST", "/v1/recommend", json=_HISTORY) for _ in range(4)]
        assert [c.status_code for c in codes] == [200, 200, 200, 429]
        assert 1 <= int(codes[3].headers["Retry-After"]) <= 2
        asked = shop.ask("ingest", "GET", "/v1/items/i1")
        assert asked.status_code == 200  # another key has its own bucket


def test_a_quota_ends_the_day_of_a_key(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db") as shop:
        key = shop.app.state.service.store.add_key("small", "read", 3)
        header = {"Authorization": f"Bearer {key}"}
        codes = [shop.client.post("/v1/recommend", json=_HISTORY, headers=header)
                 for _ in range(5)]  # fmt: skip
        assert [c.status_code for c in codes] == [200, 200, 200, 429, 429]
        assert int(codes[4].headers["Retry-After"]) <= 86_400


def test_wrong_keys_are_slowed_down(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", refusals=3) as shop:
        header = {"Authorization": "Bearer hr_000000000000_" + "a" * 43}
        codes = [shop.client.get("/metrics", headers=header).status_code for _ in range(5)]
        assert codes == [401, 401, 401, 429, 429]


def test_a_revoked_key_stops(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", key_seconds=0.0) as shop:
        assert shop.ask("read", "POST", "/v1/recommend", json=_HISTORY).status_code == 200
        store = shop.app.state.service.store
        (mine,) = [key.id for key in store.all_keys() if key.role == "read"]
        store.revoke_key(mine, who="test")
        assert shop.ask("read", "POST", "/v1/recommend", json=_HISTORY).status_code == 401


def test_popularity_answers_until_the_model_is_there(bundles: Path, tmp_path: Path) -> None:
    """S3-46"""
    gate = threading.Event()

    def slow(folder: Path, store: Any, settings: Any) -> Engine:
        gate.wait(30)
        return load_engine(folder, store, settings)

    with served(bundles / "live", tmp_path / "s.db", wait=False, loader=slow) as shop:
        for _ in range(200):
            found = shop.ask("read", "POST", "/v1/recommend", json=_HISTORY).json()
            if found["items"]:
                break
        assert found["source"] == "popularity" and len(found["items"]) == 5
        assert not {"i0", "i3"} & {item["item_id"] for item in found["items"]}
        assert shop.client.get("/v1/health/ready").status_code == 503
        gate.set()
        shop.wait()
        found = shop.ask("read", "POST", "/v1/recommend", json=_HISTORY).json()
        assert found["source"] == "model"


def test_popularity_answers_for_a_model_that_fails_or_is_late(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3-46: the model's worker dies, and answers stay 200."""
    with served(bundles / "live", tmp_path / "s.db", remembered=0, patience=0.2) as shop:
        for broken in (lambda self, asks: 1 / 0, lambda self, asks: threading.Event().wait(0.5)):
            with monkeypatch.context() as patch:
                patch.setattr(Engine, "recommend", broken)
                answer = shop.ask("read", "POST", "/v1/recommend", json=_HISTORY)
                assert answer.status_code == 200 and answer.json()["source"] == "popularity"
        asked = partial(shop.ask, "read", "POST", "/v1/recommend", json=_HISTORY)
        until(lambda: asked().json()["source"] == "model")


def test_a_store_that_is_away_is_a_503_and_recommendations_go_on(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("postgresql://secret@host is away")

    with served(bundles / "live", tmp_path / "s.db", key_seconds=0.0) as shop:
        for role in ("read", "ingest"):
            shop.ask(role, "POST", "/v1/recommend", json=_HISTORY)
        store = shop.app.state.service.store
        for name in ("key_of", "history", "take_events", "put_items", "item"):
            monkeypatch.setattr(store, name, away)
        event = {"event_id": "e", "user_id": "u", "item_id": "i1", "time": 1}
        failed = shop.ask("ingest", "POST", "/v1/events", json={"events": [event]})
        assert failed.status_code in (401, 503)
        asked = {"user_id": "u5", "k": 3}
        answer = shop.ask("read", "POST", "/v1/recommend", json=asked)
        assert answer.status_code == 200 and answer.json()["source"] == "model"
        monkeypatch.undo()
        again = shop.ask("ingest", "POST", "/v1/events", json={"events": [event]})
        assert again.status_code == 200 and again.json()["added"] == 1
        monkeypatch.setattr(store, "take_events", away)
        failed = shop.ask("ingest", "POST", "/v1/events", json={"events": [event]})
        assert failed.status_code == 503 and failed.headers["Retry-After"]
        assert "secret" not in failed.text


def test_a_broken_bundle_is_refused_and_the_old_one_serves_on(
    bundles: Path, tmp_path: Path
) -> None:
    """S1-27"""
    with served(bundles / "live", tmp_path / "s.db") as shop:
        before = shop.ask("read", "POST", "/v1/recommend", json=_HISTORY).json()
        for name in ("broken", "missing"):
            refused = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": name})
            assert refused.status_code == 409 and str(bundles) not in refused.text
        assert shop.ask("read", "POST", "/v1/recommend", json=_HISTORY).json() == before
        done = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "other"})
        assert done.status_code == 200 and done.json()["bundle"] != before["bundle"]
        after = shop.ask("read", "POST", "/v1/recommend", json=_HISTORY).json()
        assert after["bundle"] == done.json()["bundle"]


def test_a_service_that_starts_with_a_broken_bundle_says_so_and_answers(
    bundles: Path, tmp_path: Path
) -> None:
    with served(bundles / "broken", tmp_path / "s.db", wait=False) as shop:
        put = shop.ask("ingest", "PUT", "/v1/items/own", json={"fields": {"title": "mine"}})
        assert put.status_code == 503 and put.headers["Retry-After"]
        answer = shop.ask("read", "POST", "/v1/recommend", json=_HISTORY)
        assert answer.status_code == 200 and answer.json()["source"] == "popularity"
        assert shop.client.get("/v1/health/ready").status_code == 503


def test_a_swap_under_load_drops_nothing(bundles: Path, tmp_path: Path) -> None:
    """S3-46: swap drops 0 requests; an item that is written meanwhile is in both."""
    stop, codes, sources = threading.Event(), list[int](), set[str]()
    with served(bundles / "live", tmp_path / "s.db", remembered=0, rate=1e6,
                burst=10**6) as shop:  # fmt: skip

        def load() -> None:
            while not stop.is_set():
                answer = shop.ask("read", "POST", "/v1/recommend", json=_HISTORY)
                codes.append(answer.status_code)
                sources.add(answer.json()["source"])

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for n, name in enumerate(("other", "live", "other", "live")):
            done = shop.ask("admin", "POST", "/v1/bundle", json={"bundle": name})
            assert done.status_code == 200
            put = {"fields": {"title": f"group 0 number {n}"}}
            assert shop.ask("ingest", "PUT", f"/v1/items/n{n}", json=put).status_code == 200
        stop.set()
        for thread in threads:
            thread.join()
        asked = {"history": ["i0"], "k": 200}
        listed = shop.ask("read", "POST", "/v1/recommend", json=asked).json()["items"]
        assert {"n0", "n1", "n2", "n3"} <= {item["item_id"] for item in listed}
    assert codes and set(codes) == {200} and sources == {"model"}


def test_a_write_during_a_swap_reaches_the_new_engine(bundles: Path, tmp_path: Path) -> None:
    inside, go = threading.Event(), threading.Event()
    first = True

    def slow(folder: Path, store: Any, settings: Any) -> Engine:
        nonlocal first
        engine = load_engine(folder, store, settings)
        if not first:
            inside.set()
            go.wait(30)
        first = False
        return engine

    with served(bundles / "live", tmp_path / "s.db", loader=slow) as shop:
        swap = threading.Thread(
            target=lambda: shop.ask("admin", "POST", "/v1/bundle", json={"bundle": "live"})
        )
        swap.start()
        assert inside.wait(30)
        put = {"fields": {"title": "group 0 meanwhile"}}
        assert shop.ask("ingest", "PUT", "/v1/items/new", json=put).json()["recommendable"]
        shop.ask("ingest", "DELETE", "/v1/items/i9")
        go.set()
        swap.join()
        listed = shop.ask("read", "POST", "/v1/recommend", json={"history": ["i0"], "k": 200})
        ids = {item["item_id"] for item in listed.json()["items"]}
        assert "new" in ids and "i9" not in ids


def test_a_key_that_probes_is_reported_and_can_be_refused(bundles: Path, tmp_path: Path) -> None:
    with served(bundles / "live", tmp_path / "s.db", probes=4, block_probes=True) as shop:
        codes = []
        for n in range(12):
            put = {"fields": {"title": f"a title that is tried out {n}"}}
            codes.append(shop.ask("admin", "PUT", "/v1/items/i9", json=put).status_code)
            shop.ask("admin", "POST", "/v1/recommend", json={"history": ["i0"], "k": 50})
        assert codes[:5] == [200] * 5 and codes[-1] == 429
        service: Service = shop.app.state.service
        assert "probing" in [row.action for row in service.store.audit_log()]
        assert "hardrank_probing_total 1.0" in shop.ask("review", "GET", "/metrics").text


def test_logs_hold_no_secret_no_user_and_no_text(
    bundles: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), served(bundles / "live", tmp_path / "s.db") as shop:
        event = {"event_id": "ev-1", "user_id": "anna-42", "item_id": "i1", "time": 1}
        shop.ask("ingest", "POST", "/v1/events", json={"events": [event]})
        shop.ask("read", "POST", "/v1/recommend", json={"user_id": "anna-42"})
        shop.ask("ingest", "PUT", "/v1/items/i1", json={"fields": {"title": "private words"}})
        shop.ask("admin", "DELETE", "/v1/users/anna-42")
        shop.ask("read", "POST", "/v1/recommend", json={"user_id": 17})
    told = " ".join(
        str(r.getMessage()) + json.dumps(getattr(r, "told", {}), default=str)
        for r in caplog.records if r.name.startswith("hardrank")
    )  # fmt: skip
    assert "erased" in told and "request" in told
    everything = told + caplog.text
    for secret in shop.keys.values():
        assert secret not in everything and secret.split("_", 2)[2] not in everything
    assert "anna-42" not in told and "private words" not in told


def test_a_fault_of_ours_is_a_plain_500(
    bundles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(bundles / "live", tmp_path / "s.db") as shop:

        def explode(*_: Any) -> Any:
            raise RuntimeError("at /home/somebody with hunter2")

        monkeypatch.setattr(Service, "score", explode)
        answer = shop.ask("read", "POST", "/v1/score", json={"history": [], "items": ["i1"]})
        assert answer.status_code == 500
        assert answer.json() == {"error": "something went wrong on our side", "problems": []}


def test_an_engine_refuses_an_altered_bundle(bundles: Path) -> None:
    with pytest.raises(BundleError, match="altered"):
        Engine.load(bundles / "broken")
