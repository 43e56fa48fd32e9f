"""The control for every history attack: as many events, chosen blindly."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.history.moves import Move
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Degrade, Demote, Promote
from hardrank.threats.history import HistoryRankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["RandomEvents"]


@spec
class RandomEvents:
    """Append events of items drawn evenly from the catalogue, without a query."""

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "ranks"
    surfaces: ClassVar[tuple[Surface, ...]] = ("history",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote", "degrade")
    whole_text: ClassVar[bool] = False
    kind: Literal["random-events"] = "random-events"
    most: Count = 3
    """Events appended where the budget does not limit them."""

    def __call__(
        self, view: HistoryRankView, goal: Promote | Demote | Degrade, budget: Budget,
        rng: np.random.Generator,
    ) -> Patch:  # fmt: skip
        barred = {*view.watched.tolist(), *view.history}
        free = [i for i in range(view.items.height) if i not in barred]
        most = self.most if budget.events is None else budget.events
        drawn = rng.permutation(len(free))[:most]
        names, start = view.items["item_id"].to_list(), len(view.history)
        moves = [Move("insert", start + n, free[int(i)]) for n, i in enumerate(drawn)]
        return Patch(tuple[Edit, ...](move.edit(view.user, names) for move in moves))
