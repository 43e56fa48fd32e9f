"""Items rated as everybody rates them, and the target."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Lengths, Manner, drawn, others, rated, written
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import StatisticsView
from hardrank.types import GoalKind, LogKnowledge, Surface, spec

__all__ = ["AverageProfiles"]


@spec
class AverageProfiles:
    """Fill profiles with items drawn evenly, each rated as its own ratings scatter.

    Lam & Riedl, Shilling recommender systems for fun and profit, WWW 2004
    (AverageBot): ratings ~ N(mean, deviation) of each item. In a log without ratings it is
    the same as `random-profiles`.
    """

    needs: ClassVar[LogKnowledge] = "statistics"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    rated: ClassVar[bool] = False
    kind: Literal["average-profiles"] = "average-profiles"
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: StatisticsView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        free = others(view)

        def fill(_: int, size: int) -> Draft:
            rows = drawn(free, size, rng)
            return Draft(rows=rows, ratings=rated(view, rows, rng, by_item=True))

        return written(view, goal, budget, rng, fill=fill, manner=self.manner, lengths=self.lengths)
