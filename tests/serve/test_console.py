"""The routes behind the console: the page, health in numbers, the report and the audit log."""

import re
import shutil
import time
from collections.abc import Iterator
from importlib import resources
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from hardrank.bundle import save_bundle
from hardrank.context import RunContext
from hardrank.files import digest_file
from hardrank.models import Tfidf
from hardrank.serve.errors import StoreUnavailable
from hardrank.serve.metrics import Metrics
from hardrank.serve.overview import buckets, by_label, percentile, route_loads
from hardrank.serve.report import allowed, link, report_of
from hardrank.serve.routes import console as page_routes
from hardrank.serve.store import Store
from hardrank.testing.logs import taste_log
from hardrank.testing.service import Served, WordGuard, served, toy_bundle

REPORT = "<!doctype html><title>t</title><style>p{color:red}</style><h1>All is well</h1>"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "live"
    data = taste_log()
    model = Tfidf().fit(data, RunContext(seed=0))
    save_bundle(folder, Tfidf(), model, data, {"name": "toy", "synthetic": True}, report=REPORT)
    return folder


@pytest.fixture
def shop(bundle: Path, tmp_path: Path) -> Iterator[Served]:
    with served(bundle, tmp_path / "s.db", guard=WordGuard()) as made:
        yield made


def test_the_page_is_open_to_all_and_asks_nobody_else(shop: Served) -> None:
    """No inline script or style, no address of another host, and headers that say so."""
    page = shop.client.get("/console")
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    for said in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert said in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["referrer-policy"] == "no-referrer"
    named = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
    assert named and all(name.startswith("console/") for name in named)
    assert not re.search(r"<script>|<style|style=|\son\w+=", page.text)
    for name in {*named, "console/parts.js"}:
        part = shop.client.get(f"/{name}")
        assert part.status_code == 200 and "unsafe" not in part.headers["content-security-policy"]
        if not name.endswith(".svg"):
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", part.text)
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b", part.text)


def test_all_files_of_the_page_are_served_and_no_others(shop: Served) -> None:
    folder = resources.files("hardrank.serve").joinpath("console")
    kept = {file.name for file in folder.iterdir() if file.name != "index.html"}
    assert kept == set(page_routes._PARTS)
    for name in ("index.html", "other.js", "..%2Fapp.py", "%2e%2e/app.py"):
        assert shop.client.get(f"/console/{name}").status_code == 404


def test_the_page_can_be_switched_off(bundle: Path, tmp_path: Path) -> None:
    with served(bundle, tmp_path / "s.db", console=False) as shop:
        for path in ("/console", "/console/console.js"):
            assert shop.client.get(path).status_code == 404
        answer = shop.client.get("/console/report", params={"until": 1, "mark": "0" * 64})
        assert answer.status_code == 404
        assert shop.ask("review", "GET", "/v1/overview").status_code == 200


def test_health_in_numbers(shop: Served) -> None:
    for user in ("u0", "u1", "u0"):
        shop.ask("read", "POST", "/v1/recommend", json={"user_id": user})
    shop.ask("ingest", "PUT", "/v1/items/i5", json={"fields": {"title": "spam"}})
    shop.ask("read", "GET", "/v1/overview")
    found = shop.ask("review", "GET", "/v1/overview").json()
    assert found["ready"] and found["guarded"] and found["store"]
    assert (found["model"], found["live_items"], found["control"]) == ("tfidf", 60, "none")
    assert found["answers"] == {"model": 2, "remembered": 1}
    assert sum(bin["count"] for bin in found["recommend"]) == 3
    assert found["recommend"][-1]["le_ms"] is None
    assert found["listings"] == [["quarantined", "word", 1]]
    loads = {load["route"]: load for load in found["routes"]}
    assert found["in_flight"] == 1 and found["probing"] == 0  # this very request
    assert loads["/v1/recommend"]["requests"] == 3 and loads["/v1/overview"]["refused"] == 1
    assert 0 < loads["/v1/recommend"]["p50_ms"] <= loads["/v1/recommend"]["p99_ms"]
    assert found["stored"]["waiting"] == 1 and found["stored"]["live"] == 1


def test_health_is_told_while_the_store_is_away(
    shop: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("gone")

    assert shop.ask("review", "GET", "/v1/overview").json()["store"]
    monkeypatch.setattr(shop.app.state.service.store, "ping", away)
    monkeypatch.setattr(shop.app.state.service.store, "counts", away)
    answer = shop.ask("review", "GET", "/v1/overview")
    assert answer.status_code == 200 and answer.json()["store"] is False


def test_the_store_is_counted_once_a_minute(shop: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = shop.app.state.service.store, list[int]()
    count = store.counts
    monkeypatch.setattr(store, "counts", lambda: (asked.append(1), count())[1])
    tally = shop.app.state.service.tally
    tally._count = lambda: shop.app.state.service.on_store(store.counts)
    for _ in range(3):
        assert shop.ask("review", "GET", "/v1/overview").json()["stored"] is not None
    assert len(asked) == 1
    tally._at -= 61
    shop.ask("review", "GET", "/v1/overview")
    assert len(asked) == 2


def test_percentiles_are_read_from_bins() -> None:
    metrics = Metrics()
    assert isinstance(metrics.registry, CollectorRegistry)
    for seconds in (0.004, 0.004, 0.004, 0.3):
        metrics.observe("/a", "GET", 200, seconds)
    metrics.observe("/a", "GET", 503, 9.0)
    metrics.observe("/b", "GET", 404, 0.0001)
    bins = buckets(metrics.seconds, "/a")
    assert [n for _, n in bins if n] == [3, 1, 1] and buckets(metrics.seconds, "/c") == []
    assert percentile(bins, 0.3) == pytest.approx(0.0025 + 0.0025 * 0.5)
    assert percentile(bins, 0.99) == 5.0  # beyond the last end nothing is known
    assert percentile([], 0.5) is None
    loads = route_loads(metrics)
    assert [load["route"] for load in loads] == ["/a", "/b"]
    assert (loads[0]["failed"], loads[0]["refused"], loads[1]["refused"]) == (1, 0, 1)
    assert by_label(metrics.requests, "route") == {"/a": 5, "/b": 1}


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=8),
    st.floats(0.01, 1), st.floats(0.01, 1),
)  # fmt: skip
def test_percentiles_rise(counts: list[int], a: float, b: float) -> None:
    bins = [(float(n + 1), count) for n, count in enumerate(counts)]
    low, high = percentile(bins, min(a, b)), percentile(bins, max(a, b))
    if sum(counts):
        assert low is not None and high is not None and 0 <= low <= high <= len(counts)
    else:
        assert low is high is None


