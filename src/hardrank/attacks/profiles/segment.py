"""Company with what the likely audience likes."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.kin import kin
from hardrank.attacks.profiles.parts import (
    Draft,
    Lengths,
    Manner,
    drawn,
    extremes,
    mixed,
    others,
    written,
)
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import LogView
from hardrank.types import GoalKind, LogKnowledge, Share, Surface, spec

__all__ = ["Segment"]


@spec
class Segment:
    """Praise what the target's likely audience likes, and rate the rest lowest.

    Burke, Mobasher, Bhaumik & Williams, Segment-based injection attacks against
    collaborative filtering recommender systems, ICDM 2005. There a person names the segment;
    here it is read from the log, see `kin`. In a log without ratings the other fillers would
    be praised as well: set `share = 1` to leave them out.
    """

    needs: ClassVar[LogKnowledge] = "log"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    rated: ClassVar[bool] = False
    kind: Literal["segment"] = "segment"
    share: Share = 0.5
    """Of the fillers that the segment likes, at the top rating; the same in every profile."""
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: LogView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        best, worst = extremes(view, goal)
        ranked = np.argsort(-kin(view), kind="stable")
        ranked = ranked[~np.isin(ranked, view.targets)]

        def fill(_: int, size: int) -> Draft:
            chosen = ranked[: round(self.share * size)]
            rest = drawn(np.setdiff1d(others(view), chosen), size - chosen.size, rng)
            return mixed((chosen, best), (rest, np.full(rest.size, worst)), rng)

        return written(view, goal, budget, rng, fill=fill, manner=self.manner, lengths=self.lengths)
