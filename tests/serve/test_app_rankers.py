"""Rankers over a catalogue that changes give what the models themselves give."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.models import BprMf, Hybrid, Sasrec, TextSequence
from hardrank.models.sequence.recommender import SequenceRecommender
from hardrank.serve.ranker_factors import FactorRanker
from hardrank.serve.ranker_sequence import SequenceRanker
from hardrank.serve.rankers import Question, Rows
from hardrank.testing.logs import taste_log
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