def test_the_report_opens_for_a_minute_without_a_key(shop: Served) -> None:
    assert shop.ask("read", "GET", "/v1/report").status_code == 403
    said = shop.ask("review", "GET", "/v1/report").json()
    assert said["there"] and said["href"].startswith("/console/report?")
    page = shop.client.get(said["href"])
    assert page.status_code == 200 and page.text == REPORT
    policy = page.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'") and "script-src" not in policy
    assert page.headers["cache-control"] == "no-store"
    for path in (
        said["href"][:-1] + ("0" if said["href"][-1] != "0" else "1"),
        re.sub(r"until=\d+", lambda m: f"until={int(m[0][6:]) + 1}", said["href"]),
        link(shop.app.state.service.store, time.time() - 61),
    ):
        assert shop.client.get(path).status_code == 403
    assert shop.client.get("/console/report").status_code == 422


def test_a_link_holds_for_its_store_alone(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.db") as a, Store.open(tmp_path / "b.db") as b:
        until, mark = re.findall(r"until=(\d+)&mark=(\w+)", link(a))[0]
        assert allowed(a, int(until), mark) and not allowed(b, int(until), mark)
        far = link(a, time.time() + 3_600)
        until, mark = re.findall(r"until=(\d+)&mark=(\w+)", far)[0]
        assert not allowed(a, int(until), mark)


def test_only_an_intact_report_of_the_live_bundle_is_shown(bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "live"))
    digest = digest_file(copy / "SHA256SUMS")
    assert report_of(str(tmp_path / "gone"), digest) == REPORT.encode()  # beside it
    assert report_of(str(copy), "0" * 64) is None and report_of(str(copy), "") is None
    (copy / "report.html").write_text("<script>alert(1)</script>")
    assert report_of(str(copy), digest) is None


def test_a_bundle_without_a_report_says_so(tmp_path: Path) -> None:
    with served(toy_bundle(tmp_path / "b", Tfidf()), tmp_path / "s.db") as shop:
        assert shop.ask("review", "GET", "/v1/report").json() == {"there": False, "href": ""}
        path = link(shop.app.state.service.store)
        assert shop.client.get(path).status_code == 404


def test_the_audit_log_is_told_newest_first_with_names(shop: Served) -> None:
    shop.ask("ingest", "PUT", "/v1/items/i5", json={"fields": {"title": "spam"}})
    shop.ask("review", "POST", "/v1/quarantine/1/reject")
    first = shop.ask("review", "GET", "/v1/audit", params={"limit": 2}).json()
    newest = first["rows"][0]
    assert (newest["action"], newest["subject"], newest["name"]) == ("reject", "i5", "review")
    assert newest["detail"]["case"] == "1" and first["before"] == first["rows"][1]["id"]
    ids = [row["id"] for row in first["rows"]]
    while first["before"] is not None:
        asked = {"limit": 2, "before": first["before"]}
        first = shop.ask("review", "GET", "/v1/audit", params=asked).json()
        ids += [row["id"] for row in first["rows"]]
    assert ids == list(range(len(ids), 0, -1)) and len(ids) == 5  # four keys and a decision
    assert shop.ask("read", "GET", "/v1/audit").status_code == 403


def test_the_quarantine_tells_where_the_guard_looked(shop: Served) -> None:
    shop.ask("ingest", "PUT", "/v1/items/i5", json={"fields": {"title": "spam"}})
    (row,) = shop.ask("review", "GET", "/v1/quarantine").json()["rows"]
    assert row["spans"] == []


def test_colours_can_be_told_apart_from_their_ground() -> None:
    """WCAG 2.2, AA: 4.5 for texts, 3 for edges and lines, in light and dark."""
    css = resources.files("hardrank.serve").joinpath("console", "console.css").read_text("utf-8")
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+);", part))
                   for part in css.split("@media (prefers-color-scheme: dark)")[:2])  # fmt: skip
    texts = [
        *product(("ink", "soft", "bad", "good", "warn"), ("paper", "sheet")),
        ("good", "good-bg"), ("bad", "bad-bg"), ("on", "hardened"), ("mark-ink", "mark"),
        ("paper", "bad"), ("paper", "ink"),
    ]  # fmt: skip
    lines = [*product(("edge", "hardened", "control"), ("paper", "sheet"))]
    for colours in (light, {**light, **dark}):
        for least, pairs in ((4.5, texts), (3.0, lines)):
            for a, b in pairs:
                assert _contrast(colours[a], colours[b]) >= least, (a, b)


def _contrast(a: str, b: str) -> float:
    high, low = sorted((_light(a), _light(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _light(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
