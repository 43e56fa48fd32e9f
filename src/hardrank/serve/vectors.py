"""What recommenders give an index: vectors whose inner products are their scores."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hardrank.data import Queries
from hardrank.data.dataset import render
from hardrank.errors import Unsupported
from hardrank.recommender import Recommender
from hardrank.types import Floats

if TYPE_CHECKING:
    from hardrank.models.bpr.recommender import BprMfRecommender
    from hardrank.models.rating_mf import RatingMfRecommender
    from hardrank.models.sequence.recommender import SequenceRecommender
    from hardrank.models.text_retrieval import TextRetrievalModel
    from hardrank.models.wmf import WmfRecommender

__all__ = ["Vectors", "vector_of_text", "vectors_of"]

Read = Callable[[Sequence[str]], Floats]
Encode = Callable[[Queries, Floats | None], Floats]


@dataclass(frozen=True, eq=False, kw_only=True)
class Vectors:
    """score(q, i) = encode(q) . items[i], to rounding. What adds to an item's score whoever
    asks (a bias, what its events earned) is a dimension of its own, where queries have a 1."""

    items: Floats
    """(I, D)"""
    _encode: Encode
    fields: tuple[str, ...] = ()
    """Columns of the item table that an item's vector is made of."""
    _read: Read | None = None

    def encode(self, queries: Queries, items: Floats | None = None) -> Floats:
        """(Q, D). items: (I', D) the item vectors as they are now, where histories hold items
        that are new or rewritten; None for those of the model. Pure: nothing about a query is
        kept."""
        return self._encode(queries, items)

    def of_texts(self, listings: Sequence[Mapping[str, str]]) -> Floats:
        """(N, D) of new items by their texts alone, as if nobody had touched them yet. Raises
        `Unsupported` for a model that does not read text."""
        if self._read is None:
            raise Unsupported(
                "this model knows items by id alone: a new item has no vector before it is "
                "trained again; serve a 'text-sequence' model"
            )
        table = pl.DataFrame(
            {f: [listing.get(f, "") for listing in listings] for f in self.fields},
            schema=dict.fromkeys(self.fields, pl.Utf8),
        )
        return self._read(render(table, self.fields))


def vectors_of(recommender: Recommender) -> Vectors | None:
    """None for a recommender whose scores are no inner products: ask it itself. Those are
    item-to-item models, popularity and everything wrapped around a base; and `hybrid`, which
    moves the scores of new items to another scale query by query."""
    from hardrank.models.bpr.recommender import BprMfRecommender
    from hardrank.models.rating_mf import RatingMfRecommender
    from hardrank.models.sequence.recommender import SequenceRecommender
    from hardrank.models.text_retrieval import TextRetrievalModel
    from hardrank.models.wmf import WmfRecommender

    if isinstance(recommender, SequenceRecommender):
        return _of_sequence(recommender)
    if isinstance(recommender, BprMfRecommender):
        return _of_factors(recommender)
    if isinstance(recommender, WmfRecommender):
        return _of_wmf(recommender)
    if isinstance(recommender, RatingMfRecommender):
        return _of_ratings(recommender)
    if isinstance(recommender, TextRetrievalModel):
        return _of_retrieval(recommender)
    return None


def vector_of_text(vectors: Vectors, fields: Mapping[str, str]) -> Floats:
    """(D,) of one new or rewritten item; fields that are not named are empty. For many,
    `Vectors.of_texts`. Raises `Unsupported` for a model that does not read text."""
    row: Floats = vectors.of_texts([fields])[0]
    return row


