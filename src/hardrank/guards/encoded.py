"""Texts as a sentence encoder reads them, and whom the catalogue would show them to."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardrank.guards.base import Listing, Shop
from hardrank.types import Floats, Ints
from hardrank.wording import spans

__all__ = ["LONGEST", "Place", "Reach", "encoder_of", "places", "rewritten", "vectors"]

Doubles = NDArray[np.float64]
Place = tuple[str, int, int]
"""(field, start, end) in characters of a word."""
LONGEST = 32
"""Words of a listing that are looked at one by one; a longer one is read as a whole alone."""
_CHARACTERS = 2000
"""The encoder reads 64 tokens; splitting a megabyte into tokens would take seconds."""
_SHOWN = 10
"""A query shows that many items."""
_NEAREST = 5
"""Queries that count as those which a text reaches."""


@functools.cache
def encoder_of(name: str) -> Any:
    """The encoder of that name, loaded once. Raises as `hardrank.encoders.load_encoder`."""
    from hardrank.context import RunContext
    from hardrank.encoders import load_encoder

    return load_encoder(name, max_tokens=64, run=RunContext())


def vectors(encoder: str, texts: Sequence[str], *, keep: bool = False) -> Doubles:
    """(N, D) of length 1. Each distinct text is encoded once; keep: in the cache on disk."""
    cut = [text[:_CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
    found: Floats = encoder_of(encoder).encode(cut, keep=keep)
    return found.astype(np.float64)


def places(one: Listing) -> list[Place]:
    """Where the first `LONGEST` words of a listing stand."""
    found = ((name, *at) for name, text in one.fields.items() for at in spans(text))
    return [place for place, _ in zip(found, range(LONGEST), strict=False)]


def rewritten(one: Listing, changes: dict[Place, str]) -> str:
    """The text of a listing with other words in some places; '' leaves the word out."""
    texts = dict(one.fields)
    for (name, start, end), word in sorted(changes.items(), reverse=True):
        texts[name] = texts[name][:start] + word + texts[name][end:]
    if "" in changes.values():
        texts = {name: " ".join(text.split()) for name, text in texts.items()}
    return replace(one, fields=texts).text


@dataclass(frozen=True, eq=False)
class Reach:
    """The encoder as a ranking model: each popular item is a query (a user with that item as
    his history), which shows the `_SHOWN` items nearest to it."""

    names: tuple[str, ...]
    """(Q,) item ids."""
    queries: Floats
    """(Q, D) of length 1."""
    borders: Doubles
    """(Q,) cosine of the last item that a query shows."""

    @classmethod
    def of(cls, shop: Shop, texts: Sequence[str], encoder: str, most: int) -> "Reach":
        """Of the `most` items with most events, ties by row. texts: (I,) of the catalogue."""
        rows: Ints = np.argsort(-shop.counts, kind="stable")[:most]
        items = vectors(encoder, texts, keep=True)
        cosines = items[rows] @ items.T
        cosines[np.arange(len(rows)), rows] = -1.0  # an item is not shown for itself
        last = min(_SHOWN, cosines.shape[1] - 1)
        borders = -np.partition(-cosines, last - 1, axis=1)[:, last - 1]
        names = shop.items["item_id"].gather(rows).to_list()
        return cls(tuple(names), items[rows].astype(np.float32), borders)

    def margins(self, found: Doubles, own: Sequence[str]) -> Doubles:
        """(N, Q) cosine less the query's border: above 0 is shown. found: (N, D); own: (N,) item
        ids, whose own queries count as out of reach."""
        out: Doubles = found @ self.queries.T.astype(np.float64) - self.borders
        known = {name: column for column, name in enumerate(self.names)}
        for row, name in enumerate(own):
            if name in known:
                out[row, known[name]] = -2.0
        return out

    def score(self, found: Doubles, at: Ints) -> Doubles:
        """(N,) mean margin for the queries in the columns `at`: (N, R)."""
        near: Doubles = np.einsum("nd,nrd->nr", found, self.queries[at].astype(np.float64))
        return np.asarray((near - self.borders[at]).mean(axis=1))

    def reached(self, found: Doubles, own: Sequence[str]) -> Ints:
        """(N, R) columns of the queries that a text reaches best."""
        margins = self.margins(found, own)
        size = min(_NEAREST, margins.shape[1])
        return np.argsort(-margins, axis=1, kind="stable")[:, :size].astype(np.int64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "reach.names": np.asarray(self.names, dtype=np.str_),
            "reach.queries": self.queries, "reach.borders": self.borders,
        }  # fmt: skip

    @classmethod
    def restore(cls, arrays: Any) -> "Reach":
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        return cls(
            tuple(arrays["reach.names"].tolist()), arrays["reach.queries"],
            arrays["reach.borders"],
        )  # fmt: skip
