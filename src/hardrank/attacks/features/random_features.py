"""The control for every feature attack."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.features import FeatureRankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["RandomFeatures"]


@spec
class RandomFeatures:
    """Move the features by the whole radius in a random direction, without a query."""

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "ranks"
    surfaces: ClassVar[tuple[Surface, ...]] = ("features",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["random-features"] = "random-features"

    def __call__(
        self, view: FeatureRankView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        direction = np.where(view.bounds.writable, rng.normal(size=view.clean.shape), 0)
        length = float(np.linalg.norm(direction))
        if not length:
            return Patch()
        moved = (view.clean + direction / length * view.radius).astype(np.float32)
        return Patch((view.edit(view.legal(moved)),))
