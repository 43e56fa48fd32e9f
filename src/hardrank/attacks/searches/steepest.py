"""All slots with all fillings, the best of them, and again."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Ordering, Shop, Transformation
from hardrank.attacks.trail import Trail, moves
from hardrank.threats import Budget
from hardrank.types import spec

__all__ = ["Steepest"]


@spec
class Steepest:
    """Try every filling of every slot in one batch, keep the best, until nothing gains.

    Greedy ascent over whole texts, as `greedy-words` does with insertions; a word that was
    edited may be edited once more. S slots with F fillings and a budget of n words cost up
    to S F n queries, and S F again for each later exchange. Where the queries do not reach,
    each word of the budget gets an equal part of them, spread over the slots.
    """

    kind: Literal["steepest"] = "steepest"

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        trail, draft, step = Trail.of(aim), Draft.of(aim.text), 0
        order = ordering(draft, aim, rng)
        while not trail.reached:
            near = moves(draft, trail.open(draft, order, budget), transformations, shop, rng)
            drafts, before = trail.fresh(near, trail.share(budget, step)), trail.text
            trail.ask(list(drafts))
            if trail.text == before:
                break
            draft, step = drafts[trail.text], step + 1
        return trail.text
