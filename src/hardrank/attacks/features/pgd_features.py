"""Projected gradient ascent on numbers."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.features.gain import gain_of
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.features import FeatureGradientView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["PgdFeatures"]


@spec
class PgdFeatures:
    """Steepest ascent inside ball and bounds; the best point seen is kept.

    Madry et al., ICLR 2018, arXiv:1706.06083, for images; here any numbers. A step costs two
    queries: the slope and the look at where it led.
    """

    needs: ClassVar[Knowledge] = "gradients"
    uses: ClassVar[Knowledge] = "gradients"
    surfaces: ClassVar[tuple[Surface, ...]] = ("features",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["pgd-features"] = "pgd-features"
    steps: Count = 20
    """Steps; each moves 2.5 / steps of the radius."""

    def __call__(
        self, view: FeatureGradientView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        gain, best = gain_of(view, goal)
        here, winner = view.clean.copy(), view.clean
        for _ in range(self.steps):
            if view.left is not None and view.left < 2:
                break
            slope = np.where(view.bounds.writable, view.gradient(here), 0)
            size = float(np.linalg.norm(slope))
            if not np.isfinite(size) or not size:
                break
            step = 2.5 / self.steps * view.radius * slope / size
            here = view.legal((here + step).astype(np.float32)[None])[0]
            value = float(gain(here[None])[0])
            if value > best:
                winner, best = here.copy(), value
        return Patch() if np.array_equal(winner, view.clean) else Patch((view.edit(winner),))
