"""The shadow-ranking gate: what a text would be shown like, before it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.errors import BundleError, DataError
from hardrank.guards.base import Listing, Shop, Verdict, admit
from hardrank.guards.exposure_view import ExposureView, Shown
from hardrank.guards.honest import honest_edit
from hardrank.guards.lesson import Lesson, ending
from hardrank.types import Count, Natural, Positive, Share, spec

__all__ = ["FittedShadowRanking", "ShadowRanking"]

Doubles = NDArray[np.float64]
_BLOCK = 512
"""Items whose exposure is read at a time."""
_FOLDS = 5
_SLOW_TEXTS = 32
"""Texts read as new ones where each needs a catalogue of its own."""


@spec
class ShadowRanking:
    """Hold a text whose exposure is implausible for its item, or a rise that edits do not bring.

    A rewrite is held when, for a sample of users and the live model, ER@k after is above
    max(floor, ratio * before, min(ceiling(events), before + rise)); a new item when it is above
    max(floor, newcomer). How honest rewrites move exposure is not known, so all three are read
    from the catalogue, each as the quantile that a fresh value exceeds with the probability asked
    for (split and cross-conformal prediction: Vovk, AMAI 2015):

    * ceiling: a level that rises with an item's events, times a margin over the exposures of
      items that were left out of the level; `false_alarms / 2`.
    * rise: after - before of edits that honest sellers make, simulated; `false_alarms / 2`.
    * newcomer: exposure of the catalogue's own texts as new ones, each among the users and
      beside the items that are left without the item itself; `false_alarms`.

    An attack that stays below the limit passes; where a model shows rare items to many anyway,
    the ceiling is high and `rise` is what holds.
    """

    kind: Literal["shadow-ranking"] = "shadow-ranking"
    k: Count = 10
    """Length of the lists."""
    users: Count = 1000
    """Most users of the sample; the finest step of an exposure is one of them."""
    floor: Share = 0.005
    """Exposure that is never held, whoever gets it."""
    ratio: Positive = 1.5
    """Rise of an exposure above the ceiling that is not held: a typo in a bestseller may go
    live. Below 1, items above their ceiling cannot be rewritten."""
    false_alarms: Share = 0.01
    """Share of the catalogue's own items that the ceiling may hold."""
    samples: Count = 1000
    """Most texts of the catalogue that are read as new ones, and that are edited."""
    seed: Natural = 0
    """Of the simulated edits."""

    def fit(self, lesson: Lesson) -> "FittedShadowRanking":
        """On the lesson's shop; see `fit_on`."""
        return self.fit_on(lesson.shop)

    def fit_on(self, shop: Shop) -> "FittedShadowRanking":
        """On the live catalogue, whose texts count as clean. Raises `DataError` for a shop
        without recommender or users, or with fewer than ten items: nothing can be left out of
        them."""
        view = ExposureView.of(shop, self.k, self.users)
        n = shop.items.height
        if n < 10:
            raise DataError(f"{n} items are too few to say what is usual", remedy="give ten")
        exposure = np.concatenate([view.standing(r) for r in _blocks(np.arange(n))])
        earned = np.log1p(np.asarray(shop.counts, dtype=np.float64))
        knots, levels = _ceiling(earned, exposure, 1 / len(view.queries))
        margin = _margin(earned, exposure, 1 / len(view.queries), self.false_alarms / 2)
        rows = np.linspace(0, n - 1, min(n, self.samples)).astype(np.int64)
        few = rows if len(view.reads) < 2 else rows[:: -(-len(rows) // _SLOW_TEXTS)]
        new = np.concatenate([view.as_new(r) for r in _blocks(few)])
        rises = _rises(view, rows, np.random.default_rng(self.seed))
        return FittedShadowRanking(
            spec=self, knots=knots, levels=levels * margin,
            newcomer=_quantile(new, self.false_alarms),
            rise=_quantile(rises, self.false_alarms / 2), _views=[(shop, view)],
        )  # fmt: skip

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> "FittedShadowRanking":
        """The inverse of `FittedShadowRanking.arrays`. Raises `BundleError` where they do not
        fit together."""
        if missing := {"knots", "levels", "newcomer", "rise"} - set(arrays):
            raise BundleError(f"{self.kind}: the array '{min(missing)}' is missing")
        knots, levels = (np.asarray(arrays[n], dtype=np.float64) for n in ("knots", "levels"))
        if knots.shape != levels.shape or not len(knots):
            raise BundleError(f"{self.kind}: {len(knots)} knots, {len(levels)} levels")
        return FittedShadowRanking(
            spec=self,
            knots=knots,
            levels=levels,
            newcomer=float(arrays["newcomer"][0]),
            rise=float(arrays["rise"][0]),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class FittedShadowRanking:
    """A guard that knows which exposures are usual."""

    spec: ShadowRanking
    knots: Doubles
    """(N,) rising: ln(1 + events)."""
    levels: Doubles
    """(N,) never falling: the highest usual exposure there; linear between, flat outside."""
    newcomer: float
    """The highest usual exposure of a new item."""
    rise: float
    """The highest usual rise of an exposure by an edit."""
    _views: list[tuple[Shop, ExposureView]] = field(default_factory=list)
    """Of the shop that was asked about last: its lists are scored once."""

    @property
    def kind(self) -> str:
        return self.spec.kind

    def ceiling(self, events: int | None) -> float:
        """The highest usual exposure of an item with so many events; None for a new item."""
        if events is None:
            return self.newcomer
        return float(np.interp(np.log1p(events), self.knots, self.levels))

    def limit(self, events: int | None, before: float) -> float:
        """The exposure above which a text is held."""
        usual = self.ceiling(events)
        if events is not None:
            usual = min(usual, before + self.rise)
        return max(usual, self.spec.floor, self.spec.ratio * before)

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        """The score is after / (after + limit): above a half is held. Without a recommender or
        users nothing is judged, and the reason says so. A recommender that is changed in place
        needs a new `Shop`. Raises `DataError` where the shop shows other items than it ranks."""
        if not listings:
            return []
        if shop.recommender is None or shop.queries is None or not len(shop.queries):
            return [
                admit(self.kind, reason="not judged: no live model or no users yet")
            ] * len(listings)  # fmt: skip
        view = self._view(shop)
        shown = view.shown(listings)
        return [self._verdict(li, s, view) for li, s in zip(listings, shown, strict=True)]

    def arrays(self) -> dict[str, NDArray[Any]]:
        alone = {"newcomer": np.array([self.newcomer]), "rise": np.array([self.rise])}
        return {"knots": self.knots, "levels": self.levels, **alone}

    def _view(self, shop: Shop) -> ExposureView:
        if not self._views or self._views[0][0] is not shop:
            self._views[:] = [(shop, ExposureView.of(shop, self.spec.k, self.spec.users))]
        return self._views[0][1]

    def _verdict(self, listing: Listing, shown: Shown, view: ExposureView) -> Verdict:
        if not shown.read:
            return admit(self.kind, reason="nothing changes that the live model reads")
        new = view.row(listing) is None
        limit = self.limit(None if new else listing.events, shown.before)
        score = shown.after / (shown.after + limit) if shown.after else 0.0
        reason = (
            f"if this goes live, ER@{self.spec.k} moves from {shown.before:.3f} "
            f"to {shown.after:.3f}"
        )
        if shown.after <= limit:
            return admit(self.kind, score, reason)
        who = "a new item" if new else f"a rewrite of an item with {listing.events} events"
        reason += f"; at most {limit:.3f} is usual for {who}"
        if new and view.stand_in_events:
            reason += f" (scored in the place of one with {view.stand_in_events} events)"
        return Verdict("quarantine", self.kind, score, reason)


def _blocks(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def _rises(view: ExposureView, rows: NDArray[np.int64], rng: np.random.Generator) -> Doubles:
    """After - before of an edit of each item's longest column that the model reads; 0 for the
    edits that change nothing, and one 0 where it reads none."""
    items, asked = view.recommender.items, list[Listing]()
    names = items["item_id"].gather(rows).to_list()
    lengths = {c: int(items[c].fill_null("").str.len_chars().sum()) for c in view.reads}
    if not lengths:
        return np.zeros(1)
    column = max(lengths, key=lengths.__getitem__)
    texts = items[column].fill_null("").to_list()
    for row, name in zip(rows.tolist(), names, strict=True):
        other = ending(texts[int(rng.integers(len(texts)))])
        asked.append(Listing(name, {column: honest_edit(texts[row], other, rng)}))
    shown = [s for start in range(0, len(asked), _BLOCK)
             for s in view.shown(asked[start : start + _BLOCK])]  # fmt: skip
    return np.array([s.after - s.before for s in shown])


def _ceiling(earned: Doubles, exposure: Doubles, least: float) -> tuple[Doubles, Doubles]:
    """(N,), (N,) rising knots and never falling levels: the 0.9 quantile of exposure in ten
    groups of about equally many items by events, and at least one user's worth of it."""
    order = np.argsort(earned, kind="stable")
    groups = np.array_split(order, min(10, max(1, len(order) // 5)))
    middles = np.array([earned[g].mean() for g in groups])
    highs = np.array([np.quantile(exposure[g], 0.9) for g in groups])
    knots, at = np.unique(middles, return_inverse=True)  # groups of equal events are one
    levels = np.zeros(len(knots))
    np.maximum.at(levels, at, np.maximum(highs, least))
    return knots, np.maximum.accumulate(levels)


def _margin(earned: Doubles, exposure: Doubles, least: float, false_alarms: float) -> float:
    """The quantile of exposure / level over items that were left out of the level."""
    ratios = np.zeros(len(earned))
    fold = np.arange(len(earned)) % _FOLDS
    for n in range(_FOLDS):
        out = fold == n
        knots, levels = _ceiling(earned[~out], exposure[~out], least)
        ratios[out] = exposure[out] / np.interp(earned[out], knots, levels)
    return _quantile(ratios, false_alarms)


def _quantile(values: Doubles, false_alarms: float) -> float:
    """The smallest of the values that a fresh one exceeds with at most that probability; the
    largest, where there are too few to say."""
    place = int(np.ceil((len(values) + 1) * (1 - false_alarms))) - 1
    return float(np.sort(values)[min(max(place, 0), len(values) - 1)])
