"""Profiles of an interest GAN that has a surrogate recommender in its loss."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.generated import Generated
from hardrank.data import Patch
from hardrank.generators.interest_gan import InterestGan, Slim
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import GoalKind, LogKnowledge, Surface, spec

__all__ = ["InterestGanProfiles"]


@spec
class InterestGanProfiles(Generated):
    """Draw fake users from a generator of interests, given real ones, that learned to promote.

    The generator is trained on the log once, without an aim; for each target it learns on for
    `steps` steps with L_GAN + beta * L_promotion, as AdvGAN does (Xiao et al., IJCAI 2018,
    arXiv:1801.02610, equation 3) and Leg-UP and TrialAttack for profiles. Ours draws whole
    sets of items, and `beta` is relative: how long the recommender's gradient is beside the
    GAN's. With beta = 0 the profiles merely pass for real. Ratings follow each item's own.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["interest-gan"] = "interest-gan"
    gan: InterestGan = InterestGan()
    """The generator, and how it is trained on the log without an aim, once for all targets."""
    distilled: Slim | None = None
    """Sizes that the generator is distilled to once it is aimed; None draws from it as it is.
    To train a small one from the start, say `slim` in `gan`."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """Raises `DataError` for a log with fewer than two users of two different items."""
        aimed = replace(self._aiming(self.gan), warmup=0, patience=0)
        return self._drawn(
            view, goal, budget, rng, plain=self.gan, aimed=aimed, distilled=self.distilled
        )
