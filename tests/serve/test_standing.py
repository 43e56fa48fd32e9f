"""S0-25: fakes that stand in the bundle already wait for a person from its load on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hardrank.bundle import add_guards, load_guards, save_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.guards import (
    CopycatGuard,
    Lesson,
    Normaliser,
    Shop,
    Stuffing,
    fit_pipeline,
    load_pipeline,
)
from hardrank.models import Tfidf
from hardrank.serve.engine import Engine
from hardrank.serve.loading import load_engine
from hardrank.serve.settings import Settings
from hardrank.serve.standing import hold_standing
from hardrank.serve.store import Store
from hardrank.testing.logs import taste_log
from hardrank.testing.service import Served, WordGuard, served

STUFFED = "group 0 thing 0 group 1 thing 1 group 2 thing 2 " * 6
FAKES = {"f0": STUFFED, "f1": STUFFED + "cheap", "f2": STUFFED + "best"}
EVERYONE = {"history": ["i0", "i1", "i2"], "k": 200}


def with_fakes(data: Dataset, titles: dict[str, str]) -> Dataset:
    more = pl.DataFrame({"item_id": list(titles), "title": list(titles.values())})
    return replace(data, items=pl.concat([data.items, more]))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("standing")
    data = taste_log()
    lesson = Lesson(shop=Shop(items=data.items, counts=data.counts))
    guards = fit_pipeline([Normaliser(), Stuffing(), CopycatGuard()], lesson)
    guards.save(folder / "guards")
    whole = with_fakes(data, FAKES)
    model = Tfidf().fit(whole, RunContext())
    save_bundle(folder / "plain", Tfidf(), model, whole, {"name": "toy", "synthetic": True})
    add_guards(folder / "plain", folder / "guards", folder / "made")
    return folder / "made"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "s.db")
    yield opened
    opened.close()


def listed(shop: Served) -> set[str]:
    answer = shop.ask("read", "POST", "/v1/recommend", json=EVERYONE)
    assert answer.status_code == 200, answer.text
    assert answer.json()["source"] == "model"
    return {item["item_id"] for item in answer.json()["items"]}


def overview(shop: Served) -> dict[str, int]:
    found: dict[str, int] = shop.ask("review", "GET", "/v1/overview").json()["standing"]
    return found


def cases(shop: Served) -> dict[str, dict[str, Any]]:
    rows = shop.ask("review", "GET", "/v1/quarantine").json()
    return {row["item_id"]: row for row in rows["rows"]}


def test_off_they_are_listed(bundle: Path, tmp_path: Path) -> None:
    with served(bundle, tmp_path / "s.db") as shop:
        assert set(FAKES) <= listed(shop)
        assert overview(shop) == {"looked": 0, "held": 0, "left": 0}
        assert cases(shop) == {}


def test_held_until_a_person_admits_them(bundle: Path, tmp_path: Path) -> None:
    """And what a person said outlives the process."""
    with served(bundle, tmp_path / "s.db", authentic=0.5) as shop:
        assert not set(FAKES) & listed(shop)
        assert len(listed(shop)) >= 50
        assert overview(shop) == {"looked": 63, "held": 3, "left": 0}
        waiting = cases(shop)
        assert set(waiting) == set(FAKES)
        assert all(case["reason"] for case in waiting.values())
        for item, action in (("f0", "admit"), ("f1", "reject")):
            path = f"/v1/quarantine/{waiting[item]['id']}/{action}"
            assert shop.ask("review", "POST", path).status_code == 200
        assert set(FAKES) & listed(shop) == {"f0"}
    with served(bundle, tmp_path / "s.db", authentic=0.5) as shop:
        assert set(FAKES) & listed(shop) == {"f0"}
        assert set(cases(shop)) == {"f2"}
        assert overview(shop)["held"] == 0, "known to the store: not looked at again"


def test_popularity_does_not_list_them_either(bundle: Path, tmp_path: Path) -> None:
    with served(bundle, tmp_path / "s.db", authentic=0.5) as shop:
        popular = shop.app.state.service.live.popular
        assert popular.fields("f0") is None
        assert popular.fields("i0") is not None


def test_other_guards_than_those_of_the_bundle(bundle: Path, tmp_path: Path) -> None:
    """`--guard` is held to what stands, too; a bundle without guards has nothing looked at."""
    plain, guards = bundle.parent / "plain", str(bundle.parent / "guards")
    with served(plain, tmp_path / "a.db", authentic=0.5) as shop:
        assert overview(shop) == {"looked": 0, "held": 0, "left": 0}
    with served(plain, tmp_path / "b.db", authentic=0.5, guard=load_pipeline(Path(guards))) as shop:
        assert overview(shop)["looked"] == 0, "those of the caller are not a folder's"
    settings = Settings(bundle=str(plain), guard=guards, authentic=0.5)
    opened = Store.open(tmp_path / "c.db")
    try:
        assert set(load_engine(plain, opened, settings).held) == set(FAKES)
    finally:
        opened.close()


def test_a_swap_holds_what_stands_in_the_new_bundle(bundle: Path, tmp_path: Path) -> None:
    """The old one without guards lists the fakes; popularity forgets them with the swap."""
    with served(bundle.parent / "plain", tmp_path / "s.db", authentic=0.5) as shop:
        assert set(FAKES) <= listed(shop)
        service = shop.app.state.service
        service.live.swap(bundle)
        assert not set(FAKES) & listed(shop)
        assert service.live.popular.fields("f0") is None
        assert overview(shop)["held"] == 3


def engine_of(bundle: Path) -> Engine:
    engine = Engine.load(bundle)
    engine.guard = load_guards(bundle)
    return engine


def test_only_what_guards_are_surer_of(bundle: Path, store: Store) -> None:
    engine = engine_of(bundle)
    assert engine.guard is not None
    found = hold_standing(engine, store, engine.guard, 0.0)
    assert (found.looked, found.held, found.left) == (63, (), 0)
    assert set(hold_standing(engine, store, engine.guard, 0.5).held) == set(FAKES)
    assert engine.live_items == 60


def test_guards_of_another_catalogue_hold_nothing(bundle: Path, store: Store) -> None:
    """All 63 texts are strange to it: the shop stays open, and the count is told."""

    class Everything(WordGuard):
        def inspect(self, listings: Sequence[Any], shop: Shop) -> list[Any]:
            bad = replace(listings[0], fields={"title": "spam"})
            return super().inspect([bad] * len(listings), shop)

    engine = engine_of(bundle)
    found = hold_standing(engine, store, Everything(), 0.5)
    assert (found.looked, found.held, found.left) == (63, (), 63)
    assert engine.live_items == 63
    assert store.quarantine() == []


def test_time_is_bounded(bundle: Path, store: Store) -> None:
    engine = engine_of(bundle)
    assert engine.guard is not None
    found = hold_standing(engine, store, engine.guard, 0.5, seconds=0.0)
    assert (found.looked, found.held, found.left) == (0, (), 63)


def test_the_setting_is_a_share() -> None:
    assert Settings(bundle="b").authentic == 0.0
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Settings(bundle="b", authentic=1.5)
