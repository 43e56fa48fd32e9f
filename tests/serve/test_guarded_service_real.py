"""A guarded bundle on real listings (MovieLens-100K), over HTTP: who gets in, and who waits."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.bundle import add_guards, save_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.sources import MovieLens
from hardrank.experiment.guard_texts import TextFile
from hardrank.guards import (
    ChangeOfText,
    CopycatGuard,
    Injection,
    Lesson,
    Normaliser,
    ShadowRanking,
    Stuffing,
    fit_pipeline,
)
from hardrank.models import Tfidf
from hardrank.serve.engine import Engine
from hardrank.testing.service import Served, served

pytestmark = pytest.mark.slow
HELD_OUT = 200


@dataclass(frozen=True)
class World:
    bundle: Path
    fresh: pl.DataFrame
    """Honest listings that neither model nor guards have seen."""
    known: pl.DataFrame
    counts: Any
    order: str


def _without(data: Dataset, rows: Any) -> Dataset:
    """The log as if these items had never been."""
    keep = np.setdiff1d(np.arange(data.n_items), rows)
    place = pl.DataFrame({"item": keep, "at": np.arange(len(keep))}).with_columns(
        pl.all().cast(data.events.schema["item"])
    )
    events = data.events.join(place, on="item", how="inner", maintain_order="left")
    events = events.with_columns(item=pl.col("at")).select(data.events.columns)
    return replace(data, items=data.items[keep], events=events)


@pytest.fixture(scope="module")
def world(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    whole = MovieLens(path=data_folder / "ml-100k" / "raw").load()
    rows = np.sort(np.random.default_rng(3).choice(whole.n_items, HELD_OUT, replace=False))
    data, folder = _without(whole, rows), tmp_path_factory.mktemp("real")
    # The vocabulary has the words of new titles, too: what a model of words does not know it
    # ranks by the year alone, far too high, and the gate is right to hold that.
    words = Tfidf().fit(whole, RunContext()).arrays()
    model = Tfidf().restore(words, data.items, RunContext())
    save_bundle(folder / "plain", Tfidf(), model, data, {"name": "ml"})
    shop = Engine.load(folder / "plain").shop()
    bipia = data_folder / "attacked-text" / "bipia"
    orders = TextFile(name="orders", path=bipia / "text_attack_train.json").load()
    lesson = Lesson(shop=shop, orders=tuple(orders))
    guards = (
        Normaliser(), Stuffing(), CopycatGuard(), Injection(), ChangeOfText(), ShadowRanking(),
    )  # fmt: skip
    fit_pipeline(guards, lesson).save(folder / "guards")
    add_guards(folder / "plain", folder / "guards", folder / "live")
    unseen = TextFile(name="orders", path=bipia / "text_attack_test.json").load()
    return World(folder / "live", whole.items[rows], data.items, data.counts, unseen[0])


@pytest.fixture
def shop(world: World, tmp_path: Path) -> Iterator[Served]:
    with served(world.bundle, tmp_path / "s.db") as made:
        yield made


def _put(shop: Served, item: str, **fields: str) -> Any:
    answer = shop.ask("ingest", "PUT", f"/v1/items/{item}", json={"fields": fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def _waiting(shop: Served) -> dict[str, Any]:
    rows = shop.ask("review", "GET", "/v1/quarantine?limit=200").json()["rows"]
    return {row["item_id"]: row for row in rows}


def _listed(shop: Served, history: str) -> list[str]:
    asked = {"history": [history], "k": 200}
    answer = shop.ask("read", "POST", "/v1/recommend", json=asked).json()
    assert answer["source"] == "model"
    return [item["item_id"] for item in answer["items"]]


def _popular(world: World, place: int) -> dict[str, Any]:
    return world.known.row(int(np.argsort(-world.counts)[place]), named=True)


def _put_all(shop: Served, titles: dict[str, str]) -> list[str]:
    """States of many listings."""
    lines = [json.dumps({"item_id": i, "fields": {"title": t}}) for i, t in titles.items()]
    answer = shop.ask("ingest", "POST", "/v1/items", content="\n".join(lines).encode())
    return [json.loads(line)["state"] for line in answer.text.splitlines()]


def _titles(table: pl.DataFrame) -> dict[str, str]:
    return dict(table.select("item_id", "title").iter_rows())


def test_honest_new_titles_go_live(shop: Served, world: World) -> None:
    """S0-29: at most 2 % of 200 listings that nobody has seen are held."""
    states = _put_all(shop, {f"new-{i}": title for i, title in _titles(world.fresh).items()})
    assert len(states) == HELD_OUT
    assert states.count("quarantined") <= 0.02 * HELD_OUT, _waiting(shop)


def test_honest_rewrites_go_live(shop: Served, world: World) -> None:
    """Items have a year and genres, which guards of titles must not take for a title."""
    some = _titles(world.known[::15])
    states = _put_all(shop, {i: f"The {title}" for i, title in some.items()})
    assert len(states) == 99 and states.count("quarantined") <= 4, _waiting(shop)


def test_attacks_wait_and_one_is_admitted(shop: Served, world: World) -> None:
    """S0-29, S1-03: each kind of attack is held by the guard that is there for it."""
    first, second, best = (_popular(world, place) for place in (0, 1, 2))
    look_alike = best["title"].replace("e", "\u0435").replace("o", "\u043e")
    assert best["title"] == "Return of the Jedi (1983)" != look_alike
    _put(shop, "stuffed", title=f"{best['title']} " * 12)
    _put(shop, "copy", title=look_alike)
    _put(shop, "order", title=f"Heat (1995). {world.order}")
    rare = world.known.row(int(np.argsort(world.counts)[0]), named=True)
    _put(shop, rare["item_id"], title=f"{first['title']} {second['title']}")
    waiting = _waiting(shop)
    for item_id, guard in (
        ("stuffed", "stuffing"), ("copy", "copycat"), ("order", "injection"),
        (rare["item_id"], "shadow-ranking"),
    ):  # fmt: skip
        assert guard in (waiting[item_id]["guard"] + waiting[item_id]["reason"]), waiting[item_id]
    assert "ER@10 moves from" in waiting[rare["item_id"]]["reason"]
    told = waiting[rare["item_id"]]["diff"]["title"]
    assert "".join(t for kind, t in told if kind != "added") == rare["title"]
    assert "copy" not in _listed(shop, best["item_id"])
    done = shop.ask("review", "POST", f"/v1/quarantine/{waiting['copy']['id']}/admit").json()
    assert done["state"] == "live"
    kept = shop.ask("ingest", "GET", "/v1/items/copy").json()["fields"]["title"]
    assert kept == look_alike, "a person admits what was asked"
    refused = waiting["stuffed"]["id"]
    shop.ask("review", "POST", f"/v1/quarantine/{refused}/reject")
    assert "stuffed" not in _listed(shop, best["item_id"])
