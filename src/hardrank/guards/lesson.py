"""What guards learn from: a clean catalogue, attacked listings, and orders to a machine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import render
from hardrank.errors import DataError
from hardrank.guards.base import Listing, Shop
from hardrank.metrics.detection import threshold_at_fpr
from hardrank.types import Ints

__all__ = ["Example", "Lesson", "border", "families", "share_above"]

Doubles = NDArray[np.float64]
_FEWEST = 20


@dataclass(frozen=True)
class Example:
    """A listing that an attack wrote, with the honest texts in `before`."""

    listing: Listing
    family: str
    """Kind of the attack."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Lesson:
    """Raises `DataError` for a catalogue of fewer than 20 items: no threshold can be set."""

    shop: Shop
    """A catalogue whose texts count as clean."""
    fields: tuple[str, ...] = ("title",)
    """Text columns of the catalogue that guards read."""
    attacked: tuple[Example, ...] = ()
    orders: tuple[str, ...] = ()
    """Texts written to a machine: prompt injections, strategic text sequences."""
    held_out: float = 0.3
    """Share of the catalogue that sets thresholds and is not trained on; in (0, 1)."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shop.items.height < _FEWEST:
            raise DataError(
                f"the catalogue has {self.shop.items.height} items, guards need {_FEWEST}",
                remedy="give a larger catalogue",
            )

    @property
    def texts(self) -> list[str]:
        """(I,) clean texts, as `Listing.text` joins them."""
        return render(self.shop.items, self.fields)

    def rows(self) -> tuple[Ints, Ints]:
        """Rows that are learned from, and rows that set thresholds; the same for all guards."""
        rng = np.random.default_rng(derive(self.seed, "guards", "held out"))
        order = rng.permutation(self.shop.items.height)
        aside = max(1, min(len(order) - 1, round(self.held_out * len(order))))
        return np.sort(order[aside:]), np.sort(order[:aside])

    def listings(self, rows: Ints) -> list[Listing]:
        """The clean listings of those rows, as new ones."""
        table = self.shop.items[rows]
        columns = [table[name].fill_null("").to_list() for name in self.fields]
        return [
            Listing(item, dict(zip(self.fields, texts, strict=True)))
            for item, *texts in zip(table["item_id"].to_list(), *columns, strict=True)
        ]

    def without(self, family: str) -> "Lesson":
        """The same, never having seen that family."""
        return replace(self, attacked=tuple(e for e in self.attacked if e.family != family))


def border(clean: Doubles, false_alarms: float) -> float:
    """Raw score above which at most that share of clean listings lies. clean: (N,)"""
    return max(threshold_at_fpr(clean, false_alarms), float(np.finfo(np.float64).tiny))


def share_above(raw: Doubles, threshold: float) -> list[float]:
    """(N,) raw scores of 0 and more as shares: 0.5 at the threshold, 1 far above it."""
    positive = np.maximum(np.asarray(raw, dtype=np.float64), 0.0)
    return [float(v) for v in positive / (positive + threshold)]


def families(examples: Sequence[Example]) -> list[str]:
    """Kinds of attacks among the examples, each once, in order."""
    return list(dict.fromkeys(e.family for e in examples))
