"""The control for every profile attack: fillers and ratings drawn blindly."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Lengths, Manner, drawn, others, rated, written
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import StatisticsView
from hardrank.types import GoalKind, LogKnowledge, Surface, spec

__all__ = ["RandomProfiles"]


@spec
class RandomProfiles:
    """Fill profiles with items drawn evenly, rated as the average rating scatters.

    Lam & Riedl, Shilling recommender systems for fun and profit, WWW 2004
    (RandomBot): ratings ~ N(mean, deviation) of the whole log, the target at the best end
    of the scale.
    """

    needs: ClassVar[LogKnowledge] = "statistics"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    rated: ClassVar[bool] = False
    kind: Literal["random-profiles"] = "random-profiles"
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
            return Draft(rows=rows, ratings=rated(view, rows, rng, by_item=False))

        return written(view, goal, budget, rng, fill=fill, manner=self.manner, lengths=self.lengths)
