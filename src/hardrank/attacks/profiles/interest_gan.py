"""Profiles of an interest GAN that has a surrogate recommender in its loss."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.generated import ROUND, generated
from hardrank.attacks.profiles.parts import Manner
from hardrank.data import Patch
from hardrank.generators.interest_gan import InterestGan, Slim
from hardrank.surrogates import EaseSurrogate, SurrogateSpec
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import (
    GoalKind,
    LogKnowledge,
    Natural,
    NonNegative,
    Positive,
    Share,
    Surface,
    spec,
)

__all__ = ["InterestGanProfiles"]


@spec
class InterestGanProfiles:
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
    """Of the training without an aim; its `beta` and `steps` are not read."""
    pretraining: Natural = 1000
    """Steps on the log without an aim, once for all targets."""
    beta: NonNegative = 5.0
    """Length of the recommender's gradient, as a share of the GAN's."""
    surrogate: SurrogateSpec = EaseSurrogate()
    """The attacker's own recommender. `ease` is exact, and only for some thousand items."""
    steps: Natural = 60
    """For each target."""
    learning_rate: Positive = 1e-2
    """Of the generator, in these steps."""
    keep: Share | None = None
    """Share of a real user's items that stay in each profile; None draws all of them. The more
    stay, the more a profile looks real and the less it promotes."""
    distilled: Slim | None = None
    """Sizes that the generator is distilled to once it is aimed; None draws from it as it is.
    To train a small one from the start, say `slim` in `gan`."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """Raises `DataError` for a log with fewer than two users of two different items."""
        plain = replace(
            self.gan, steps=self.pretraining, warmup=min(self.gan.warmup, self.pretraining)
        )
        aimed = replace(
            self.gan, steps=self.steps, warmup=0, every=ROUND, patience=0, average=0.0,
            beta=self.beta, learning_rate=self.learning_rate, alarms="stop",
        )  # fmt: skip
        return generated(
            view, goal, budget, rng, plain=plain, aimed=aimed, surrogate=self.surrogate,
            keep=self.keep, manner=self.manner, distilled=self.distilled,
        )  # fmt: skip
