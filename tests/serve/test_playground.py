"""What an edit would do: ranks against a slow twin, and that nothing happens for real."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.bundle import load_bundle
from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.models import BprMf, Tfidf
from hardrank.recommender import mask_seen
from hardrank.serve.playground import Person, Placed, Playground, TrialModel
from hardrank.testing.logs import taste_log
from hardrank.testing.service import Served, WordGuard, served, toy_bundle

BEFORE = {"title": "group 0 thing 57", "brand": "b2"}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    toy_bundle(folder / "live", Tfidf())
    toy_bundle(folder / "control", BprMf(size=8, epochs=2))
    return folder


@pytest.fixture
def shop(bundles: Path, tmp_path: Path) -> Iterator[Served]:
    control = str(bundles / "control")
    with served(bundles / "live", tmp_path / "s.db", guard=WordGuard(), control=control) as made:
        yield made


def _play(shop: Served, **asked: Any) -> Any:
    return shop.ask("review", "POST", "/v1/playground", json={"item_id": "i57", **asked})


def _slow(model: Any, item: str, texts: dict[str, str], history: tuple[str, ...]) -> int:
    """The rank by rewriting the catalogue and sorting everything."""
    ids = model.items["item_id"].to_list()
    row = ids.index(item)
    items = model.items
    for column, text in texts.items():
        values = [text if n == row else old for n, old in enumerate(items[column].to_list())]
        items = items.with_columns(pl.Series(column, values))
    queries = Queries.of([[ids.index(name) for name in history]])
    scores = model.on(items).score(queries, Slate(items=np.arange(len(ids))))
    order = np.argsort(-mask_seen(scores.copy(), queries)[0], kind="stable").tolist()
    return 0 if item in history else int(order.index(row)) + 1


@pytest.mark.parametrize("fields", [("title",), ("title", "brand")])
def test_ranks_are_those_of_a_rewritten_catalogue(fields: tuple[str, ...]) -> None:
    """One column by a slate, several by a catalogue of their own: both as a slow twin has it."""
    data = taste_log(users=30, items=24)
    brands = pl.Series("brand", [f"brand {n % 5}" for n in range(24)])
    data = replace(data, items=data.items.with_columns(brands))
    model = Tfidf(fields=fields).fit(data, RunContext(seed=0))
    ids = data.items["item_id"].to_list()
    histories = {
        user: tuple(ids[i] for i in data.event_items[a:b])
        for user, a, b in zip(
            data.users["user_id"], data.offsets[:-1], data.offsets[1:], strict=True
        )
    }
    before = {"title": "group 2 thing 5", "brand": "brand 0"}
    after = {"title": "group 0 thing 0 group 0", "brand": "brand 3"}
    people = [Person(user, past) for user, past in histories.items()]
    found = TrialModel(model, histories).tried("i5", before, after, people)
    assert found.known and found.reads == fields
    for placed, texts in ((found.before, before), (found.after, after)):
        slow = [_slow(model, "i5", texts, person.history) for person in people]
        assert placed.ranks.tolist() == slow
    assert found.before.ranks.tolist() != found.after.ranks.tolist()


def test_items_that_are_gone_do_not_compete() -> None:
    data = taste_log(users=5, items=12)
    model = Tfidf().fit(data, RunContext(seed=0))
    trial = TrialModel(model, {"u": ["i0"]})
    people, text = [Person("u", ("i0",))], {"title": "nothing alike"}
    whole = trial.tried("i5", text, text, people)
    few = trial.tried("i5", text, text, people, gone=[f"i{n}" for n in range(6, 12)])
    assert whole.after.ranks.tolist() == [11]  # all other unseen ones share a word with i0
    assert few.after.ranks.tolist() == [5]


def test_a_newer_item_is_scored_in_the_place_of_the_one_with_fewest_events() -> None:
    data = taste_log(users=30, items=24)
    model = Tfidf().fit(data, RunContext(seed=0))
    trial = TrialModel(model, {"u": [f"i{n}" for n in range(1, 24)]})
    people = [Person("v", ("i3",))]
    new = trial.tried("new", {"title": ""}, {"title": "group 0 thing 0"}, people)
    own = trial.tried("i0", {"title": ""}, {"title": "group 0 thing 0"}, people)
    assert not new.known and own.known
    assert new.after.ranks.tolist() == own.after.ranks.tolist()


def test_exposure_is_a_share_of_those_who_have_not_had_it() -> None:
    placed = Placed(np.zeros(5, np.float32), np.array([1, 10, 11, 0, 0]))
    assert placed.exposure(10, slice(0, 4)) == 2 / 3
    assert placed.exposure(50, slice(0, 4)) == 1.0
    assert placed.exposure(10, slice(3, 5)) is None


def test_an_edit_moves_ranks_on_both_models_and_meets_the_guards(shop: Served) -> None:
    asked = {"fields": {"title": "spam group 0 thing 0"}, "user_ids": ["u0", "u1", "nobody"]}
    first = _play(shop, **asked).json()
    assert first["control"] is None and first["control_state"] == "loading"
    for _ in range(200):
        found = _play(shop, **asked).json()
        if found["control"] is not None:
            break
        time.sleep(0.05)
    assert found["control_state"] == "ready"
    assert found["standing"] == BEFORE and found["text_columns"] == ["title", "brand"]
    assert found["live"]["reads"] == ["title"] and found["control"]["reads"] == []
    assert found["live"]["er10"][1] > found["live"]["er10"][0]
    assert found["control"]["er10"][1] == found["control"]["er10"][0]  # it reads no texts
    assert [user["user_id"] for user in found["live"]["users"]] == ["u0", "u1", "nobody"]
    assert found["live"]["users"][2]["recent"] == []
    assert found["live"]["users"][0]["after"]["rank"] < found["live"]["users"][0]["before"]["rank"]
    verdict = found["verdict"]
    assert (verdict["action"], verdict["guard"], verdict["score"]) == ("quarantine", "word", 0.9)
    assert verdict["reason"] == "says spam"
    mended = _play(shop, fields={"title": "SHOUTED"}).json()["verdict"]
    assert mended["action"] == "mend" and mended["fields"]["title"] == "shouted"
    plain = _play(shop).json()
    assert plain["verdict"]["action"] == "admit"
    assert plain["live"]["er10"][0] == plain["live"]["er10"][1]
    assert len(plain["live"]["users"]) == 8 and plain["sample"] == 120


def test_the_ranks_of_the_live_model_are_those_of_its_lists(shop: Served) -> None:
    listed = shop.ask("read", "POST", "/v1/recommend", json={"user_id": "u3", "k": 60}).json()
    ids = [item["item_id"] for item in listed["items"]]
    for rank in (1, 5, len(ids)):
        asked = {"item_id": ids[rank - 1], "user_ids": ["u3"]}
        (user,) = _play(shop, **asked).json()["live"]["users"]
        assert user["before"]["rank"] == user["after"]["rank"] == rank
        assert user["before"]["score"] == pytest.approx(listed["items"][rank - 1]["score"])


def test_nothing_is_stored_and_nobody_is_said_to_probe(bundles: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"probes": 1, "block_probes": True, "guard": WordGuard()}
    with served(bundles / "live", tmp_path / "s.db", **options) as shop:
        service = shop.app.state.service
        asked = {"user_id": "u0", "k": 20}
        lists = shop.ask("read", "POST", "/v1/recommend", json=asked).json()
        log = len(service.store.audit_log())
        for n in range(12):
            assert _play(shop, fields={"title": f"spam group 0 thing {n}"}).status_code == 200
        assert service.store.item("i57") is None and service.store.quarantine() == []
        assert len(service.store.audit_log()) == log
        assert service.live.fields("i57") == BEFORE
        kept = shop.ask("ingest", "GET", "/v1/items/i57").json()
        assert kept["fields"] == BEFORE
        assert shop.ask("read", "POST", "/v1/recommend", json=asked).json() == lists
        assert service.probes._trails == {}  # only the key that reads looked at a ranking
        assert len(service.probes._looks) == 1


def test_limits_are_kept_and_nothing_is_said_back(shop: Served) -> None:
    many = [f"secret{n}" for n in range(51)]
    for wrong in (
        {"user_ids": many}, {"fields": {"title": "secret" * 1_000}}, {"fields": {"secret": "x"}},
        {"secret": 1}, {"fields": {f"secret{n}": "x" for n in range(9)}}, {"item_id": ""},
    ):  # fmt: skip
        answer = _play(shop, **wrong)  # type: ignore[arg-type]
        assert answer.status_code == 422, wrong
        if wrong != {"secret": 1}:
            assert "secret" not in answer.json()["error"]
    assert _play(shop, item_id="nowhere").status_code == 404
    shop.app.state.service.playground.trying = 4
    assert _play(shop).status_code == 503
    shop.app.state.service.playground.trying = 0
    assert _play(shop).status_code == 200


def test_only_reviewers_play(shop: Served) -> None:
    for role in ("read", "ingest"):
        for method, path in (("POST", "/v1/playground"), ("GET", "/v1/playground/items")):
            answer = shop.ask(role, method, path, json={"item_id": "i57"})
            assert answer.status_code == 403 and "'review'" in answer.json()["error"]


def test_items_are_found_by_title_or_id(shop: Served) -> None:
    def found(q: str) -> list[str]:
        answer = shop.ask("review", "GET", "/v1/playground/items", params={"q": q})
        return [item["item_id"] for item in answer.json()["items"]]

    assert found("THING 59") == ["i59"] and found("i59") == ["i59"]
    assert found("no such thing") == [] and len(found("thing")) == 20
    popular = found("")
    assert len(popular) == 20 and "i0" in popular[:5]
    shop.ask("ingest", "PUT", "/v1/items/new", json={"fields": {"title": "brand new"}})
    assert found("brand new") == ["new"]
    answer = _play(shop, item_id="new", fields={"title": "group 0 thing 0"}).json()
    assert not answer["live"]["known"]


def test_without_a_control_or_with_a_broken_one_the_page_is_told(
    bundles: Path, tmp_path: Path
) -> None:
    with served(bundles / "live", tmp_path / "a.db") as shop:
        answer = _play(shop, fields={"title": "x"}).json()
        assert answer["control_state"] == "none" and answer["control"] is None
        assert answer["verdict"]["action"] == "none"
    play = Playground(str(tmp_path / "nothing"))
    assert play.control() is None
    play.thread.submit(lambda: None).result(30)
    assert play.control() is None and play.control_state == "failed"
    play.close()


def test_the_control_is_loaded_once_and_from_its_bundle(bundles: Path) -> None:
    play = Playground(str(bundles / "control"))
    assert play.control_state == "loading" and play.control() is None
    play.thread.submit(lambda: None).result(30)
    model = play.control()
    assert model is not None and model is play.control() and play.control_state == "ready"
    loaded = load_bundle(bundles / "control")
    listed = loaded.recommend("u4", 5)["item_id"].to_list()
    person = Person("u4", tuple(loaded.histories["u4"]))
    ranks = [int(model.tried(i, {}, {}, [person]).before.ranks[0]) for i in listed]
    assert ranks == [1, 2, 3, 4, 5]
    play.close()
