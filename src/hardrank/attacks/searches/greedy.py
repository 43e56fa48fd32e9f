"""Slot by slot, the best filling of each."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Ordering, Shop, Transformation, fillings
from hardrank.threats import Budget
from hardrank.types import spec

__all__ = ["Greedy"]


@spec
class Greedy:
    """Take the slots in order; in each keep the filling that gains most, if it gains at all.

    The search of TextFooler (Jin et al., AAAI 2020, arXiv:1907.11932, algorithm 1) and of
    DeepWordBug. One batch of queries a slot. Stops when the goal is reached, or nothing
    affordable is left.
    """

    kind: Literal["greedy"] = "greedy"

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        draft, best = Draft.of(aim.text), float(aim.standing.values[0])
        for slot in ordering(draft, aim, rng):
            if aim.view.left == 0:
                break
            drafts = {d.text: d for d in fillings(draft, slot, transformations, shop, rng)}
            texts = aim.affordable(list(drafts))
            if not texts:
                continue
            found = aim(texts)
            if found.values[found.best] > best or found.reached[found.best]:
                draft, best = drafts[texts[found.best]], float(found.values[found.best])
            if found.reached[found.best]:
                break
        return draft.text
