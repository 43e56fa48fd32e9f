"""Profiles of a variational autoencoder that has a surrogate recommender in its loss."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.generated import ROUND, generated
from hardrank.attacks.profiles.parts import Manner
from hardrank.data import Patch
from hardrank.generators.interest_vae import InterestVae
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

__all__ = ["InterestVaeProfiles"]


@spec
class InterestVaeProfiles:
    """Draw fake users from a variational generator of interests that learned to promote.

    `interest-gan` with another generator: Mult-VAE (Liang et al., WWW 2018, arXiv:1802.05814)
    in place of the two players. It is trained on the log once, without an aim; for each
    target it learns on for `steps` steps with L_VAE + beta * L_promotion, `beta` being how
    long the recommender's gradient is beside the VAE's. With beta = 0 the profiles merely
    follow the log. Ratings follow each item's own.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["interest-vae"] = "interest-vae"
    vae: InterestVae = InterestVae()
    """Of the training without an aim; its `beta` and `steps` are not read."""
    pretraining: Natural = 1000
    """Steps on the log without an aim, once for all targets."""
    beta: NonNegative = 5.0
    """Length of the recommender's gradient, as a share of the VAE's."""
    surrogate: SurrogateSpec = EaseSurrogate()
    """The attacker's own recommender. `ease` is exact, and only for some thousand items."""
    steps: Natural = 60
    """For each target."""
    learning_rate: Positive = 1e-2
    """Of the generator, in these steps."""
    keep: Share | None = None
    """Share of a real user's items that stay in each profile; None draws all of them. The more
    stay, the more a profile looks real and the less it promotes."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """Raises `DataError` for a log with fewer than two users of two different items."""
        plain = replace(self.vae, steps=self.pretraining)
        aimed = replace(
            self.vae, steps=self.steps, anneal=0, every=ROUND, average=0.0, beta=self.beta,
            learning_rate=self.learning_rate, alarms="stop",
        )  # fmt: skip
        return generated(
            view, goal, budget, rng, plain=plain, aimed=aimed, surrogate=self.surrogate,
            keep=self.keep, manner=self.manner,
        )  # fmt: skip
