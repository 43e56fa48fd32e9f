"""What composed text attacks are made of: ordering x transformation x search.

A transformation says what could stand in a slot, an ordering which slots to try first, a
search what to ask for and what to keep. Budget and stealth are not theirs: `Aim.affordable`
asks the referee's own rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import polars as pl

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.vocabulary import sales
from hardrank.data import Edit, Patch
from hardrank.language.forms import shell
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Ints
from hardrank.wording import split

__all__ = [
    "BRANDS",
    "Ordering",
    "Search",
    "Shop",
    "Transformation",
    "choices",
    "compose",
    "fillings",
]

BRANDS = ("brand", "store", "manufacturer", "vendor")
"""Columns of an item table that name a brand; the first that is there is read."""


@dataclass(frozen=True, eq=False)
class Shop:
    """What everybody can see of the shop: its catalogue and what sells."""

    items: pl.DataFrame
    popularity: Ints
    """(I,) events of each item."""
    column: str

    @classmethod
    def of(cls, view: RankView) -> "Shop":
        """The same shop as last time where nothing changed: what was read is not read again."""
        found = _LAST.get("shop")
        same = (
            found is not None
            and found.items is view.items
            and found.column == view.column
            and np.array_equal(found.popularity, view.popularity)
        )
        if found is None or not same:
            found = _LAST["shop"] = cls(view.items, view.popularity, view.column)
        return found

    @cached_property
    def titles(self) -> list[str]:
        return self.items[self.column].fill_null("").to_list()

    def vocabulary(self, size: int) -> tuple[str, ...]:
        """The most bought words; see `hardrank.attacks.vocabulary`."""
        return self._words[:size]

    @cached_property
    def weights(self) -> dict[str, int]:
        """Word -> purchases of items whose text holds it, most first."""
        return sales(self.titles, self.popularity)

    @cached_property
    def brands(self) -> frozenset[tuple[str, ...]]:
        """Words of each brand name, lower-case, if the catalogue has a column of them."""
        column = next((c for c in BRANDS if c in self.items.columns), None)
        names = self.items[column].drop_nulls().unique().to_list() if column else []
        words = (tuple(shell(w)[1].lower() for w in split(str(name))) for name in names)
        return frozenset(w for w in words if w)

    @cached_property
    def _words(self) -> tuple[str, ...]:
        return tuple(self.weights)


_LAST: dict[str, "Shop"] = {}


class Transformation(Protocol):
    """A frozen bag of hyperparameters. Raises `Unsupported` when what it needs is not there."""

    @property
    def kind(self) -> str: ...

    def __call__(
        self, draft: Draft, slot: int, shop: Shop, rng: np.random.Generator
    ) -> Sequence[str]:
        """What could stand in the slot instead, most promising first; never what stands
        there now. An insertion is a filling that holds the present one and another word."""
        ...


class Ordering(Protocol):
    """Which slots to try first."""

    @property
    def kind(self) -> str: ...

    def __call__(self, draft: Draft, aim: Aim, rng: np.random.Generator) -> Sequence[int]:
        """All W slots or fewer, best first. What it asks the view for is charged."""
        ...


class Search(Protocol):
    """What to ask for, and what to keep."""

    @property
    def kind(self) -> str: ...

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        """The best text found; the standing one if none was better."""
        ...


def fillings(
    draft: Draft,
    slot: int,
    transformations: Sequence[Transformation],
    shop: Shop,
    rng: np.random.Generator,
) -> list[Draft]:
    """Every draft that differs from this one in the slot alone."""
    return [draft.put(slot, f) for f in choices(draft, slot, transformations, shop, rng)]


def choices(
    draft: Draft,
    slot: int,
    transformations: Sequence[Transformation],
    shop: Shop,
    rng: np.random.Generator,
) -> list[str]:
    """What all transformations would put into the slot, each once."""
    return list(dict.fromkeys(f for t in transformations for f in t(draft, slot, shop, rng)))


def compose(
    view: Any,
    goal: Promote | Demote,
    budget: Budget,
    rng: np.random.Generator,
    *,
    transformations: Sequence[Transformation],
    ordering: Ordering,
    search: Search,
) -> Patch:
    """Run a search for each item of the goal."""
    shop, edits = Shop.of(view), list[Edit]()
    for target in goal.items:
        aim = Aim.of(view, target, goal)
        if aim is None or aim.standing.reached[0]:
            continue
        text = search(aim, transformations, ordering, budget, shop, rng)
        if text != aim.text:
            edits.append(view.edit(target, text))
    return Patch(tuple(edits))
