"""Profiles of a variational autoencoder that has a surrogate recommender in its loss."""

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.generated import Generated
from hardrank.data import Patch
from hardrank.generators.interest_vae import InterestVae
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import GoalKind, LogKnowledge, Surface, spec

__all__ = ["InterestVaeProfiles"]


@spec
class InterestVaeProfiles(Generated):
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
    """The generator, and how it is trained on the log without an aim, once for all targets."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        """Raises `DataError` for a log with fewer than two users of two different items."""
        aimed = replace(self._aiming(self.vae), anneal=0)
        return self._drawn(view, goal, budget, rng, plain=self.vae, aimed=aimed)
