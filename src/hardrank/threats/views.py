"""What an attacker may see: `RankView` < `ScoreView` < `GradientView`.

Public, and free to look at in every view: the catalogue (ids, texts, attributes), how often
each item was bought (shops show lists of bestsellers; the exact counts are a little more
than a shopper sees, so popularity-guided attacks are measured at their strongest), and how
the target's present listing ranks for the panel.

One *query* is one version of one listing submitted and observed on the whole panel. A batch
of n texts is n queries, and asking again for a text already seen is a query again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Dataset, Queries, Slate
from hardrank.errors import FoulPlay, Unsupported
from hardrank.recommender import Recommender, TextGradient
from hardrank.threats.cost import complaint, count_edit
from hardrank.threats.model import Budget
from hardrank.threats.panel import PanelLists, finite
from hardrank.types import Floats, GoalKind, Ints, Knowledge, Scores

__all__ = [
    "VIEWS",
    "Desk",
    "GivesTextGradient",
    "GradientView",
    "Judge",
    "Meter",
    "RankView",
    "ScoreView",
]


class Judge(Protocol):
    """Similarity of texts as the referee sees it."""

    def __call__(self, before: str, after: Sequence[str]) -> Sequence[float] | NDArray[np.float64]:
        """One value in [0, 1] for each text of `after`; 1 for the same meaning."""
        ...


@runtime_checkable
class GivesTextGradient(Protocol):
    """A victim that grants gradients aligned to the words of an item's text."""

    def text_gradient(
        self, goal: GoalKind, queries: Queries, item: int, text: str, *, field: str = "title"
    ) -> TextGradient:
        """Of the loss that the attacker maximises, averaged over the queries, if the item's
        `field` read `text`."""
        ...


@dataclass
class Meter:
    """Counts queries and refuses the one that would break the budget."""

    limit: int | None = None
    spent: int = 0

    @property
    def left(self) -> int | None:
        """Queries that may still be asked; None for no limit."""
        return None if self.limit is None else self.limit - self.spent

    def charge(self, queries: int) -> None:
        """Raises `FoulPlay` before anything is shown; then nothing is counted either."""
        if self.limit is not None and self.spent + queries > self.limit:
            raise FoulPlay(f"{self.spent + queries} queries asked, budget {self.limit}")
        self.spent += queries


@dataclass(frozen=True, eq=False, kw_only=True)
class Desk:
    """Behind the counter: what views are cut from. Attacks never hold one."""

    victim: Recommender
    world: Dataset
    lists: PanelLists
    targets: tuple[str, ...]
    """Items the attacker owns: no other listing can be submitted."""
    budget: Budget
    goal: GoalKind = "promote"
    k: int = 10
    column: str = "title"
    judge: Judge | None = None
    meter: Meter = field(default_factory=Meter)

    def row(self, target: str) -> int:
        if target not in self.targets:
            raise FoulPlay(f"item '{target}' is not the attacker's: only {list(self.targets)}")
        return self.world.item_rows[target]

    def text(self, target: str) -> str:
        return self.world.items[self.column][self.row(target)] or ""

    def scores(self, target: str, texts: Sequence[str]) -> Scores:
        """(E, N), charged."""
        row = self.row(target)
        rows = self.lists.eligible(row)
        self.meter.charge(len(texts))
        if not len(rows) or not texts:
            return np.zeros((len(rows), len(texts)), dtype=np.float32)
        slate = Slate(
            items=np.full(len(texts), row, dtype=np.int64), texts=tuple(texts), field=self.column
        )
        panel = self.lists.queries.take(rows)
        return finite(np.array(self.victim.score(panel, slate), dtype=np.float32))

    def standing(self, target: str) -> Scores:
        """(E, 1), free."""
        row = self.row(target)
        rows = self.lists.eligible(row)
        return np.ascontiguousarray(self.lists.standing[rows, row][:, None])

    def ranks(self, target: str, texts: Sequence[str]) -> Ints:
        """(E, N), charged."""
        return self.lists.ranks(self.row(target), self.scores(target, texts))

    def standing_ranks(self, target: str) -> Ints:
        return self.lists.ranks(self.row(target), self.standing(target))[:, 0]

    def thresholds(self, target: str) -> Floats:
        return self.lists.thresholds(self.row(target), self.k)

    def allows(self, target: str, texts: Sequence[str]) -> NDArray[np.bool_]:
        before, limits = self.text(target), self.budget
        likeness: Sequence[float | None] = [None] * len(texts)
        if limits.similarity is not None and self.judge is not None and texts:
            likeness = list(self.judge(before, texts))
        return np.array(
            [
                complaint(count_edit(before, text), limits, alike) is None
                for text, alike in zip(texts, likeness, strict=True)
            ],
            dtype=bool,
        )

    def gradient(self, target: str, text: str) -> TextGradient:
        if not isinstance(self.victim, GivesTextGradient):
            raise Unsupported("this victim grants no gradients; attack a surrogate and replay")
        row = self.row(target)
        self.meter.charge(1)
        panel = self.lists.queries.take(self.lists.eligible(row))
        return self.victim.text_gradient(self.goal, panel, row, text, field=self.column)


