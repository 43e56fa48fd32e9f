"""Listings that say what a bestseller says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from annotated_types import Gt, Lt
from numpy.typing import NDArray

from hardrank.data import render
from hardrank.guards.alike import Popular
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.lesson import Lesson
from hardrank.metrics.detection import threshold_at_fpr
from hardrank.types import Count, Ints, spec

__all__ = ["CopycatGuard", "FittedCopycat"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedCopycat:
    """Two borders: how like a popular text, and how much of one stands in the listing."""

    spec: "CopycatGuard"
    fields: tuple[str, ...]
    borders: Doubles
    """(2,) likeness and containment that honest variants stay under."""
    _known: "WeakKeyDictionary[Shop, Popular]" = field(default_factory=WeakKeyDictionary)

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def threshold(self) -> float:
        """Of `raw`."""
        return 1.0

    def raw(self, listings: Sequence[Listing], shop: Shop) -> Doubles:
        """(N,) the larger of both measures, each over its border; above 1 is stopped."""
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
        popular = self._popular(shop)
        own = [shop.rows.get(one.item_id, -1) for one in listings]
        now = popular.compared([one.text for one in listings], own)
        before = popular.compared([one.text_before for one in listings], own)
        raw, whose = np.zeros(len(listings)), np.full(len(listings), -1, dtype=np.int64)
        for (value, at), (was, same), edge in zip(now, before, self.borders, strict=True):
            over = value / edge
            # what stood there before was let in: only a text that comes nearer is a copy
            over = np.where((same == at) & (was >= value), np.minimum(over, 1.0), over)
            whose = np.where(over > raw, at, whose)
            raw = np.maximum(raw, over)
        return raw, whose

    def _popular(self, shop: Shop) -> Popular:
        if shop not in self._known:
            self._known[shop] = popular_of(shop, self.fields, self.spec.popular)
        return self._known[shop]


@spec
class CopycatGuard:
    """Nearness of a listing to the texts of other, popular items, beyond that of honest
    variants of one product.

    Words weigh by rarity among the popular texts; see `hardrank.guards.alike`. Exact, one
    sparse product a batch. Catalogues have honest near-duplicates (sizes, colours): their own
    nearness to popular items sets both borders, so where a catalogue is full of them the
    guard can stop exact copies at most.
    """

    kind: Literal["copycat"] = "copycat"
    popular: Count = 1000
    """Items that are worth a copy: those with most events in the live catalogue."""
    false_alarms: Annotated[float, Gt(0), Lt(1)] = 0.004
    """Share of clean listings, held out, that may be stopped."""

    def fit(self, lesson: Lesson) -> FittedCopycat:
        """From the lesson's catalogue and its counts alone."""
        _, aside = lesson.rows()
        texts = lesson.texts
        popular = popular_of(lesson.shop, lesson.fields, self.popular)
        found = popular.compared([texts[row] for row in aside], aside.tolist())
        edges = [max(threshold_at_fpr(v, self.false_alarms / 2), 1e-3) for v, _ in found]
        return FittedCopycat(spec=self, fields=lesson.fields, borders=np.asarray(edges))

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> FittedCopycat:
        """The inverse of `arrays`. Raises `KeyError` for an array that is missing."""
        fields = tuple(arrays["fields"].tolist())
        return FittedCopycat(spec=self, fields=fields, borders=arrays["borders"])


def popular_of(shop: Shop, fields: tuple[str, ...], most: int) -> Popular:
    """The popular items of the live catalogue."""
    return Popular.of(render(shop.items, fields), shop.counts, most)
