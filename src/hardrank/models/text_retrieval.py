"""`text-retrieval`: items by the similarity of their text to what the query says."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import RunContext
from hardrank.data import Dataset, Holdout, Queries, Slate
from hardrank.errors import Unsupported
from hardrank.models.common import same_items, slate_texts, top_of, whole
from hardrank.types import Count, Floats, Ranks, Scores, spec

__all__ = ["TextRetrieval", "TextRetrievalModel"]


@spec
class TextRetrieval:
    """Two towers with one frozen sentence encoder: cosine of query text and item text.

    Dense retrieval without training (Karpukhin et al., EMNLP 2020, arXiv:2004.04906, with an
    encoder trained elsewhere). Histories are not read.
    """

    kind: Literal["text-retrieval"] = "text-retrieval"
    encoder: str = "minilm"
    """`minilm`, a folder with a Hugging Face encoder, or a hub id."""
    fields: tuple[str, ...] = ("title",)
    """Columns of the item table that make up an item's text."""
    max_tokens: Count = 64
    """Tokens read of each text; the rest is cut off."""

    def fit(
        self,
        train: Dataset,
        run: RunContext,
        *,
        valid: Holdout | None = None,
        objective: Any = None,
        start: Any = None,
    ) -> "TextRetrievalModel":
        """Encode the catalogue. Raises `Unsupported` for an objective: nothing is learned."""
        if objective is not None:
            raise Unsupported("text-retrieval learns nothing: it takes no objective")
        return self.restore({}, train.items, run)

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, run: RunContext
    ) -> "TextRetrievalModel":
        from hardrank.encoders import load_encoder

        encoder = load_encoder(self.encoder, max_tokens=self.max_tokens, run=run)
        vectors = arrays.get("vectors")
        if vectors is None:
            vectors = _unit(encoder.encode(slate_texts(items, whole(items), self.fields)))
        return TextRetrievalModel(items=items, encoder=encoder, fields=self.fields, vectors=vectors)


@dataclass(frozen=True, eq=False, kw_only=True)
class TextRetrievalModel:
    """`hardrank.recommender.Recommender` for queries with texts."""

    items: pl.DataFrame
    encoder: Any
    fields: tuple[str, ...]
    vectors: Floats
    """(I, D), of length 1."""

    def score(self, queries: Queries, slate: Slate) -> Scores:
        """Raises `Unsupported` for queries without texts."""
        if queries.texts is None:
            raise Unsupported("text-retrieval ranks by the query's text: give queries texts")
        vectors = self.vectors[slate.items]
        if slate.texts is not None and slate.field in self.fields:
            texts = slate_texts(self.items, slate, self.fields)
            vectors = _unit(self.encoder.encode(texts, keep=False))
        asked = _unit(self.encoder.encode(list(queries.texts), keep=False))
        scores: Scores = asked @ vectors.T
        return scores

    def top(self, queries: Queries, k: int) -> Ranks:
        return top_of(self, queries, k)

    def on(self, items: pl.DataFrame) -> "TextRetrievalModel":
        """Only texts that changed are encoded."""
        same_items(self.items, items)
        vectors = _unit(self.encoder.encode(slate_texts(items, whole(items), self.fields)))
        return replace(self, items=items, vectors=vectors)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"vectors": self.vectors}


def _unit(vectors: Floats) -> Floats:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms > 0, norms, 1), dtype=np.float32)
