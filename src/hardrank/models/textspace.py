"""TF-IDF vectors of item texts, with vocabulary and idf fixed at fit."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from hardrank.data import Slate, render
from hardrank.models.common import entry, same_items, slate_texts
from hardrank.models.neighbours import unit_rows
from hardrank.types import Scores

__all__ = ["TextSpace", "words"]

_CELLS = 1 << 23
"""Entries of dense profiles held at once: 32 MiB of float32."""
_WORD = re.compile(r"\b\w\w+\b")


def words(text: str) -> list[str]:
    """Lower-case runs of at least two letters, digits or underscores."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True, eq=False, kw_only=True)
class TextSpace:
    """Unit TF-IDF vectors of the items of one catalogue.

    Weight of word w in a text: (1 + ln tf) * idf, idf = 1 + ln((1 + N) / (1 + df)), where
    N texts were seen at fit and df of them hold w (Salton & Buckley 1988 with the smoothing
    of scikit-learn's `TfidfVectorizer(sublinear_tf=True)`, which gives equal vectors).
    Words unknown at fit are left out.
    """

    fields: tuple[str, ...]
    columns: dict[str, int]
    """Word -> column; columns follow the words' alphabetical order."""
    idf: NDArray[np.float64]
    items: pl.DataFrame
    texts: tuple[str, ...]
    """(I,) what the vectors were made of."""
    vectors: sparse.csr_matrix
    """(I, V) rows of norm 1, or empty where a text has no known word."""

    @classmethod
    def fitted(cls, items: pl.DataFrame, fields: tuple[str, ...]) -> Self:
        """Vocabulary and idf from all texts of the catalogue, which a shop knows in advance."""
        texts = render(items, fields)
        found = Counter(word for text in texts for word in set(words(text)))
        vocabulary = sorted(found)
        counts = np.array([found[word] for word in vocabulary], dtype=np.float64)
        idf = 1 + np.log((1 + len(texts)) / (1 + counts))
        return cls._made(vocabulary, idf, items, fields)

    @classmethod
    def restored(
        cls, arrays: Mapping[str, NDArray[Any]], items: pl.DataFrame, fields: tuple[str, ...]
    ) -> Self:
        """The inverse of `arrays`."""
        joined = entry(arrays, "vocabulary", "tfidf").astype(np.uint8).tobytes().decode("utf-8")
        idf = entry(arrays, "idf", "tfidf").astype(np.float64)
        return cls._made(joined.split("\n") if joined else [], idf, items, fields)

    @classmethod
    def _made(
        cls,
        vocabulary: list[str],
        idf: NDArray[np.float64],
        items: pl.DataFrame,
        fields: tuple[str, ...],
    ) -> Self:
        columns = {word: n for n, word in enumerate(vocabulary)}
        texts = tuple(render(items, fields))
        vectors = _weighted(texts, columns, idf)
        return cls(
            fields=fields, columns=columns, idf=idf, items=items, texts=texts, vectors=vectors
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """`vocabulary`: UTF-8 bytes of the words, one a line (a word holds no line end);
        `idf`: (V,)."""
        joined = "\n".join(self.columns).encode()
        return {"vocabulary": np.frombuffer(joined, dtype=np.uint8).copy(), "idf": self.idf}

    def on(self, items: pl.DataFrame) -> Self:
        """The space over rewritten texts; only items whose text differs are read again."""
        texts = tuple(render(same_items(self.items, items), self.fields))
        changed = [n for n, (a, b) in enumerate(zip(self.texts, texts, strict=True)) if a != b]
        vectors = self.vectors
        if changed:
            rows = np.arange(len(texts))
            rows[changed] = len(texts) + np.arange(len(changed))
            again = _weighted((texts[n] for n in changed), self.columns, self.idf)
            vectors = sparse.vstack([vectors, again], format="csr")[rows]
        return replace(self, items=items, texts=texts, vectors=vectors)

    def of(self, slate: Slate) -> sparse.csr_matrix:
        """(I, V) unit vectors of a slate's candidates, rewritten where it rewrites them."""
        if slate.texts is None:
            return self.vectors[slate.items]
        return _weighted(slate_texts(self.items, slate, self.fields), self.columns, self.idf)

    def scores(self, histories: sparse.csr_matrix, slate: Slate) -> Scores:
        """(Q, I) for histories (Q, items): the weighted sum of cosines of the history's items
        to the candidate."""
        profiles = (histories @ self.vectors).astype(np.float32)
        candidates = self.of(slate).astype(np.float32)
        out = np.empty((profiles.shape[0], candidates.shape[0]), dtype=np.float32)
        step = max(1, _CELLS // max(1, profiles.shape[1]))
        for start in range(0, len(out), step):
            # Sparse times dense is ten times faster here than sparse times sparse: a
            # profile shares a word with nearly every item.
            dense = np.ascontiguousarray(profiles[start : start + step].toarray().T)
            out[start : start + step] = (candidates @ dense).T
        return out


def _weighted(
    texts: Iterable[str], columns: dict[str, int], idf: NDArray[np.float64]
) -> sparse.csr_matrix:
    starts, places, counts = [0], list[int](), list[int]()
    for text in texts:
        found = Counter(columns[word] for word in words(text) if word in columns)
        for place in sorted(found):
            places.append(place)
            counts.append(found[place])
        starts.append(len(places))
    at = np.asarray(places, dtype=np.int64)
    weights = (1 + np.log(np.asarray(counts, dtype=np.float64))) * idf[at]
    return unit_rows(
        sparse.csr_matrix((weights, at, starts), shape=(len(starts) - 1, len(columns)))
    )
