"""Give the target the title of a popular item."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.data import Patch
from hardrank.threats import Budget, Promote, RankView
from hardrank.types import Count, GoalKind, Ints, Knowledge, Surface, spec

__all__ = ["Copycat"]


@spec
class Copycat:
    """Try the titles of the most popular items as the target's own; keep the best.

    A seller who copies the listing of a bestseller: no paper is needed for it, and of the
    plain text attacks it promotes most. Each title costs one query. The best puts the target
    into the top k of most panel users; among equals, the lowest mean log rank. It has to beat
    the present title. Where the threat does not let the whole text be replaced, only titles
    within the budget of words are tried.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "ranks"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    whole_text: ClassVar[bool] = True
    kind: Literal["copycat"] = "copycat"
    candidates: Count = 100
    """Popular titles tried, the most popular first; fewer if the queries run out."""

    def __call__(
        self, view: RankView, goal: Promote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        found = ((item, self._best(view, item, goal.k)) for item in goal.items)
        return Patch(tuple(view.edit(i, text) for i, text in found if text))

    def _best(self, view: RankView, target: str, k: int) -> str | None:
        titles = self._titles(view, target)
        if not titles:
            return None
        before = view.standing_ranks(target)[:, None]
        value = _value(np.concatenate([before, view.ranks(target, titles)], axis=1), k)
        winner = max(range(len(value)), key=lambda n: (*value[n], -n))
        return titles[winner - 1] if winner else None

    def _titles(self, view: RankView, target: str) -> list[str]:
        """Distinct titles within the budget, from the most popular items down."""
        order = np.argsort(-view.popularity, kind="stable")
        texts = dict.fromkeys(view.items[view.column].gather(order).to_list())
        own = view.text(target)
        most = self.candidates if view.left is None else min(self.candidates, view.left)
        titles = [t for t in texts if t and t != own][: self.candidates]
        allowed = view.allows(target, titles)
        return [t for t, ok in zip(titles, allowed, strict=True) if ok][:most]


def _value(ranks: Ints, k: int) -> list[tuple[float, float]]:
    """(share of users in whose top k it is, minus mean log rank) of each column of (E, N)."""
    if not len(ranks):
        return [(0.0, 0.0)] * ranks.shape[1]
    exposure, near = (ranks <= k).mean(axis=0), -np.log(ranks).mean(axis=0)
    return list(zip(exposure.tolist(), near.tolist(), strict=True))
