"""Behind the counter: who answers a view's questions and charges for the answers.

A view sees a victim through a `Desk`; attacks never hold one. There is one desk for each
way that text reaches a victim: an item's listing ranked for a panel of users
(`ListingDesk`), one user's query (`threats.query_text`), slates that a model reads
together (`threats.slates`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Dataset, Edit, Queries, RewriteItem, Slate
from hardrank.errors import FoulPlay, Unsupported
from hardrank.recommender import Change, Forecast, Recommender, Relaxed, TextGradient
from hardrank.threats.cost import affords
from hardrank.threats.model import Budget
from hardrank.threats.panel import PanelLists, finite
from hardrank.types import Floats, GoalKind, Ints, Scores

if TYPE_CHECKING:
    import torch

__all__ = ["Desk", "GivesTextGradient", "GivesWords", "Judge", "ListingDesk", "Meter", "TextDesk"]


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


@runtime_checkable
class GivesWords(Protocol):
    """A victim whose reading of words can be looked into."""

    def word_embeddings(self, words: Sequence[str]) -> Floats:
        """(W, D) of what `TextGradient.current` would show, did the words stand in the text."""
        ...

    def forecast(self, queries: Queries, item: int, text: str, *, field: str = "title") -> Forecast:
        """What the scores are expected to be when words join or leave `text`; exact for a
        victim that reads a bag of words."""
        ...

    def relaxed(
        self, queries: Queries, item: int, text: str, slots: Sequence[int], words: Sequence[str],
        *, field: str = "title",
    ) -> Relaxed:  # fmt: skip
        """Scores when weighted mixtures of `words` stand in the S `slots` (numbers of words)
        of `text`. A weight of 1 for one word is that word; roughly so if it has many tokens."""
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


class Desk(Protocol):
    """What a view is cut from. E panel users can be shown the target."""

    @property
    def items(self) -> pl.DataFrame: ...
    @property
    def popularity(self) -> Ints: ...
    @property
    def column(self) -> str: ...
    @property
    def k(self) -> int: ...
    @property
    def meter(self) -> Meter: ...
    def text(self, target: str) -> str: ...
    def allows(self, target: str, texts: Sequence[str]) -> NDArray[np.bool_]: ...
    def edit(self, target: str, text: str) -> Edit: ...
    def ranks(self, target: str, texts: Sequence[str]) -> Ints: ...
    def standing_ranks(self, target: str) -> Ints: ...
    def scores(self, target: str, texts: Sequence[str]) -> Scores: ...
    def standing(self, target: str) -> Scores: ...
    def thresholds(self, target: str) -> Floats: ...
    def gradient(self, target: str, text: str) -> TextGradient: ...
    def embed(self, words: Sequence[str]) -> Floats: ...
    def forecast(self, target: str, text: str) -> Forecast: ...
    def relaxed(
        self, target: str, text: str, slots: Sequence[int], words: Sequence[str]
    ) -> Relaxed: ...


_CLOSED = "this victim's reading of words cannot be looked into; attack a surrogate and replay"


@dataclass(frozen=True, eq=False, kw_only=True)
class TextDesk:
    """What all desks share: who owns what, what the budget permits, who pays."""

    world: Dataset
    targets: tuple[str, ...]
    """What the attacker owns: nothing else can be submitted."""
    budget: Budget
    goal: GoalKind = "promote"
    k: int = 10
    judge: Judge | None = None
    meter: Meter = field(default_factory=Meter)
    _notes: dict[str, Scores] = field(default_factory=dict)
    """Text -> (E,) what it scored; kept only where repeats are free."""

    @property
    def items(self) -> pl.DataFrame:
        return self.world.items

    @property
    def popularity(self) -> Ints:
        return self.world.counts.copy()

    def owned(self, target: str) -> str:
        if target not in self.targets:
            raise FoulPlay(f"'{target}' is not the attacker's: only {list(self.targets)}")
        return target

    def text(self, target: str) -> str:
        raise NotImplementedError

    def ask(self, target: str, texts: Sequence[str]) -> Scores:
        """(E, N) from the victim; not charged."""
        raise NotImplementedError

    def embed(self, words: Sequence[str]) -> Floats:
        raise Unsupported(_CLOSED)

    def forecast(self, target: str, text: str) -> Forecast:
        raise Unsupported(_CLOSED)

    def relaxed(
        self, target: str, text: str, slots: Sequence[int], words: Sequence[str]
    ) -> Relaxed:
        raise Unsupported(_CLOSED)

    def allows(self, target: str, texts: Sequence[str]) -> NDArray[np.bool_]:
        before, limits = self.text(target), self.budget
        likeness: Sequence[float | None] = [None] * len(texts)
        if limits.similarity is not None and self.judge is not None and texts:
            likeness = list(self.judge(before, texts))
        return np.array(
            [
                affords(before, text, limits, alike)
                for text, alike in zip(texts, likeness, strict=True)
            ],
            dtype=bool,
        )

    def scores(self, target: str, texts: Sequence[str]) -> Scores:
        """(E, N), charged."""
        if not self.budget.free_repeats:
            self.meter.charge(len(texts))
            return finite(np.array(self.ask(target, texts), dtype=np.float32))
        new = [t for t in dict.fromkeys(texts) if t not in self._notes]
        self.meter.charge(len(new))
        asked = finite(np.array(self.ask(target, new), dtype=np.float32))
        self._notes.update(zip(new, asked.T, strict=True))
        return np.stack([self._notes[t] for t in texts], axis=1) if texts else asked


@dataclass(frozen=True, eq=False, kw_only=True)
class ListingDesk(TextDesk):
    """One version of one listing, observed on the whole panel, is one query."""

    victim: Recommender
    lists: PanelLists
    column: str = "title"

    def row(self, target: str) -> int:
        return self.world.item_rows[self.owned(target)]

    def text(self, target: str) -> str:
        return str(self.world.items[self.column][self.row(target)] or "")

    def edit(self, target: str, text: str) -> Edit:
        return RewriteItem(self.owned(target), text, self.column)

    def ask(self, target: str, texts: Sequence[str]) -> Scores:
        row = self.row(target)
        rows = self.lists.eligible(row)
        if not len(rows) or not texts:
            return np.zeros((len(rows), len(texts)), dtype=np.float32)
        slate = Slate(
            items=np.full(len(texts), row, dtype=np.int64), texts=tuple(texts), field=self.column
        )
        return self.victim.score(self.lists.queries.take(rows), slate)

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

    def gradient(self, target: str, text: str) -> TextGradient:
        if not isinstance(self.victim, GivesTextGradient):
            raise Unsupported("this victim grants no gradients; attack a surrogate and replay")
        row = self.row(target)
        self.meter.charge(1)
        panel = self.lists.queries.take(self.lists.eligible(row))
        return self.victim.text_gradient(self.goal, panel, row, text, field=self.column)

    def embed(self, words: Sequence[str]) -> Floats:
        """(W, D), free."""
        return self._words().word_embeddings(words)

    def forecast(self, target: str, text: str) -> Forecast:
        """One reading of the text, charged; what is computed from it is free."""
        victim, row = self._words(), self.row(target)
        panel = self.lists.queries.take(self.lists.eligible(row))
        self.meter.charge(1)
        given = victim.forecast(panel, row, text, field=self.column)

        def scores(changes: Sequence[Change]) -> Scores:
            return finite(np.array(given(changes), dtype=np.float32))

        return scores

    def relaxed(
        self, target: str, text: str, slots: Sequence[int], words: Sequence[str]
    ) -> Relaxed:
        """Each mixture that is tried is charged."""
        victim, row = self._words(), self.row(target)
        panel = self.lists.queries.take(self.lists.eligible(row))
        given = victim.relaxed(panel, row, text, slots, words, field=self.column)

        def scores(weights: "torch.Tensor") -> "torch.Tensor":
            self.meter.charge(len(weights))
            return given(weights)

        return scores

    def _words(self) -> GivesWords:
        if not isinstance(self.victim, GivesWords):
            raise Unsupported(_CLOSED)
        return self.victim
