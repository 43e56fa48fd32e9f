"""The service over HTTP: every route, its roles, and what it answers."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardrank.bundle import load_bundle
from hardrank.models import BprMf, Popularity, Sasrec, Tfidf
from hardrank.testing.service import Served, WordGuard, served, toy_bundle
from hardrank.training import Training


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = Sasrec(size=16, length=10, training=Training(epochs=3))
    return toy_bundle(tmp_path_factory.mktemp("bundles") / "live", spec)


@pytest.fixture
def shop(bundle: Path, tmp_path: Path) -> Iterator[Served]:
    with served(bundle, tmp_path / "s.db", guard=WordGuard(), provider="brand") as made:
        yield made


def _ids(answer: Any) -> list[str]:
    return [item["item_id"] for item in answer.json()["items"]]


def test_recommends_what_the_bundle_recommends(shop: Served, bundle: Path) -> None:
    """S3-20: the service and the bundle give one ranking, with the same scores."""
    loaded = load_bundle(bundle)
    for user in ("u0", "u1", "u7"):
        answer = shop.ask("read", "POST", "/v1/recommend", json={"user_id": user, "k": 5})
        assert answer.status_code == 200 and answer.json()["source"] == "model"
        expected = loaded.recommend(user, 5)
        assert _ids(answer) == expected["item_id"].to_list()
        scores = [item["score"] for item in answer.json()["items"]]
        assert np.allclose(scores, expected["score"].to_numpy(), atol=1e-5)


def test_a_history_is_enough(shop: Served, bundle: Path) -> None:
    asked = {"history": ["i0", "i3", "i6"], "k": 4}
    answer = shop.ask("read", "POST", "/v1/recommend", json=asked)
    assert (
        _ids(answer)
        == load_bundle(bundle).recommend_after(["i0", "i3", "i6"], 4)["item_id"].to_list()
    )


def test_seen_and_excluded_items_are_left_out_on_request(shop: Served) -> None:
    asked = {"history": ["i0", "i3"], "k": 60}
    assert not {"i0", "i3"} & set(_ids(shop.ask("read", "POST", "/v1/recommend", json=asked)))
    more = {**asked, "exclude_seen": False, "exclude": ["i5"]}
    found = _ids(shop.ask("read", "POST", "/v1/recommend", json=more))
    assert {"i0", "i3"} <= set(found) and "i5" not in found and len(found) == 59


def test_filters_keep_to_attributes(shop: Served) -> None:
    asked = {"history": ["i0"], "k": 60, "filters": {"brand": ["b1", "b2"]}}
    found = _ids(shop.ask("read", "POST", "/v1/recommend", json=asked))
    assert len(found) == 24 and all(int(i[1:]) % 5 in (1, 2) for i in found)
    none = {**asked, "filters": {"colour": ["red"]}}
    assert _ids(shop.ask("read", "POST", "/v1/recommend", json=none)) == []


def test_one_provider_gets_no_more_than_its_share(shop: Served) -> None:
    asked = {"history": ["i0"], "k": 10, "per_provider": 2}
    found = _ids(shop.ask("read", "POST", "/v1/recommend", json=asked))
    brands = [int(i[1:]) % 5 for i in found]
    assert len(found) == 10 and max(map(brands.count, brands)) == 2


def test_diversity_changes_the_list_and_zero_does_not(shop: Served) -> None:
    plain = {"history": ["i0", "i3", "i6"], "k": 6}
    first = _ids(shop.ask("read", "POST", "/v1/recommend", json=plain))
    same = _ids(shop.ask("read", "POST", "/v1/recommend", json={**plain, "diversity": 0.0}))
    other = _ids(shop.ask("read", "POST", "/v1/recommend", json={**plain, "diversity": 0.9}))
    assert first == same and first[0] == other[0] and set(first) != set(other)


def test_explanations_name_items_of_the_history(shop: Served) -> None:
    asked = {"history": ["i0", "i3"], "k": 3, "explain": True}
    for item in shop.ask("read", "POST", "/v1/recommend", json=asked).json()["items"]:
        assert len(item["because"]) <= 2
        for reason in item["because"]:
            assert reason["item_id"] in ("i0", "i3") and 0 < reason["similarity"] <= 1.0001
            assert "thing" in reason["words"]


def test_words_are_refused_by_a_model_without_text(shop: Served) -> None:
    answer = shop.ask("read", "POST", "/v1/recommend", json={"text": "red shoes"})
    assert answer.status_code == 422 and "words" in answer.json()["error"]


def test_scores_agree_with_the_ranking(shop: Served) -> None:
    listed = shop.ask("read", "POST", "/v1/recommend", json={"user_id": "u3", "k": 3}).json()
    ids = [item["item_id"] for item in listed["items"]]
    asked = {"user_id": "u3", "items": [*ids, "nothing"]}
    scored = shop.ask("read", "POST", "/v1/score", json=asked).json()["scores"]
    assert scored[3] is None
    assert np.allclose(scored[:3], [item["score"] for item in listed["items"]], atol=1e-5)


def test_events_count_at_once_and_only_once(shop: Served) -> None:
    asked = {"user_id": "nobody yet", "k": 60}
    before = _ids(shop.ask("read", "POST", "/v1/recommend", json=asked))
    events = [
        {"event_id": f"e{n}", "user_id": "nobody yet", "item_id": item, "time": 1_700_000_000 + n}
        for n, item in enumerate(["i1", "i4"])
    ]
    first = shop.ask("ingest", "POST", "/v1/events", json={"events": events}).json()
    again = shop.ask("ingest", "POST", "/v1/events", json={"events": events}).json()
    assert (first["added"], first["known"]) == (2, 0) and (again["added"], again["known"]) == (0, 2)
    assert [e["new"] for e in first["events"]] == [True, True]
    after = _ids(shop.ask("read", "POST", "/v1/recommend", json=asked))
    assert {"i1", "i4"} <= set(before) and not {"i1", "i4"} & set(after)
    history = {"history": ["i1", "i4"], "k": 60}
    assert after == _ids(shop.ask("read", "POST", "/v1/recommend", json=history))


def test_items_are_rewritten_read_and_deleted(shop: Served) -> None:
    put = shop.ask("ingest", "PUT", "/v1/items/i5", json={"fields": {"title": "another thing"}})
    assert put.json() == {
        "item_id": "i5", "state": "live", "reason": "", "recommendable": True,
    }  # fmt: skip
    kept = shop.ask("ingest", "GET", "/v1/items/i5").json()
    assert kept["fields"] == {"title": "another thing", "brand": "b0"}
    asked = {"history": ["i0"], "k": 60}
    listed = shop.ask("read", "POST", "/v1/recommend", json=asked).json()["items"]
    assert {i["item_id"]: i["title"] for i in listed}["i5"] == "another thing"
    assert shop.ask("ingest", "DELETE", "/v1/items/i5").json()["state"] == "deleted"
    assert "i5" not in _ids(shop.ask("read", "POST", "/v1/recommend", json=asked))
    assert shop.ask("ingest", "DELETE", "/v1/items/i5").status_code == 404
    assert shop.ask("ingest", "GET", "/v1/items/none/such").status_code == 404


def test_what_a_guard_holds_back_waits_with_its_diff_until_it_is_decided(shop: Served) -> None:
    asked = {"history": ["i0"], "k": 60}

    def title() -> str:
        items = shop.ask("read", "POST", "/v1/recommend", json=asked).json()["items"]
        return str(next(i["title"] for i in items if i["item_id"] == "i5"))

    held = shop.ask("ingest", "PUT", "/v1/items/i5", json={"fields": {"title": "spam thing 5"}})
    assert held.json()["state"] == "quarantined" and held.json()["reason"] == "word"
    assert title() == "group 2 thing 5"
    (row,) = shop.ask("review", "GET", "/v1/quarantine").json()["rows"]
    told = row["diff"]["title"]
    assert "".join(text for kind, text in told if kind != "removed") == "spam thing 5"
    assert "".join(text for kind, text in told if kind != "added") == "group 2 thing 5"
    assert ["same", " thing 5"] in told or ["same", "thing 5"] in told
    assert row["guard"] == "word" and row["score"] == 0.9
    done = shop.ask("review", "POST", f"/v1/quarantine/{row['id']}/admit")
    assert done.json() == {"id": row["id"], "state": "live"} and title() == "spam thing 5"
    assert shop.ask("review", "POST", f"/v1/quarantine/{row['id']}/reject").status_code == 409
    assert shop.ask("review", "POST", "/v1/quarantine/9999/reject").status_code == 404
    assert shop.ask("review", "GET", "/v1/quarantine").json() == {"rows": [], "after": None}
    audit = [r.action for r in shop.app.state.service.store.audit_log()]
    assert "admit" in audit


def test_a_rejected_text_never_shows(shop: Served) -> None:
    shop.ask("ingest", "PUT", "/v1/items/new", json={"fields": {"title": "all spam"}})
    (row,) = shop.ask("review", "GET", "/v1/quarantine").json()["rows"]
    done = shop.ask("review", "POST", f"/v1/quarantine/{row['id']}/reject")
    assert done.json()["state"] == "rejected"
    everything = {"history": ["i0"], "k": 200}
    assert "new" not in _ids(shop.ask("read", "POST", "/v1/recommend", json=everything))


def test_a_mended_text_goes_live_mended(shop: Served) -> None:
    put = shop.ask("ingest", "PUT", "/v1/items/i4", json={"fields": {"title": "SHOUTED thing"}})
    assert put.json()["state"] == "live" and put.json()["reason"] == "word"
    kept = shop.ask("ingest", "GET", "/v1/items/i4").json()
    assert kept["fields"]["title"] == "shouted thing"


def test_bulk_lines_stand_for_themselves(shop: Served) -> None:
    lines = [
        json.dumps({"item_id": "i1", "fields": {"title": "one"}}),
        "{not json",
        json.dumps({"item_id": "i2", "fields": {"title": "spam"}}),
        json.dumps({"item_id": "i3"}),
        json.dumps({"item_id": "i3", "delete": True}),
        json.dumps({"item_id": "i1", "fields": {"title": "one again"}}),
        '{"item_id": "i4", "fields": {"title": NaN}}',
        json.dumps({"item_id": "nowhere", "delete": True}),
        "",
        json.dumps({"item_id": "x" * 201, "delete": True}),
    ]
    answer = shop.ask("ingest", "POST", "/v1/items", content="\n".join(lines).encode())
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [f["line"] for f in found] == list(range(1, 11))
    assert [f["state"] for f in found] == [
        "live", "refused", "quarantined", "refused", "deleted", "live", "refused", "missing",
        "refused", "refused",
    ]  # fmt: skip
    kept = shop.ask("ingest", "GET", "/v1/items/i1").json()
    assert kept["fields"]["title"] == "one again"


def test_erasure_reaches_store_bundle_log_and_caches(shop: Served) -> None:
    """The user's events are gone, the bundle's log of them is not used, and later events of
    the user are not kept."""
    asked = {"user_id": "u3", "k": 60}
    seen = set(load_bundle(Path(shop.app.state.service.settings.bundle)).histories["u3"])
    event = {"event_id": "e", "user_id": "u3", "item_id": "i1", "time": 5}
    shop.ask("ingest", "POST", "/v1/events", json={"events": [event]})
    assert not seen & set(_ids(shop.ask("read", "POST", "/v1/recommend", json=asked)))
    gone = shop.ask("admin", "DELETE", "/v1/users/u3").json()
    assert gone["removed"]["events"] == 1 and gone["removed"]["bundled"] == len(seen)
    after = _ids(shop.ask("read", "POST", "/v1/recommend", json=asked))
    assert seen <= set(after)
    assert after == _ids(shop.ask("read", "POST", "/v1/recommend", json={**asked, "user_id": "x"}))
    event["event_id"] = "later"
    again = shop.ask("ingest", "POST", "/v1/events", json={"events": [event]}).json()
    assert again["added"] == 0 and shop.app.state.service.store.history("u3") == []


def test_erasure_holds_after_a_restart(bundle: Path, tmp_path: Path) -> None:
    with served(bundle, tmp_path / "s.db") as first:
        first.ask("admin", "DELETE", "/v1/users/u3")
    with served(bundle, tmp_path / "s.db") as second:
        found = second.ask("read", "POST", "/v1/recommend", json={"user_id": "u3", "k": 60})
        assert len(_ids(found)) == 60


def test_the_catalogue_of_the_store_holds_after_a_restart(bundle: Path, tmp_path: Path) -> None:
    with served(bundle, tmp_path / "s.db") as first:
        first.ask("ingest", "PUT", "/v1/items/i1", json={"fields": {"title": "kept"}})
        first.ask("ingest", "DELETE", "/v1/items/i2")
    with served(bundle, tmp_path / "s.db") as second:
        asked = {"history": ["i0"], "k": 60}
        listed = second.ask("read", "POST", "/v1/recommend", json=asked).json()["items"]
        titles = {i["item_id"]: i["title"] for i in listed}
        assert titles["i1"] == "kept" and "i2" not in titles


def test_health_is_open_and_the_rest_of_the_description_is_not(shop: Served) -> None:
    assert shop.client.get("/v1/health").json()["status"] == "live"
    ready = shop.client.get("/v1/health/ready").json()
    assert ready["status"] == "ready" and len(ready["bundle"]) == 12
    assert shop.client.get("/openapi.json").status_code == 401
    text = shop.ask("review", "GET", "/metrics").text
    assert "hardrank_ready 1.0" in text and "hardrank_live_items 60.0" in text


def _operations(shop: Served) -> list[tuple[str, str, str]]:
    """(method, path, role) of every operation, as the OpenAPI description has them."""
    paths = shop.ask("admin", "GET", "/openapi.json").json()["paths"]
    return [
        (method.upper(), path.replace("{item_id}", "i1").replace("{user_id}", "u1")
         .replace("{case}", "1").replace("{action}", "admit"), about.get("x-role", ""))
        for path, methods in paths.items() for method, about in methods.items()
    ]  # fmt: skip


def test_no_route_works_without_its_role(shop: Served) -> None:
    operations = _operations(shop)
    assert len(operations) >= 13
    for method, path, role in operations:
        if path.startswith("/v1/health"):
            assert role == ""
            continue
        assert role in ("read", "ingest", "review", "admin"), path
        assert shop.client.request(method, path).status_code == 401
        wrong = {"Authorization": "Bearer hr_000000000000_" + "a" * 43}
        assert shop.client.request(method, path, headers=wrong).status_code == 401
        for other in {"read", "ingest", "review"} - {role}:
            answer = shop.ask(other, method, path)
            assert answer.status_code == 403, (other, method, path)
            assert "wants" not in answer.text and "Traceback" not in answer.text


def test_an_admin_may_do_everything_and_a_key_may_come_in_another_header(shop: Served) -> None:
    asked = {"history": ["i0"]}
    assert shop.ask("admin", "POST", "/v1/recommend", json=asked).status_code == 200
    header = {"X-API-Key": shop.keys["read"]}
    assert shop.client.post("/v1/recommend", json=asked, headers=header).status_code == 200


@pytest.mark.parametrize("spec", [Popularity(), Tfidf(), BprMf(size=8, epochs=2)])
def test_other_models_serve_too(spec: Any, tmp_path: Path) -> None:
    folder = toy_bundle(tmp_path / "b", spec)
    with served(folder, tmp_path / "s.db") as shop:
        loaded = load_bundle(folder)
        answer = shop.ask("read", "POST", "/v1/recommend", json={"user_id": "u4", "k": 5})
        assert _ids(answer) == loaded.recommend("u4", 5)["item_id"].to_list()
        put = shop.ask("ingest", "PUT", "/v1/items/new", json={"fields": {"title": "group 0 new"}})
        assert put.json()["recommendable"] == (spec.kind == "tfidf")
        asked = {"history": ["i0"], "k": 200}
        listed = _ids(shop.ask("read", "POST", "/v1/recommend", json=asked))
        assert ("new" in listed) == (spec.kind == "tfidf") and len(listed) >= 59


def test_the_demo_of_a_copied_bundle_is_the_same(bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    with served(Path(copy), tmp_path / "s.db") as shop:
        answer = shop.ask("read", "POST", "/v1/recommend", json={"user_id": "u0"})
        assert answer.json()["source"] == "model"
