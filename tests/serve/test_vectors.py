"""Vectors whose inner products are a recommender's scores, and items that are new."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.context import RunContext
from hardrank.data import Dataset, Queries
from hardrank.errors import Unsupported
from hardrank.models import (
    BprMf,
    Ease,
    Hybrid,
    LightGcn,
    Popularity,
    RatingMf,
    Sasrec,
    TextSequence,
    Wmf,
)
from hardrank.models.common import whole
from hardrank.models.sequence.influence import Influence
from hardrank.models.text_retrieval import TextRetrievalModel
from hardrank.recommender import Recommender
from hardrank.serve.index import ExactIndex, IvfIndex, build_index
from hardrank.serve.vectors import vector_of_text, vectors_of
from hardrank.testing.logs import taste_log
from hardrank.training import Training
from hardrank.types import Floats

RUN = RunContext(seed=0)
SHORT = Training(epochs=2, batch_size=64, patience=0)


class Hashed:
    """A text encoder that needs no weights: words are directions of their own."""

    def encode(self, texts: list[str], *, keep: bool = True) -> Floats:
        return np.stack([self._one(t) for t in texts])

    @staticmethod
    def _one(text: str) -> Floats:
        rng = [np.random.default_rng(list(w.encode())) for w in text.split() or ["-"]]
        out = np.sum([r.normal(size=24) for r in rng], axis=0)
        return np.asarray(out / np.linalg.norm(out), dtype=np.float32)

    def arrays(self, only: Any = None) -> dict[str, Any]:
        return {}


@pytest.fixture(scope="module")
def log() -> Dataset:
    return taste_log(users=40, items=30, events=8)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardrank.models.sequence.fit.load_encoder", lambda *_, **__: Hashed())


def text_sequence(log: Dataset, **options: Any) -> Recommender:
    return TextSequence(size=16, whiten=8, training=SHORT, **options).fit(log, RUN)


SPECS: dict[str, Callable[[], Any]] = {
    "bpr-mf": lambda: BprMf(size=8, epochs=2),
    "light-gcn": lambda: LightGcn(size=8, epochs=2),
    "wmf": lambda: Wmf(),
    "rating-mf": lambda: RatingMf(factors=4, sweeps=2),
    "sasrec": lambda: Sasrec(size=16, training=SHORT),
}


def queries(log: Dataset) -> Queries:
    """Users of the log, a stranger with a history, and nobody with none."""
    own = [log.histories().history(u).tolist() for u in range(20)]
    return Queries.of([*own, [3, 6, 9], []], users=[*range(20), -1, -1])


def agrees(model: Recommender, asked: Queries, *, start: int = 0) -> None:
    made = vectors_of(model)
    assert made is not None
    encoded = made.encode(asked)
    scores = model.score(asked, whole(model.items))
    assert np.allclose(encoded @ made.items.T, scores, atol=1e-4)
    exclude = [asked.history(q) for q in range(len(asked))]
    ways = [build_index(made.items), IvfIndex(made.items, recall=1.0, cells=5)]
    for index in ways:
        rows, values = index.search(encoded, 10, exclude=exclude)
        wanted = model.top(asked, 10)
        assert np.array_equal(rows < 0, wanted < 0)
        true = np.take_along_axis(scores, wanted, axis=1)
        assert np.allclose(np.where(wanted < 0, 0, true), np.where(rows < 0, 0, values), atol=1e-4)
        clear = np.abs(np.diff(true, axis=1)).min(axis=1) > 1e-3  # order is beyond rounding
        assert np.array_equal(rows[clear], wanted[clear])


@pytest.mark.parametrize("kind", sorted(SPECS))
def test_the_index_ranks_as_the_recommender(kind: str, log: Dataset) -> None:
    agrees(SPECS[kind]().fit(log, RUN), queries(log))


@pytest.mark.parametrize("influence", [None, Influence()])
@pytest.mark.usefixtures("hashed")
def test_so_it_does_for_text_with_what_events_earned(
    log: Dataset, influence: Influence | None
) -> None:
    agrees(text_sequence(log, influence=influence), queries(log))


def test_models_that_are_no_inner_product_say_so(log: Dataset) -> None:
    for spec in (Popularity(), Ease()):
        assert vectors_of(spec.fit(log, RUN)) is None


@pytest.mark.usefixtures("hashed")
def test_a_hybrid_is_asked_itself(log: Dataset) -> None:
    assert vectors_of(Hybrid(size=16, whiten=8, training=SHORT).fit(log, RUN)) is None


@pytest.mark.parametrize("influence", [None, Influence()])
@pytest.mark.usefixtures("hashed")
def test_a_new_text_gets_the_vector_that_a_cold_item_of_the_catalogue_has(
    log: Dataset, influence: Influence | None
) -> None:
    cold = pl.DataFrame({"item_id": ["new"], "title": ["group 1 thing 99"]})
    wider = replace(log, items=pl.concat([log.items, cold]))
    made = vectors_of(text_sequence(wider, influence=influence))
    assert made is not None
    found = vector_of_text(made, {"title": "group 1 thing 99", "price": "3"})
    assert np.allclose(found, made.items[-1], atol=1e-5)
    assert not np.allclose(found, vector_of_text(made, {"title": "group 2"}), atol=1e-2)


@pytest.mark.usefixtures("hashed")
def test_a_history_may_hold_an_item_that_is_new(log: Dataset) -> None:
    made = vectors_of(text_sequence(log))
    assert made is not None
    table = np.vstack([made.items, made.items[4:5]])
    old, new = Queries.of([[2, 4]]), Queries.of([[2, len(made.items)]])
    assert np.allclose(made.encode(new, table), made.encode(old), atol=1e-5)


def test_an_id_model_has_no_vector_for_a_new_item(log: Dataset) -> None:
    made = vectors_of(SPECS["sasrec"]().fit(log, RUN))
    assert made is not None
    with pytest.raises(Unsupported, match="text-sequence"):
        vector_of_text(made, {"title": "new"})


def test_retrieval_by_what_the_query_says() -> None:
    items = pl.DataFrame({"item_id": ["a", "b"], "title": ["red mug", "blue lamp"]})
    encoder = Hashed()
    model = TextRetrievalModel(
        items=items,
        encoder=encoder,
        fields=("title",),
        vectors=encoder.encode(["red mug", "blue lamp"]),
    )
    made = vectors_of(model)
    assert made is not None
    asked = Queries.of([[]], texts=["lamp blue"])
    index = build_index(made.items)
    assert index.search(made.encode(asked), 1)[0][0, 0] == 1
    index.put(2, vector_of_text(made, {"title": "lamp blue"}))
    assert index.search(made.encode(asked), 2, exclude=[[1]])[0].tolist() == [[2, 0]]
    with pytest.raises(Unsupported, match="texts"):
        made.encode(Queries.of([[1]]))


@pytest.mark.usefixtures("hashed")
def test_a_new_item_is_found_within_a_second_and_a_removed_one_never(log: Dataset) -> None:
    model = text_sequence(log)
    made = vectors_of(model)
    assert made is not None
    index = build_index(made.items)
    assert isinstance(index, ExactIndex)
    begun = time.perf_counter()
    row = len(index)
    vector = vector_of_text(made, {"title": "group 0 thing 1000"})
    index.put(row, vector)
    rows, _ = index.search(vector[None], len(index))
    assert row in rows
    assert time.perf_counter() - begun < 1.0
    assert index.remove(row)
    assert row not in index.search(vector[None], len(index))[0]


@pytest.mark.slow
def test_a_new_item_is_found_within_a_second_with_the_real_encoder(
    log: Dataset, tmp_path: Any
) -> None:
    torch.manual_seed(0)
    run = replace(RUN, cache=tmp_path)
    model = TextSequence(size=16, whiten=8, training=SHORT).fit(log, run)
    made = vectors_of(model)
    assert made is not None
    agrees(model, queries(log))
    index = build_index(made.items)
    seconds = []
    for n in range(5):
        begun = time.perf_counter()
        vector = vector_of_text(made, {"title": f"a new thing for the kitchen, number {n}"})
        index.put(30 + n, vector)
        assert 30 + n in index.search(vector[None], len(index))[0]
        seconds.append(time.perf_counter() - begun)
    assert sorted(seconds)[2] < 1.0, seconds