class RankView:
    """Sees at what rank a listing stands for each panel user who has not yet seen it."""

    def __init__(self, desk: Desk) -> None:
        self.items: pl.DataFrame = desk.world.items
        """The public catalogue."""
        self.popularity: Ints = desk.world.counts.copy()
        """(I,) public number of events of each item."""
        self.column: str = desk.column
        """The field of the item table that the attacker writes."""
        self.k: int = desk.k
        self._text, self._allows, self._meter = desk.text, desk.allows, desk.meter
        self._ranks, self._standing_ranks = desk.ranks, desk.standing_ranks

    @property
    def spent(self) -> int:
        """Queries asked so far."""
        return self._meter.spent

    @property
    def left(self) -> int | None:
        """Queries that may still be asked; None for no limit."""
        return self._meter.left

    def text(self, target: str) -> str:
        """The field as it reads now. Raises `FoulPlay` for an item that is not owned."""
        return self._text(target)

    def allows(self, target: str, texts: Sequence[str]) -> NDArray[np.bool_]:
        """(N,) whether the budget permits each text; free. The referee asks the same."""
        return self._allows(target, texts)

    def ranks(self, target: str, texts: Sequence[str]) -> Ints:
        """(E, N) rank, from 1, of the target under each text among the unseen items of the E
        panel users who have not seen it, ties against it. N queries.

        Raises `FoulPlay` for an item that is not owned and beyond the budget's queries.
        """
        return self._ranks(target, texts)

    def standing_ranks(self, target: str) -> Ints:
        """(E,) ranks of the listing as it is now; free."""
        return self._standing_ranks(target)


class ScoreView(RankView):
    """Also sees raw scores, and the score it takes to enter each list."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._scores, self._standing, self._thresholds = (
            desk.scores, desk.standing, desk.thresholds,
        )  # fmt: skip

    def scores(self, target: str, texts: Sequence[str]) -> Scores:
        """(E, N) scores of the target under each text; N queries. Raises as `ranks`."""
        return self._scores(target, texts)

    def standing_scores(self, target: str) -> Scores:
        """(E,) scores of the listing as it is now; free."""
        return self._standing(target)[:, 0]

    def thresholds(self, target: str) -> Floats:
        """(E,) the k-th best score among each list's other items: what the target has to
        exceed; -inf for a list shorter than k. Free: every look at a list shows it."""
        return self._thresholds(target)


class GradientView(ScoreView):
    """Also sees the victim's gradient by the words of the target's text."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._gradient = desk.gradient

    def gradient(self, target: str, text: str) -> TextGradient:
        """First-order gain of the goal by each word's embedding; 1 query.

        Raises `Unsupported` when the victim grants no gradients, and as `ranks`.
        """
        return self._gradient(target, text)


VIEWS: dict[Knowledge, type[RankView]] = {
    "ranks": RankView,
    "scores": ScoreView,
    "gradients": GradientView,
}
"""From least to most."""
