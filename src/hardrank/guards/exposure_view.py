"""What a listing would be shown like if it went live, computed before it does."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Queries, Slate
from hardrank.errors import DataError
from hardrank.guards.base import Listing, Shop
from hardrank.recommender import Recommender, mask_seen
from hardrank.types import Floats, Ints, Scores

__all__ = ["ExposureView", "Shown"]

Doubles = NDArray[np.float64]
_CELLS = 1 << 23
"""Scores held at once: 32 MiB of float32."""
_PROBE = 16
"""Items and users that are asked to find out which columns a model reads."""


@dataclass(frozen=True)
class Shown:
    """Exposure of one listing: share of users who have not seen it whose top k holds it."""

    before: float
    """0 for a new item."""
    after: float
    read: bool
    """Whether the model reads anything that changed."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ExposureView:
    """The lists of a sample of users, summed up by what it takes to enter them.

    Only the listing's own text changes and all other items keep their scores, so an item is
    in a list of k when it scores above the k-th best of the others; ties count against it.
    Exact for one listing at a time. A history that holds the item keeps its old text.
    """

    recommender: Recommender
    queries: Queries
    k: int
    kth: Floats
    """(Q,) score of the k-th best unseen item; -inf for a list shorter than k."""
    following: Floats
    """(Q,) of the one after it."""
    stand_in: int
    """Row in whose place a new item is scored: the first of those with fewest events. A model
    with ids inside ranks an item without events by its text; see `stand_in_events`."""
    stand_in_events: int
    """0 where the place is neutral; else this item's id may count in a new one's scores."""
    reads: tuple[str, ...]
    """Columns of text that the model reads, as far as `_PROBE` items and users tell."""
    _rows: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, shop: Shop, k: int, users: int) -> "ExposureView":
        """The catalogue is scored once for `users` queries, evenly spaced. Raises `DataError`
        when the shop has no recommender or no users, or another catalogue than it ranks."""
        recommender, queries = shop.recommender, shop.queries
        if recommender is None or queries is None or not len(queries):
            raise DataError("exposure needs a recommender and a sample of users")
        if not recommender.items["item_id"].equals(shop.items["item_id"]):
            raise DataError("the recommender ranks another catalogue than the shop shows")
        if users < len(queries):
            queries = queries.take(np.linspace(0, len(queries) - 1, users).astype(np.int64))
        kth, following = _doors(recommender, queries, k)
        stand_in = int(np.argmin(shop.counts))
        return cls(
            recommender=recommender, queries=queries, k=k, kth=kth, following=following,
            stand_in=stand_in, stand_in_events=int(shop.counts[stand_in]),
            reads=_columns_read(recommender, queries), _rows=dict(shop.rows),
        )  # fmt: skip

    def row(self, listing: Listing) -> int | None:
        """Of the item; None for a new one."""
        return self._rows.get(listing.item_id)

    def shown(self, listings: Sequence[Listing]) -> list[Shown]:
        """Before and after, each listing alone. Listings with one column to read are scored
        together, those with more one by one over a catalogue of their own."""
        rows = [self.row(listing) for listing in listings]
        before = self.standing(np.array([r for r in rows if r is not None], dtype=np.int64))
        known = iter(before.tolist())
        was = [0.0 if row is None else next(known) for row in rows]
        wanted = [self._wanted(li, row) for li, row in zip(listings, rows, strict=True)]
        after = self._after(rows, wanted)
        return [
            Shown(b, b if row is not None and not new else a, bool(new) or row is None)
            for b, a, new, row in zip(was, after.tolist(), wanted, rows, strict=True)
        ]

    def standing(self, rows: Ints) -> Doubles:
        """(B,) exposure of items as they stand."""
        own = _finite(self.recommender.score(self.queries, Slate(items=rows)))
        return self._exposure(own, own, rows)

    def as_new(self, rows: Ints) -> Doubles:
        """(B,) exposure of items' texts as new items would have them, the item itself left
        out: of its users, and of those it competes with."""
        own = _finite(self.recommender.score(self.queries, Slate(items=rows)))
        texts = [self._texts(int(row)) for row in rows]
        new = self._scores([None] * len(rows), texts)
        return self._exposure(own, new, rows)

    def _after(self, rows: Sequence[int | None], wanted: Sequence[dict[str, str]]) -> Doubles:
        """(B,) exposure with those texts; an item with no text that counts stays where it is."""
        new = self._scores(rows, wanted)
        own = np.full_like(new, -np.inf)  # a new item replaces nothing
        old = [n for n, row in enumerate(rows) if row is not None]
        known = np.array([rows[n] for n in old], dtype=np.int64)
        if old:
            own[:, old] = _finite(self.recommender.score(self.queries, Slate(items=known)))
        out = self._exposure(own, new, np.array([-1 if r is None else r for r in rows]))
        return out

    def _scores(self, rows: Sequence[int | None], wanted: Sequence[dict[str, str]]) -> Scores:
        """(Q, B)"""
        out = np.full((len(self.queries), len(rows)), -np.inf, dtype=np.float32)
        alone: dict[str, list[int]] = {}
        for n, texts in enumerate(wanted):
            if len(texts) == 1:
                alone.setdefault(next(iter(texts)), []).append(n)
            elif texts:
                out[:, n] = self._one_by_one(rows[n], texts)
            else:
                place = np.array([self._place(rows[n])])
                out[:, n] = _finite(self.recommender.score(self.queries, Slate(items=place)))[:, 0]
        for column, members in alone.items():
            slate = Slate(
                items=np.array([self._place(rows[n]) for n in members], dtype=np.int64),
                texts=tuple(wanted[n][column] for n in members),
                field=column,
            )
            out[:, members] = _finite(self.recommender.score(self.queries, slate))
        return out

    def _one_by_one(self, row: int | None, texts: dict[str, str]) -> Scores:
        """(Q,) of a listing that changes several columns: a slate rewrites only one."""
        place, items = self._place(row), self.recommender.items
        *others, last = texts
        for column in others:
            values = items[column].cast(pl.Utf8).to_list()
            values[place] = texts[column]
            items = items.with_columns(pl.Series(column, values, dtype=pl.Utf8))
        slate = Slate(items=np.array([place]), texts=(texts[last],), field=last)
        return _finite(self.recommender.on(items).score(self.queries, slate))[:, 0]

    def _exposure(self, own: Scores, new: Scores, rows: Ints) -> Doubles:
        """(B,) own: (Q, B) what stands there now, which does not compete."""
        door = np.where(own >= self.kth[:, None], self.following[:, None], self.kth[:, None])
        free = ~self._seen(rows)
        hits = (free & (new > door)).sum(axis=0)
        return np.asarray(hits / np.maximum(free.sum(axis=0), 1), dtype=np.float64)

    def _seen(self, rows: Ints) -> NDArray[np.bool_]:
        """(Q, B) whether the user's history holds the item; nobody's holds row -1."""
        out = np.zeros((len(self.queries), len(rows)), dtype=np.bool_)
        for column, row in enumerate(rows.tolist()):
            out[self.queries.owners[self.queries.items == row], column] = True
        return out

    def _place(self, row: int | None) -> int:
        return self.stand_in if row is None else row

    def _wanted(self, listing: Listing, row: int | None) -> dict[str, str]:
        """Columns that the model reads and that would read otherwise in the listing's place."""
        stands = self._texts(self._place(row))
        # what a rewrite does not mention stays, what a new item does not have is empty
        asked = {c: listing.fields.get(c, stands[c] if row is not None else "") for c in self.reads}
        return {c: text for c, text in asked.items() if text != stands[c]}

    def _texts(self, row: int) -> dict[str, str]:
        items = self.recommender.items
        return {column: str(items[column][row] or "") for column in self.reads}


