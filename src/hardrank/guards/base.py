"""What a guard reads, what it may ask, and what it says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import polars as pl

from hardrank.data import Queries
from hardrank.recommender import Recommender
from hardrank.types import Ints

__all__ = ["Action", "Guard", "Listing", "Shop", "Verdict", "admit", "changed_fields", "worst"]

Action = Literal["admit", "mend", "quarantine"]
"""What happens to a listing, from mild to severe. Mended: it goes live with other texts."""
SEVERITY: dict[Action, int] = {"admit": 0, "mend": 1, "quarantine": 2}


@dataclass(frozen=True)
class Listing:
    """The texts of an item as somebody wants them to stand."""

    item_id: str
    fields: Mapping[str, str]
    """Text by name: `title`, `description`, ..."""
    before: Mapping[str, str] | None = None
    """The texts that stand now; None for a new item."""
    events: int = 0
    """Events that the item earned under its texts of before; never negative."""
    created: int | None = None
    """Unix seconds at which the item first stood; None where nobody knows."""

    @property
    def text(self) -> str:
        """All texts joined by ' . ', empty ones left out, as `hardrank.data.render` does."""
        return " . ".join(text for text in self.fields.values() if text)

    @property
    def text_before(self) -> str:
        """`text` of what stands now; '' for a new item."""
        return " . ".join(text for text in (self.before or {}).values() if text)


@dataclass(frozen=True)
class Verdict:
    """What a guard says of one listing. Raises `ValueError` when the score is no share, or
    when it mends without texts."""

    action: Action
    guard: str
    score: float
    """0 to 1, higher is worse; compare scores of one guard only."""
    reason: str
    """One sentence for who decides; empty where there is nothing to say."""
    fields: Mapping[str, str] | None = None
    """All texts as they should stand; None where they are fine, or cannot be mended."""
    spans: tuple[tuple[str, int, int], ...] = ()
    """(field, start, end) in characters of what was asked: where to look."""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 1:
            raise ValueError(f"score must be between 0 and 1 (is {self.score})")
        if self.action == "mend" and self.fields is None:
            raise ValueError(f"guard '{self.guard}' mends, and says no texts")


@dataclass(frozen=True, eq=False, kw_only=True)
class Shop:
    """What a guard may ask of the service that it stands before."""

    items: pl.DataFrame
    """(I rows) the live catalogue: `item_id` and text fields."""
    counts: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """(I,) events of each item."""
    recommender: Recommender | None = None
    queries: Queries | None = None
    """A sample of users; its items are rows of `items`."""

    def __post_init__(self) -> None:
        if len(self.counts) == 0:
            object.__setattr__(self, "counts", np.zeros(self.items.height, dtype=np.int64))
        if len(self.counts) != self.items.height:
            raise ValueError(f"{len(self.counts)} counts for {self.items.height} items")

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each item id."""
        return {name: row for row, name in enumerate(self.items["item_id"].to_list())}


@runtime_checkable
class Guard(Protocol):
    """Stands between whoever writes a listing and the live catalogue."""

    @property
    def kind(self) -> str:
        """Its name in files and in verdicts."""
        ...

    def inspect(self, listings: Sequence[Listing], shop: Shop) -> list[Verdict]:
        """One verdict for each listing, in order. Deterministic, and what it says of a
        listing does not depend on the others of the call."""
        ...


def admit(guard: str, score: float = 0.0, reason: str = "") -> Verdict:
    """Let it in."""
    return Verdict("admit", guard, score, reason)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The most severe of the verdicts on one listing, ties by higher score, then the first;
    its reason tells those of all that object. Raises `ValueError` on none.

    Of several that mend, the texts of the worst one stand.
    """
    if not verdicts:
        raise ValueError("no verdict to choose from")
    first = max(verdicts, key=lambda v: (SEVERITY[v.action], v.score))
    against = [v for v in verdicts if v.action != "admit"]
    if len(against) < 2:
        return first
    ranked = sorted(against, key=lambda v: (-SEVERITY[v.action], -v.score))
    reason = "; ".join(dict.fromkeys(f"{v.guard}: {v.reason}" for v in ranked))
    spans = tuple(dict.fromkeys(span for v in ranked for span in v.spans))
    return Verdict(first.action, first.guard, first.score, reason, first.fields, spans)


def changed_fields(listing: Listing) -> tuple[str, ...]:
    """Names of the texts that differ from what stands now; all of a new item."""
    before = listing.before or {}
    return tuple(name for name, text in listing.fields.items() if before.get(name) != text)
