"""Ascent led by what a victim's inside foretells, every step checked by its own answers."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.trail import Trail
from hardrank.recommender import Change, Forecast
from hardrank.threats import Budget, GradientView
from hardrank.wording import split

__all__ = ["Foresight", "Proposals", "ascend", "between"]

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Foresight:
    """What changes of one draft are expected to gain. One query when it is made."""

    aim: Aim
    draft: Draft
    forecast: Forecast
    thresholds: Doubles
    """(E,)"""

    @classmethod
    def of(cls, aim: Aim, draft: Draft) -> "Foresight":
        assert isinstance(aim.view, GradientView)
        view, target = aim.view, aim.target
        thresholds = view.thresholds(target).astype(np.float64)
        return cls(aim, draft, view.forecast(target, draft.text), thresholds)

    def values(self, changes: Sequence[Change]) -> Doubles:
        """(N,) as `Aim` would value them."""
        scores = self.forecast(changes).astype(np.float64)
        margins = scores - self.thresholds[:, None]
        return self.aim.weigh(margins, np.where(margins > 0, 1, self.aim.k + 1)).values


Proposals = Callable[[Foresight, Sequence[int]], Iterable[Draft]]
"""(foresight of a draft, slots that may be edited) -> drafts near it, most promising first."""


def ascend(aim: Aim, budget: Budget, propose: Proposals, *, rescored: int, patience: int) -> str:
    """The best text found. Each step reads the best text so far (one query), scores the
    `rescored` most promising of its neighbours exactly, and moves to the best of them.

    Where none is better, the next most promising are scored, `patience` times in a row. With
    fewer queries than that would take, each word of the budget gets an equal part of them.
    Deterministic if `propose` is.
    """
    trail, draft, step, fails = Trail.of(aim), Draft.of(aim.text), 0, 0
    ahead: list[Draft] = []
    while not trail.reached and fails < patience:
        if not ahead:
            if aim.view.left is not None and aim.view.left < 2:
                break
            slots = trail.open(draft, range(len(draft.words)), budget)
            ahead = list(propose(Foresight.of(aim, draft), slots))
        share = trail.share(budget, step)
        fresh = trail.fresh(ahead, rescored if share is None else min(rescored, max(share, 1)))
        if not fresh:
            break
        before = trail.text
        trail.ask(list(fresh))
        if trail.text == before:
            fails += 1
        else:
            draft, ahead, step, fails = fresh[trail.text], [], step + 1, 0
    return trail.text


def between(before: str, after: str) -> Change:
    """Words that join and leave when one filling takes the place of another, as they are
    written."""
    counts = Counter(split(after))
    counts.subtract(split(before))
    return tuple((word, n) for word, n in counts.items() if n)