def _finite(scores: Scores) -> Scores:
    """A copy in which a score that is not a number is below all others."""
    made = np.asarray(scores, dtype=np.float32)
    return np.where(np.isnan(made), np.float32(-np.inf), made)


def _doors(recommender: Recommender, queries: Queries, k: int) -> tuple[Floats, Floats]:
    """(Q,), (Q,) the k-th best and the next score among unseen items."""
    n = recommender.items.height
    best = np.full((len(queries), k + 1), -np.inf, dtype=np.float32)
    step = max(1, _CELLS // n)
    for start in range(0, len(queries), step):
        part = queries.take(np.arange(start, min(start + step, len(queries))))
        scores = mask_seen(_finite(recommender.score(part, Slate(items=np.arange(n)))), part)
        kept = min(k + 1, n)
        top = np.partition(scores, n - kept, axis=1)[:, n - kept :]
        best[start : start + len(part), :kept] = -np.sort(-top, axis=1)
    return best[:, k - 1], best[:, k]


def _columns_read(recommender: Recommender, queries: Queries) -> tuple[str, ...]:
    """Text columns whose exchange between items, or for another column's text, changes a score."""
    items = recommender.items
    users = queries.take(np.arange(min(len(queries), _PROBE)))
    names = [c for c, kind in items.schema.items() if kind == pl.Utf8 and c != "item_id"]
    said = [text for c in names for text in items[c].drop_nulls().head(_PROBE).to_list() if text]
    out = []
    for column in names:
        texts = items[column].fill_null("")
        rows = np.flatnonzero(texts.is_first_distinct().to_numpy())
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), _PROBE)).astype(np.int64)]
        own = tuple(texts.gather(rows).to_list())
        others = tuple(said[n % len(said)] if said else "" for n in range(len(own)))
        plain = recommender.score(users, Slate(items=rows, texts=own, field=column))
        for moved in ((*own[1:], own[0]), ("",) * len(own), others):
            found = recommender.score(users, Slate(items=rows, texts=moved, field=column))
            if not np.array_equal(plain, found, equal_nan=True):
                out.append(column)
                break
    return tuple(out)
