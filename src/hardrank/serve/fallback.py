"""Who answers while the model cannot: what most people took, honestly named `popularity`."""

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import polars as pl

from hardrank.errors import BundleError
from hardrank.files import digest_file
from hardrank.serve.asks import Ask, Found, Listed
from hardrank.serve.catalogue import Catalogue
from hardrank.serve.lists import capped

__all__ = ["Popular", "popular_of"]

_WORDS = 500_000
"""Words of the catalogue beyond which no more are looked at."""


class Popular:
    """Live items by their number of events. Reads no model; safe for threads."""

    def __init__(
        self, items: pl.DataFrame, counts: Mapping[str, int], provider: str | None = None
    ) -> None:
        self._catalogue, self._provider = Catalogue(items), provider
        self._counts = dict(counts)
        self._lock = threading.Lock()
        self._order: list[int] | None = None
        self._most = math.log1p(max(self._counts.values(), default=0))
        self._now: Mapping[str, float] = {}

    def recommend(self, ask: Ask) -> Found:
        """Texts and diversity have no effect."""
        with self._lock:
            catalogue, order = self._catalogue, self._by_count()
            allowed = catalogue.allowed(ask.filters)
            barred = set(catalogue.known(ask.exclude))
            if ask.exclude_seen:
                barred.update(catalogue.known(ask.history))
            fit: Iterator[int] = (
                n for n in order if n not in barred and (allowed is None or allowed[n])
            )
            owners = catalogue.columns.get(self._provider or "")
            if ask.per_provider is not None and owners:
                fit = capped(fit, lambda n: owners[n], ask.per_provider)
            return Found(tuple(self._one(n) for n in islice(fit, ask.k)), "popularity")

    def score(self, items: Iterable[str]) -> list[float | None]:
        with self._lock:
            known = [(i, self._catalogue.row(i)) for i in items]
            return [None if row is None else self._score(i) for i, row in known]

    def put_item(self, item_id: str, fields: Mapping[str, str]) -> None:
        with self._lock:
            self._catalogue.put(item_id, fields)
            self._order = None

    def remove_item(self, item_id: str) -> None:
        with self._lock:
            self._catalogue.remove(item_id)
            self._order = None

    def fields(self, item_id: str) -> dict[str, str] | None:
        """What a live item says."""
        with self._lock:
            row = self._catalogue.row(item_id)
            return None if row is None else self._catalogue.fields(row)

    def set_now(self, shares: Mapping[str, float]) -> None:
        """What is popular now, in [0, 1]: 1 is worth as much as the most events of all."""
        shares = {item: round(share, 2) for item, share in shares.items() if share >= 0.005}
        with self._lock:
            if shares != self._now:  # sorting anew is dear
                self._now, self._order = shares, None

    def count(self, item_id: str) -> int:
        """Events of the item when this was made."""
        return self._counts.get(item_id, 0)

    def frame(self) -> pl.DataFrame:
        """The live catalogue."""
        with self._lock:
            table = self._catalogue.frame()
            return table.filter(~pl.col("item_id").is_in(self._dead()))

    def words(self) -> frozenset[str]:
        """Of the catalogue's texts, lower case."""
        words = set[str]()
        for column in self.frame().drop("item_id").iter_columns():
            for text in column.cast(pl.Utf8).drop_nulls().to_list():
                words.update(text.lower().split())
            if len(words) > _WORDS:
                break
        return frozenset(words)

    @property
    def size(self) -> int:
        """Items, those that were removed too."""
        return len(self._catalogue)

    def knows(self, item_id: str) -> bool:
        """Whether there is or was such an item."""
        return item_id in self._catalogue.rows

    @property
    def columns(self) -> list[str]:
        """Names of the columns of items."""
        return list(self._catalogue.columns)

    def _dead(self) -> list[str]:
        return [self._catalogue.ids[row] for row in self._catalogue.dead]

    def _one(self, row: int) -> Listed:
        item_id = self._catalogue.ids[row]
        return Listed(item_id, self._catalogue.title(row), self._score(item_id))

    def _score(self, item_id: str) -> float:
        return math.log1p(self._counts.get(item_id, 0)) + self._most * self._now.get(item_id, 0.0)

    def _by_count(self) -> list[int]:
        if self._order is None:
            ids = self._catalogue.ids
            rows = [row for row in range(len(ids)) if row not in self._catalogue.dead]
            self._order = sorted(rows, key=lambda row: (-self._score(ids[row]), row))
        return self._order


def popular_of(
    bundle: Path | None, counts: Mapping[str, int], provider: str | None = None
) -> Popular:
    """From the bundle's tables, long before its model is there, and the store's counts. Of a
    bundle that is altered nothing is taken: then only what the store knows can be listed."""
    items, more = pl.DataFrame({"item_id": [], "title": []}, schema_overrides=_EMPTY), dict(counts)
    if bundle is not None:
        try:
            items = pl.read_parquet(_intact(bundle, "items.parquet"))
            past = pl.read_parquet(_intact(bundle, "histories.parquet"))["item_ids"]
            for item_id, count in past.explode().drop_nulls().value_counts().iter_rows():
                more[item_id] = more.get(item_id, 0) + count
        except (OSError, BundleError, pl.exceptions.PolarsError):
            return Popular(items, counts, provider)  # the loading of the model says why
    return Popular(items, more, provider)


_EMPTY = {"item_id": pl.Utf8, "title": pl.Utf8}


def _intact(bundle: Path, name: str) -> Path:
    """Raises `BundleError` where the digest differs from the list."""
    path, listed = bundle / name, (bundle / "SHA256SUMS").read_text(encoding="ascii")
    if f"{digest_file(path)}  {name}" not in listed.split("\n"):
        raise BundleError(f"{name} was altered")
    return path
