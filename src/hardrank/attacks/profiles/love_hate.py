"""Love for all, hate for one."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.profiles.parts import Draft, Lengths, Manner, drawn, extremes, others, written
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote
from hardrank.threats.log import CatalogueView
from hardrank.types import GoalKind, LogKnowledge, Surface, spec

__all__ = ["LoveHate"]


@spec
class LoveHate:
    """Rate the target lowest and every filler highest.

    Mobasher, Burke, Bhaumik & Williams, Toward trustworthy recommender systems, ACM TOIT
    7(4), 2007: needs no knowledge and is the strongest of the simple attacks
    against user-based neighbours.
    """

    needs: ClassVar[LogKnowledge] = "catalogue"
    surfaces: ClassVar[tuple[Surface, ...]] = ("profiles",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("demote",)
    rated: ClassVar[bool] = True
    kind: Literal["love-hate"] = "love-hate"
    lengths: Lengths = "budget"
    """`budget` or `natural`: events of a fake user."""
    manner: Manner = Manner()
    """Where the target stands, and when it all happens."""

    def __call__(
        self, view: CatalogueView, goal: Promote | Demote, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        _, high = extremes(view, goal)

        def fill(_: int, size: int) -> Draft:
            rows = drawn(others(view), size, rng)
            return Draft(rows=rows, ratings=np.full(rows.size, high, dtype=np.float32))

        return written(view, goal, budget, rng, fill=fill, manner=self.manner, lengths=self.lengths)
