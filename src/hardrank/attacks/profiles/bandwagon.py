"""Company with the bestsellers."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import (
    Draft,
    Lengths,
    Manner,
    drawn,
    extremes,
    mixed,
    others,
    snapped,
    written,
)
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import CatalogueView
from hardrank.types import GoalKind, LogKnowledge, Share, Surface, spec

__all__ = ["Bandwagon"]


@spec
class Bandwagon:
    """Praise the bestsellers beside the target, so that many users resemble the fake ones.

    O'Mahony, Hurley, Kushmerick & Silvestre, ACM TOIT 4(4), 2004; Burke, Mobasher,
    Zabicki & Bhaumik, Identifying attack models for secure recommendation, Beyond
    Personalization 2005. There the random fillers are rated as in the random attack; here
    the attacker knows only what every visitor does, so they get any rating alike.
    """

    needs: ClassVar[LogKnowledge] = "catalogue"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["bandwagon"] = "bandwagon"
    share: Share = 0.5
    """Of the fillers that are bestsellers, at the top rating; the same in every profile."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: CatalogueView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        best, worst = extremes(view, goal)
        sellers = view.bestsellers[~np.isin(view.bestsellers, view.targets)]

        def fill(_: int, size: int) -> Draft:
            chosen = sellers[: round(self.share * size)]
            rest = drawn(np.setdiff1d(others(view), chosen), size - chosen.size, rng)
            ratings = snapped(view, rng.uniform(min(worst, best), max(worst, best), rest.size))
            return mixed((chosen, best), (rest, ratings), rng)

        return written(view, goal, budget, rng, fill=fill, manner=self.manner, lengths=self.lengths)
