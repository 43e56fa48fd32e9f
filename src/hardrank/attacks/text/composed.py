"""Any ordering, any transformations, any search."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.orderings import AnyOrdering, Importance
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.transformations import AnyTransformation, InsertWords
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["Composed"]


@spec
class Composed:
    """An attack put together from parts: for recipes that have no name here.

    Every named recipe of this kind is the same with its parts chosen.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["composed"] = "composed"
    transformations: Annotated[tuple[AnyTransformation, ...], MinLen(1)] = (InsertWords(),)
    """What may stand in a slot; candidates of all are tried together."""
    ordering: AnyOrdering = Importance()
    """Which slots are tried first."""
    search: AnySearch = Greedy()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        return compose(
            view, goal, budget, rng, transformations=self.transformations,
            ordering=self.ordering, search=self.search,
        )  # fmt: skip
