"""Any profile attack with its ratings blurred."""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.average_profiles import AverageProfiles
from hardrank.attacks.profiles.parts import extremes, snapped, step
from hardrank.attacks.profiles.plain import PlainAttack
from hardrank.data import AddProfile, Patch
from hardrank.errors import Unsupported
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LOG_VIEWS, LogView
from hardrank.types import Floats, GoalKind, LogKnowledge, NonNegative, Surface, spec

__all__ = ["Obfuscated"]


@spec
class Obfuscated:
    """Blur another attack's ratings, so that detectors that know its pattern miss it.

    Williams, Mobasher, Burke, Sandvig & Bhaumik, Detection of obfuscated attacks in
    collaborative recommender systems, ECAI workshop 2006: noise injection, user shifting,
    target shifting. The base attack sees no more than it needs by itself.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    rated: ClassVar[bool] = True
    kind: Literal["obfuscated"] = "obfuscated"
    base: PlainAttack = AverageProfiles()
    """The attack whose fillers are blurred; any but this one."""
    noise: NonNegative = 0.2
    """Deviation of the normal noise on each filler's rating, as a share of the scale's range;
    0 for none."""
    shift: NonNegative = 0.1
    """Deviation of the constant added to all fillers of one profile, as a share of the scale's
    range; 0 for none."""
    target_shift: bool = True
    """The target is rated one step from the end of the scale where there is such a step: 4 of
    5 to promote, 2 of 1 to 5 to demote."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        base: Any = self.base
        if goal.kind not in base.goals:
            raise Unsupported(f"obfuscated: the base attack '{base.kind}' cannot {goal.kind}")
        seen = LOG_VIEWS[base.needs](view.train, view.targets, view.run, view.detector)
        patch = base(seen, goal, budget, rng)
        best, worst = extremes(view, goal)
        star = self._star(view, best, worst)
        names = set(view.items["item_id"].gather(view.targets))
        return Patch(
            tuple(
                self._blurred(view, edit, names, star, rng)
                for edit in patch.edits
                if isinstance(edit, AddProfile)
            )
        )

    def _star(self, view: LogView, best: float, worst: float) -> float:
        """What the target is rated."""
        apart = step(view) or abs(best - worst) / 10
        if not self.target_shift or abs(best - worst) <= apart:
            return best
        return best + apart * float(np.sign(worst - best))

    def _blurred(
        self, view: LogView, edit: AddProfile, targets: set[str], star: float,
        rng: np.random.Generator,
    ) -> AddProfile:  # fmt: skip
        assert view.scale is not None and edit.ratings is not None, "the referee lets no other in"
        wide = view.scale[1] - view.scale[0]
        away = rng.normal(0, self.shift * wide) + rng.normal(
            0, self.noise * wide, size=len(edit.ratings)
        )
        given: Floats = snapped(view, np.asarray(edit.ratings) + away)
        ratings = (
            star if item in targets else round(float(r), 4)
            for item, r in zip(edit.item_ids, given, strict=True)
        )
        return replace(edit, ratings=tuple(ratings))
