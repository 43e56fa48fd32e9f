"""Company with what nobody likes."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import (
    Draft,
    Lengths,
    Manner,
    drawn,
    extremes,
    mixed,
    others,
    rated,
    written,
)
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import StatisticsView
from hardrank.types import GoalKind, Ints, LogKnowledge, Share, Surface, spec

__all__ = ["ReverseBandwagon"]


@spec
class ReverseBandwagon:
    """Rate the target as low as items that many know and few like.

    Mobasher, Burke, Bhaumik & Williams, Toward trustworthy recommender systems, ACM TOIT
    7(4), 2007. The other fillers are rated as in `random-profiles`.
    """

    needs: ClassVar[LogKnowledge] = "statistics"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("demote",)
    rated: ClassVar[bool] = True
    kind: Literal["reverse-bandwagon"] = "reverse-bandwagon"
    items: Literal["disliked", "unpopular"] = "disliked"
    """Which items stand beside the target at the lowest rating: `disliked`, those of lowest
    mean among the better known half of the rated ones; or `unpopular`, those with the fewest
    events."""
    share: Share = 0.5
    """Of the fillers that are such items; the same in every profile."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: StatisticsView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        worst, _ = extremes(view, goal)
        shunned = self._shunned(view)

        def fill(_: int, size: int) -> Draft:
            chosen = shunned[: round(self.share * size)]
            rest = drawn(np.setdiff1d(others(view), chosen), size - chosen.size, rng)
            return mixed((chosen, worst), (rest, rated(view, rest, rng, by_item=False)), rng)

        return written(view, goal, budget, rng, fill=fill, manner=self.manner, lengths=self.lengths)

    def _shunned(self, view: StatisticsView) -> Ints:
        """Item rows, the least liked first; no target."""
        free = others(view)
        counts = view.counts[free]
        if self.items == "unpopular":
            return free[np.argsort(counts, kind="stable")]
        # by means alone an item that one user disliked would come first
        obscure = counts < (np.median(counts[counts > 0]) if counts.any() else 0)
        return free[np.lexsort((view.means[free], obscure))]
