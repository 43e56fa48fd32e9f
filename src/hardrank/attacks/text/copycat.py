"""Give the target the title of a popular item."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.champion import Champion, bestsellers, pursue
from hardrank.attacks.parts import Shop
from hardrank.data import Patch
from hardrank.threats import Budget, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec
from hardrank.wording import split

__all__ = ["Copycat"]


@spec
class Copycat:
    """Try the titles of the most popular items as the target's own; keep the best.

    A seller who copies the listing of a bestseller: no paper is needed for it, and of the
    plain text attacks it promotes most. Each title costs one query. What the best gains is
    the share of panel users whose top k it enters, then the soft exposure of
    `hardrank.attacks.aim`, by ranks alone (scores did no better); it has to beat the present
    title. Where the threat does not let the whole text be replaced, only titles within the
    budget of words are tried.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "ranks"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    whole_text: ClassVar[bool] = True
    kind: Literal["copycat"] = "copycat"
    candidates: Count = 100
    """Popular titles tried, the most popular first; fewer if the queries run out."""
    keep: Literal["none", "own-words"] = "none"
    """`own-words`: what the present title says and the copied one does not (the brand, the
    model) stands after it, so that a buyer still learns what is sold."""

    def __call__(
        self, view: RankView, goal: Promote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        shop = Shop.of(view)

        def search(champion: Champion) -> None:
            own = champion.aim.text
            titles = bestsellers(shop.titles, shop.popularity, own, self.candidates)
            champion.challenge([self._dressed(title, own) for title in titles])

        return pursue(view, goal, search)

    def _dressed(self, title: str, own: str) -> str:
        if self.keep == "none":
            return title
        there = {word.lower() for word in split(title)}
        return " ".join([title, *(w for w in split(own) if w.lower() not in there)])
