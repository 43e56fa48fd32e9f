"""Copies of the users whom most neighbourhoods listen to."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Manner, limits, written
from hardrank.attacks.profiles.sources import Kept, copied, copyable, in_degrees
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import Count, GoalKind, Ints, LogKnowledge, Surface, spec

__all__ = ["PowerUsers"]


@spec
class PowerUsers:
    """Copy the most influential users, the first of them first, and add the target.

    Wilson & Seminario, When power users attack: assessing impacts in collaborative
    recommender systems, RecSys 2013 (InDegree and NumRatings). The paper weighs neighbours by
    the correlation of ratings; here by the cosine of items, which a log without ratings has,
    too.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    rated: ClassVar[bool] = False
    kind: Literal["power-users"] = "power-users"
    by: Literal["in-degree", "events"] = "in-degree"
    """Influence: `in-degree`, of how many users one is a near neighbour; `events`, how many
    one has."""
    neighbours: Count = 20
    """Nearest users that each user listens to."""
    keep: Kept = "random"
    """`latest` or `random`: which events stay where the history is longer than the budget."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        ranked = self._ranked(view)
        models = np.resize(ranked, limits(budget)[0]) if ranked.size else ranked

        def fill(n: int, size: int) -> Draft:
            return copied(
                view.train, models, n, barred=view.targets, size=size, keep=self.keep, rng=rng
            )

        return written(view, goal, budget, rng, fill=fill, manner=self.manner)

    def _ranked(self, view: LogView) -> Ints:
        """Rows of the users to copy, the most influential first."""
        users = copyable(view.train, view.targets)
        if self.by == "in-degree":
            power = in_degrees(view.train, self.neighbours)
        else:
            power = np.diff(view.train.offsets)
        return users[np.argsort(-power[users], kind="stable")]
