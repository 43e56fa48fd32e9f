"""Listings that say what a bestseller says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hardrank.data import render
from hardrank.errors import BundleError
from hardrank.guards.alike import Popular
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.lesson import Lesson, border
from hardrank.guards.runs import Runs
from hardrank.types import Count, Ints, spec

__all__ = ["CopycatGuard", "FittedCopycat"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedCopycat:
    """Three borders: how like a popular text, how much of one stands in the listing, and how
    many words of one that now stands there whole."""

    spec: "CopycatGuard"
    fields: tuple[str, ...]
    borders: Doubles
    """(3,) likeness, containment and words gained that honest variants and edits stay under."""
    _known: "WeakKeyDictionary[Shop, tuple[Popular, Runs]]" = field(
        default_factory=WeakKeyDictionary
    )

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def threshold(self) -> float:
        """Of `raw`."""
        return 1.0

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) the largest of the measures, each over its border; above 1 is stopped."""
        return self._judged(listings, shop)[0]

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        raw, whose = self._judged(listings, shop)
        names = shop.items["item_id"]
        out = []
        for value, row in zip(raw.tolist(), whose.tolist(), strict=True):
            score = value / (1 + value)
            if value <= 1:
                out.append(admit(self.kind, score))
            else:
                reason = f"says what popular item '{names[row]}' says"
                out.append(Verdict("quarantine", self.kind, score, reason))
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {"borders": self.borders, "fields": np.asarray(self.fields, dtype=np.str_)}

    def _judged(self, listings: Sequence[Listing], shop: Shop) -> tuple[Doubles, Ints]:
        popular, runs = self._popular(shop)
        own = [shop.rows.get(one.item_id, -1) for one in listings]
        now = popular.compared([one.text for one in listings], own)
        before = popular.compared([one.text_before for one in listings], own)
        raw, whose = np.zeros(len(listings)), np.full(len(listings), -1, dtype=np.int64)
        for (value, at), (was, same), edge in zip(now, before, self.borders, strict=False):
            over = value / edge
            # what stood there before was let in: only a text that comes nearer is a copy
            over = np.where((same == at) & (was >= value), np.minimum(over, 1.0), over)
            whose = np.where(over > raw, at, whose)
            raw = np.maximum(raw, over)
        gained, theirs = words_gained(runs, listings, own)
        whose = np.where(gained / self.borders[2] > raw, theirs, whose)
        return np.maximum(raw, gained / self.borders[2]), whose

    def _popular(self, shop: Shop) -> tuple[Popular, Runs]:
        if shop not in self._known:
            popular = popular_of(shop, self.fields, self.spec.popular)
            self._known[shop] = popular, Runs.of(popular)
        return self._known[shop]


@spec
class CopycatGuard:
    """Nearness of a listing to the texts of other, popular items, beyond that of honest
    variants of one product.

    Words weigh by rarity among the popular texts; see `hardrank.guards.alike`. Exact, one
    sparse product a batch. Catalogues have honest near-duplicates (sizes, colours): their own
    nearness to popular items sets both borders, so where a catalogue is full of them the
    guard can stop exact copies at most. A rewrite is also stopped when it brings a whole other
    popular text, word for word, of more words than honest edits bring: that is much of a short
    title and little of a long one, and likeness and containment see only much.
    """

    kind: Literal["copycat"] = "copycat"
    popular: Count = 1000
    """Items that are worth a copy: those with most events in the live catalogue."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.001
    """Share of clean listings, held out, that may be stopped: a third of it by likeness, a
    third by containment; and a third of honest edits by the words that they bring."""

    def fit(self, lesson: Lesson) -> FittedCopycat:
        """From the lesson's catalogue, its counts, and honest edits of it."""
        _, aside = lesson.rows()
        texts = lesson.texts
        popular = popular_of(lesson.shop, lesson.fields, self.popular)
        found = popular.compared([texts[row] for row in aside], aside.tolist())
        edges = [max(border(v, self.false_alarms / 3), 1e-3) for v, _ in found]
        edits = lesson.edits(aside)
        own = [lesson.shop.rows[one.item_id] for one in edits]
        gained, _ = words_gained(Runs.of(popular), edits, own)
        # one word more is how texts differ
        edges.append(max(border(gained, self.false_alarms / 3), 1.0) if edits else np.inf)
        return FittedCopycat(spec=self, fields=lesson.fields, borders=np.asarray(edges))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedCopycat:
        """The inverse of `arrays`; guards that were kept with two borders go without the third.
        Raises `KeyError` for an array that is missing, `BundleError` for other borders."""
        fields, borders = tuple(arrays["fields"].tolist()), np.asarray(arrays["borders"])
        if borders.shape not in ((2,), (3,)):
            raise BundleError(f"{self.kind}: borders of shape {borders.shape}; fit it again")
        borders = np.append(borders, np.inf)[:3]
        return FittedCopycat(spec=self, fields=fields, borders=borders)


def words_gained(
    runs: Runs, listings: Sequence[Listing], own: Sequence[int]
) -> tuple[Doubles, Ints]:
    """(N,) words by which the longest popular text that stands whole in a listing is longer
    than the one of before, 0 for a new item; and (N,) its catalogue row. own: (N,) rows."""
    gained, whose = np.zeros(len(listings)), np.full(len(listings), -1, dtype=np.int64)
    for n, (one, row) in enumerate(zip(listings, own, strict=True)):
        if one.before is not None and one.text != one.text_before:
            now, whose[n] = runs.inside(one.text, row)
            gained[n] = max(now - runs.inside(one.text_before, row)[0], 0)
    return gained, whose


def popular_of(shop: Shop, fields: tuple[str, ...], most: int) -> Popular:
    """The popular items of the live catalogue."""
    return Popular.of(render(shop.items, fields), shop.counts, most)
