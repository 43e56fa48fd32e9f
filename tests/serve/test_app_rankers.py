"""Rankers over a catalogue that changes give what the models themselves give."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest

from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.models import BprMf, Hybrid, Sasrec, TextSequence
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.serve.asks import Ask, Found
from hardrank.serve.engine import Engine
from hardrank.serve.ranker_factors import FactorRanker
from hardrank.serve.ranker_sequence import SequenceRanker
from hardrank.serve.rankers import Question, Rows
from hardrank.serve.routes.recommend import _told
from hardrank.testing.logs import taste_log
from hardrank.testing.service import served, toy_bundle
from hardrank.training import Training

_HISTORIES = ((0, 3, 6), (1,), (), (5, 2, 8, 11, 14))
_ASKED = [Question(h) for h in _HISTORIES]
_SMALL: dict[str, Any] = {"size": 16, "length": 8, "training": Training(epochs=2)}


def _fitted(spec: Any) -> SequenceRecommender:
    model = spec.fit(taste_log(), RunContext())
    assert isinstance(model, SequenceRecommender)
    return model


def _scores(model: SequenceRecommender) -> Any:
    return model.score(Queries.of(_HISTORIES), Slate(items=np.arange(model.items.height)))


def test_ids_alone() -> None:
    model = _fitted(Sasrec(**_SMALL))
    ranker = SequenceRanker(model)
    assert not ranker.reads_text and not ranker.reads_new
    assert np.allclose(ranker.scores(_ASKED), _scores(model), atol=1e-5)
    states, vectors = ranker.states(_ASKED), ranker.vectors()
    assert states is not None and vectors is not None
    assert np.allclose(states @ vectors.T, _scores(model), atol=1e-5)
    assert not ranker.put(60, {"title": "new"}, ranker.read({"title": "new"}))
    assert ranker.scores(_ASKED).shape == (4, 61)


@pytest.mark.parametrize("spec", [TextSequence(whiten=16, **_SMALL), Hybrid(whiten=16, **_SMALL)])
def test_texts_that_are_rewritten_and_items_that_come(spec: Any) -> None:
    """The same scores as the recommender made anew over the changed catalogue."""
    model = _fitted(spec)
    ranker = SequenceRanker(model)
    assert np.allclose(ranker.scores(_ASKED), _scores(model), atol=1e-4)
    text = {"title": "group 1 thing of silver"}
    for row in (0, 60):
        assert ranker.put(row, text, ranker.read(text))
    titles = model.items["title"].to_list()
    items = pl.DataFrame(
        {
            "item_id": [*model.items["item_id"], "new"],
            "title": [text["title"], *titles[1:], text["title"]],
        }
    )
    counts = np.append(model.counts, 0)
    again = SequenceRecommender(model.network, items, counts, model.source, model.length)
    assert np.allclose(ranker.scores(_ASKED), _scores(again), atol=1e-4)
    words = ranker.scores([Question((0,), "silver thing")])
    assert words.shape == (1, 61) and np.isfinite(words).all()


def test_factors_answer_from_the_user_or_from_the_history() -> None:
    data = taste_log()
    model = BprMf(size=8, epochs=2).fit(data, RunContext())
    ranker, everything = FactorRanker(model), Slate(items=np.arange(60))
    asked = [Question((0, 3), user=4), Question((0, 3)), Question(())]
    queries = Queries.of([(0, 3), (0, 3), ()], users=[4, -1, -1])
    assert np.allclose(ranker.scores(asked), model.score(queries, everything), atol=1e-5)
    assert not ranker.put(60, {"title": "new"}, None)
    scores = ranker.scores(asked)
    assert scores.shape == (3, 61) and np.isneginf(scores[:, 60]).all()


def test_rows_grow_and_keep_what_they_hold() -> None:
    rows = Rows(np.ones((2, 3), np.float32))
    rows.put(5, np.full(3, 5, np.float32))
    rows.put(1, np.full(3, 7, np.float32))
    assert rows.all[:, 0].tolist() == [1, 7, 0, 0, 0, 5]


def test_states_are_kept_until_an_item_of_the_history_is_rewritten() -> None:
    """A new item, or another one that reads otherwise, costs no state; erasure costs all."""
    ranker, runs = SequenceRanker(_fitted(TextSequence(whiten=16, **_SMALL))), list[int]()
    run = ranker._run
    ranker._run = lambda read: (runs.append(len(read)), run(read))[1]  # type: ignore[method-assign]
    before = ranker.scores(_ASKED)
    assert runs == [3]  # the query without a history needs none
    ranker.put(60, {"title": "new"}, ranker.read({"title": "new thing"}))
    ranker.put(40, {"title": "old"}, ranker.read({"title": "old thing"}))
    assert np.array_equal(ranker.scores(_ASKED)[:, :40], before[:, :40]) and runs == [3]
    ranker.put(1, {"title": "other"}, ranker.read({"title": "quite another thing"}))
    after = ranker.scores(_ASKED)
    assert runs == [3, 1] and not np.array_equal(after[1], before[1])
    assert np.array_equal(after[0, 2:40], before[0, 2:40])
    ranker.forget()
    assert np.allclose(ranker.scores(_ASKED), after, atol=1e-5) and runs == [3, 1, 3]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_bundle(tmp_path_factory.mktemp("words") / "live", TextSequence(whiten=16, **_SMALL))


def test_the_answer_made_of_pieces_is_the_answer(bundle: Path) -> None:
    engine = Engine.load(bundle)
    engine.put_item("i3", {"title": 'a "quoted" \n \u00e9 title'})
    for ask in (Ask(history=("i0",), k=60), Ask(history=("i0",), filters={"brand": ("none",)})):
        (found,) = engine.recommend([ask])
        assert isinstance(found, Found) and found.json == orjson.dumps(_told(found))
    (found,) = engine.recommend([Ask(history=("i0",), explain=True)])
    assert isinstance(found, Found) and not found.json  # reasons are no remembered pieces


def test_the_short_way_answers_as_the_long_one(bundle: Path, tmp_path: Path) -> None:
    """Requests that say their type otherwise go through the router and FastAPI."""
    bodies = (
        b'{"history": ["i0"], "k": 5}', b'{"history": ["i0"], "k": 0}', b'{"k": 5}', b"[1]", b"",
        b'{"history": ["i0"], "more": 1}', b"{", b'{"history": "i0"}', b'{"text": "silver thing"}',
    )  # fmt: skip
    with served(bundle, tmp_path / "s.db", remembered=0) as shop:
        for body in bodies:
            short, long = (
                shop.ask("read", "POST", "/v1/recommend", content=body, headers={"Content-Type": t})
                for t in ("application/json", "application/json; charset=utf-8")
            )
            assert (short.status_code, short.content) == (long.status_code, long.content)
        refused = shop.client.post("/v1/recommend", content=bodies[0])
        assert refused.status_code == 401


def test_a_new_item_is_listed_within_two_seconds_while_others_read(
    bundle: Path, tmp_path: Path
) -> None:
    asked = {"history": ["i0"], "k": 200, "exclude_seen": False}
    with served(bundle, tmp_path / "s.db") as shop, ThreadPoolExecutor(1) as others:
        stop = threading.Event()

        def read() -> int:
            n = 0
            while not stop.is_set():
                shop.ask("read", "POST", "/v1/recommend", json={"user_id": f"u{n % 40}"})
                n += 1
            return n

        reading, slowest = others.submit(read), 0.0
        for n in range(5):
            began, listed = time.perf_counter(), False
            put = shop.ask("ingest", "PUT", f"/v1/items/new{n}", json={"fields": {"title": "red"}})
            assert put.json()["recommendable"]
            while not listed and time.perf_counter() - began < 2:
                answer = shop.ask("read", "POST", "/v1/recommend", json=asked)
                listed = f"new{n}" in {item["item_id"] for item in answer.json()["items"]}
            assert listed
            slowest = max(slowest, time.perf_counter() - began)
        stop.set()
        assert reading.result() > 0 and slowest < 2
