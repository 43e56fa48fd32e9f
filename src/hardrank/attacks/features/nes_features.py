"""Climb numbers by estimated gradients: no access to the model needed."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, MultipleOf

from hardrank.attacks.features.gain import gain_of
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.features import FeatureRankView
from hardrank.types import Count, GoalKind, Knowledge, Positive, Surface, spec

__all__ = ["NesFeatures"]


@spec
class NesFeatures:
    """Natural evolution strategies: the slope from pairs of opposite random steps.

    Ilyas et al., ICML 2018, arXiv:1804.08598, section 2.1. Works with ranks alone. A step costs
    `samples` queries for the slope and 1 to see whether it gained; without gain the step
    length is halved.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("features",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["nes-features"] = "nes-features"
    steps: Count = 20
    """Steps up the slope."""
    samples: Annotated[int, Ge(2), MultipleOf(2)] = 20
    """Queries behind each slope; even."""
    noise: Positive = 0.1
    """Length of the trial steps, as a share of the radius."""

    def __call__(
        self, view: FeatureRankView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        gain, best = gain_of(view, goal)
        here, length = view.clean.copy(), 0.5 * view.radius
        for _ in range(self.steps):
            if view.left is not None and view.left < self.samples + 1:
                break
            drawn = rng.normal(size=(self.samples // 2, len(here)))
            drawn = np.where(view.bounds.writable, drawn, 0)
            norms = np.linalg.norm(drawn, axis=1, keepdims=True)
            drawn = drawn / np.where(norms > 0, norms, 1)
            both = np.concatenate([drawn, -drawn]) * self.noise * view.radius
            values = gain(view.legal((here + both).astype(np.float32)))
            slope = (np.nan_to_num(values)[:, None] * both).sum(axis=0)
            size = float(np.linalg.norm(slope))
            if not size:
                break
            there = view.legal((here + slope / size * length).astype(np.float32)[None])
            value = float(gain(there)[0])
            if value > best:
                here, best = there[0], value
            else:
                length /= 2
        return Patch() if np.array_equal(here, view.clean) else Patch((view.edit(here),))
