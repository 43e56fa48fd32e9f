"""Popular items rated as everybody rates them, and the target."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Lengths, Manner, drawn, others, rated, written
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import StatisticsView
from hardrank.types import GoalKind, LogKnowledge, Share, Surface, spec

__all__ = ["PopularFillers"]


@spec
class PopularFillers:
    """Fill profiles with popular items, each rated as its own ratings scatter.

    Average over popular items (AOP): Hurley, Cheng & Zhang, Statistical attack detection,
    RecSys 2009. Fillers drawn evenly give the average attack away; real users
    touch what is popular, and so do these.
    """

    needs: ClassVar[LogKnowledge] = "statistics"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = (
        "promote",
        "demote",
    )
    rated: ClassVar[bool] = False
    kind: Literal["popular-fillers"] = "popular-fillers"
    pool: Share = 0.2
    """Of the catalogue's items, the most popular first, from which fillers are drawn; as many
    more as a profile needs."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: StatisticsView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        free = others(view)
        ranked = free[np.argsort(-view.counts[free], kind="stable")]

        def fill(_: int, size: int) -> Draft:
            popular = ranked[: max(round(self.pool * ranked.size), size)]
            rows = drawn(popular, size, rng)
            return Draft(rows=rows, ratings=rated(view, rows, rng, by_item=True))

        return written(view, goal, budget, rng, fill=fill, manner=self.manner, lengths=self.lengths)