def _of_sequence(model: "SequenceRecommender") -> Vectors | None:
    """Columns: the vector, what its events earned it, and its popularity, which alone answers
    a query without history."""
    if model.network.text_states is not None:
        return None
    plain = np.asarray(model.vectors.numpy())
    earned, popularity = _influence(model), np.log1p(model.counts)
    items = np.column_stack([plain, earned, popularity]).astype(np.float32)

    def encode(queries: Queries, now: Floats | None) -> Floats:
        table = items if now is None else now
        states = _states(model, queries, table[:, : plain.shape[1]])
        known = (queries.lengths > 0).astype(np.float32)
        return np.column_stack([states, known, 1 - known]).astype(np.float32)

    source = model.source
    if source is None:
        return Vectors(items=items, _encode=encode)
    newcomer = _influence(model, np.append(model.counts, 0))[-1]

    def read(texts: Sequence[str]) -> Floats:
        import torch

        with torch.no_grad():
            found = model.network.tower.from_text(source(texts)).numpy()
        added = np.tile(np.array([newcomer, 0.0], np.float32), (len(found), 1))
        return np.column_stack([found, added]).astype(np.float32)

    return Vectors(items=items, _encode=encode, fields=source.fields, _read=read)


def _influence(model: "SequenceRecommender", counts: Any = None) -> Floats:
    """(I,) what events add to a score; 0 where the model has no such thing."""
    counts = model.counts if counts is None else counts
    influence = model.network.influence
    earned = None if influence is None else influence.serving(counts)
    return np.zeros(len(counts), np.float32) if earned is None else np.asarray(earned.numpy())


def _states(model: "SequenceRecommender", queries: Queries, items: Floats) -> Floats:
    """(Q, D) state after each history; zeros without one. As `SequenceRecommender` reads, but
    over any table and with no memory of who asked."""
    import torch

    table = torch.from_numpy(np.ascontiguousarray(items))
    lengths = torch.from_numpy(np.minimum(queries.lengths, model.length))
    padded = torch.from_numpy(queries.padded(model.length, 0))
    states = torch.zeros(len(queries), table.shape[1])
    with torch.no_grad():
        for rows in torch.split(torch.argsort(lengths, stable=True), 64):
            rows = rows[lengths[rows] > 0]
            if len(rows):
                width = int(lengths[rows].max())
                states[rows] = model.network.states(table, padded[rows, :width], lengths[rows])
    return np.asarray(states.numpy())


def _of_factors(model: "BprMfRecommender") -> Vectors:
    def encode(queries: Queries, now: Floats | None) -> Floats:
        asked = model if now is None else replace(model, factors=now[:, :-1])
        return np.column_stack([asked.profiles(queries), np.ones(len(queries), np.float32)])

    items = np.column_stack([model.factors, model.biases]).astype(np.float32)
    return Vectors(items=items, _encode=encode)


def _of_wmf(model: "WmfRecommender") -> Vectors:
    def encode(queries: Queries, now: Floats | None) -> Floats:
        return (model if now is None else replace(model, vectors=now)).profiles(queries)

    return Vectors(items=model.vectors, _encode=encode)


def _of_ratings(model: "RatingMfRecommender") -> Vectors:
    """A last column of ones meets what the query adds to every item."""

    def encode(queries: Queries, now: Floats | None) -> Floats:
        asked = model if now is None else replace(model, vectors=now[:, :-1])
        people = asked.profiles(queries)
        level = people[:, -1] + np.float32(model.level[0])
        return np.column_stack([people[:, :-1], np.ones_like(level), level])

    ones = np.ones(len(model.vectors), np.float32)
    return Vectors(items=np.column_stack([model.vectors, ones]), _encode=encode)


def _of_retrieval(model: "TextRetrievalModel") -> Vectors:
    def encode(queries: Queries, now: Floats | None) -> Floats:
        if queries.texts is None:
            raise Unsupported("text-retrieval ranks by the query's text: give queries texts")
        return _unit(model.encoder.encode(list(queries.texts), keep=False))

    def read(texts: Sequence[str]) -> Floats:
        return _unit(model.encoder.encode(list(texts)))

    return Vectors(items=model.vectors, _encode=encode, fields=model.fields, _read=read)


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)
