"""What an attacker may see: `RankView` < `ScoreView` < `GradientView`.

A view is as wide as the threat allows and the attack can use. Public, and free to look at
in every view: the catalogue (ids, texts, attributes), how often each item was bought (shops
show lists of bestsellers; the exact counts are a little more than a shopper sees, so
popularity-guided attacks are measured at their strongest), and how the target's present
listing ranks for the panel.

One *query* is one version of one listing submitted and observed on the whole panel. A batch
of n texts is n queries, and asking again for a text already seen is a query again.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Edit
from hardrank.recommender import Forecast, Relaxed, TextGradient
from hardrank.threats.desk import Desk
from hardrank.types import Floats, Ints, Knowledge, Scores

__all__ = ["VIEWS", "GradientView", "RankView", "ScoreView"]


class RankView:
    """Sees at what rank a listing stands for each panel user who has not yet seen it."""

    def __init__(self, desk: Desk) -> None:
        self.items: pl.DataFrame = desk.items
        """The public catalogue."""
        self.popularity: Ints = desk.popularity
        """(I,) public number of events of each item."""
        self.column: str = desk.column
        """The field of the item table that the attacker writes."""
        self.k: int = desk.k
        self._text, self._allows, self._meter = desk.text, desk.allows, desk.meter
        self._edit = desk.edit
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

    def edit(self, target: str, text: str) -> Edit:
        """What a patch says of it: the target now reads `text`."""
        return self._edit(target, text)

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
    """Also sees inside the victim: its gradient by the words of the target's text, its table
    of embeddings, what it would make of other words.

    One query is one text that is read: a gradient, a forecast, each mixture of words. What
    the attacker computes from it with the weights at hand is free, as the table is."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._gradient, self._embed = desk.gradient, desk.embed
        self._forecast, self._relaxed = desk.forecast, desk.relaxed

    def gradient(self, target: str, text: str) -> TextGradient:
        """First-order gain of the goal by each word's embedding; 1 query.

        Raises `Unsupported` when the victim grants no gradients, and as `ranks`.
        """
        return self._gradient(target, text)

    def embed(self, words: Sequence[str]) -> Floats:
        """(W, D) input embeddings as `TextGradient.current` shows them, so that
        `gradient[t] @ (embed([word])[0] - current[t])` is the first-order gain of `word` in
        the place of word t. Free. Raises `Unsupported` for a victim that keeps it closed, as
        the two below do."""
        return self._embed(words)

    def forecast(self, target: str, text: str) -> Forecast:
        """From one reading of `text`, which is 1 query: what (E, N) scores to expect when words
        join or leave it, for N changes as ((word, how many more of it), ...)."""
        return self._forecast(target, text)

    def relaxed(
        self, target: str, text: str, slots: Sequence[int], words: Sequence[str]
    ) -> Relaxed:
        """Scores (B, E) as a differentiable function of weights (B, S, W): mixtures of `words`
        in the places of the words number `slots` of `text`. B queries a call."""
        return self._relaxed(target, text, slots, words)


VIEWS: dict[Knowledge, type[RankView]] = {
    "ranks": RankView,
    "scores": ScoreView,
    "gradients": GradientView,
}
"""From least to most."""
