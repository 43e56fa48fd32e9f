"""Insertion, replacement and re-ordering of events, greedy."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.history.moves import Move, pool
from hardrank.attacks.history.search import climb
from hardrank.data import Patch
from hardrank.threats import Budget, Degrade, Demote, Promote
from hardrank.threats.history import HistoryGradientView, HistoryRankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["InsertEvents", "ReorderEvents", "ReplaceEvents"]

Goal = Promote | Demote | Degrade


@spec
class InsertEvents:
    """Slip events into a user's recent history: at each step the item and place that gain most.

    A click robot on a hijacked session. Black box: `items` from the bestsellers and at random,
    at the last `places` places. White box: all items of the catalogue, ordered by the gradient
    at the events' vectors, as HotFlip orders words (Ebrahimi et al., ACL 2018,
    arXiv:1712.06751), of which the most promising `ask` are tried. A step costs at most `ask`
    queries, a white-box one twice as many and 1 more.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "gradients"
    surfaces: ClassVar[tuple[Surface, ...]] = ("history",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote", "degrade")
    whole_text: ClassVar[bool] = False
    kind: Literal["insert-events"] = "insert-events"
    items: Count = 40
    """Items tried by a black box: half bestsellers, half at random."""
    places: Count = 1
    """How many of the last places are tried; 1 is after the last event."""
    ask: Count = 60
    """Most versions asked for in a step."""

    def __call__(
        self, view: HistoryRankView, goal: Goal, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        def moves(view: HistoryRankView, history: Sequence[int]) -> list[Move]:
            chosen = _choice(view, history, self.items, drawn)
            ends = range(len(history), max(-1, len(history) - self.places), -1)
            return [Move("insert", place, item) for place in ends for item in chosen]

        drawn = pool(view, self.items, rng)
        return climb(view, goal, budget, moves, ask=self.ask)


@spec
class ReplaceEvents:
    """Exchange recent events for others: as `insert-events`, but the history keeps its length.

    Falsified tracking, or a history that the platform rewrites itself. The last `places`
    events can be replaced. A step costs at most `ask` queries, a white-box one twice as many
    and 1 more.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "gradients"
    surfaces: ClassVar[tuple[Surface, ...]] = ("history",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote", "degrade")
    whole_text: ClassVar[bool] = False
    kind: Literal["replace-events"] = "replace-events"
    items: Count = 20
    """Items tried by a black box: half bestsellers, half at random."""
    places: Count = 3
    """How many of the last events may be replaced."""
    ask: Count = 60
    """Most versions asked for in a step."""

    def __call__(
        self, view: HistoryRankView, goal: Goal, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        def moves(view: HistoryRankView, history: Sequence[int]) -> list[Move]:
            chosen = _choice(view, history, self.items, drawn)
            ends = range(len(history) - 1, max(-1, len(history) - 1 - self.places), -1)
            return [Move("replace", place, item) for item in chosen for place in ends]

        drawn = pool(view, self.items, rng)
        return climb(view, goal, budget, moves, ask=self.ask)


@spec
class ReorderEvents:
    """Let old events look recent: move events of the history to its end, and back.

    The weakest write access: nothing is added, only time stamps change. Each of the last
    `window` events is tried at the end, and the last one at each of their places. A step
    costs at most 2 `window` queries.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("history",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote", "degrade")
    whole_text: ClassVar[bool] = False
    kind: Literal["reorder-events"] = "reorder-events"
    window: Count = 20
    """How many of the last events may be moved."""

    def __call__(
        self, view: HistoryRankView, goal: Goal, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        def moves(view: HistoryRankView, history: Sequence[int]) -> list[Move]:
            last = len(history) - 1
            places = range(last - 1, max(-1, last - self.window), -1)
            up = [Move("move", place, to=last) for place in places]
            return up + [Move("move", last, to=place) for place in places]

        return climb(view, goal, budget, moves, ask=2 * self.window)


def _choice(
    view: HistoryRankView, history: Sequence[int], size: int, drawn: Sequence[int]
) -> list[int]:
    """What was drawn; a white box looks at the rest of the catalogue, too."""
    barred = {*view.watched.tolist(), *history}
    items = dict.fromkeys(drawn[:size])
    if isinstance(view, HistoryGradientView):
        items |= dict.fromkeys(range(view.items.height))
    return [i for i in items if i not in barred]
