"""Add a bestseller's title to one's own."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.champion import Champion, bestsellers, pursue
from hardrank.attacks.parts import Shop
from hardrank.attacks.vocabulary import Positions, insert
from hardrank.data import Patch
from hardrank.threats import Budget, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec
from hardrank.wording import spans

__all__ = ["AppendTitle"]


@spec
class AppendTitle:
    """Keep the present title and put the one of a popular item beside it.

    What marketplaces call title stuffing ("fits ...", "like ..."): the listing still says
    what it sells, yet reads to a model as if it were the bestseller, too. Each title and
    position costs one query, 200 in all; the best one stays, as in `copycat`. In front it
    does more: models read the beginning of a long listing, and cut its end. Under a budget
    of words only the beginning of each title is added; no limit binds where the threat lets
    whole texts be replaced.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    whole_text: ClassVar[bool] = True
    kind: Literal["append-title"] = "append-title"
    candidates: Count = 100
    """Popular titles tried, the most popular first; fewer if the queries run out."""
    positions: Positions = ("front", "end")
    """Where the title is put; each one is tried."""

    def __call__(
        self, view: RankView, goal: Promote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        shop, most = Shop.of(view), None if budget.whole_text else budget.words

        def search(champion: Champion) -> None:
            own = champion.aim.text
            titles = bestsellers(shop.titles, shop.popularity, own, self.candidates)
            parts = dict.fromkeys(_beginning(title, most) for title in titles)
            champion.challenge(
                [insert(own, part, place) for part in parts if part for place in self.positions]
            )

        return pursue(view, goal, search)


def _beginning(title: str, words: int | None) -> str:
    """The first `words` words of it, as they stand there."""
    found = spans(title)[:words]
    return title[: found[-1][1]].strip() if found else ""
