"""The best few texts of each number of edits, each edited further."""

from collections.abc import Sequence
from itertools import count
from typing import Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Ordering, Shop, Transformation
from hardrank.attacks.trail import Trail, moves, woven
from hardrank.threats import Budget
from hardrank.types import Count, spec

__all__ = ["Beam"]


@spec
class Beam:
    """Keep the `width` best texts of each depth and try every filling of each; one batch a depth.

    Beam search as in HotFlip (Ebrahimi et al., ACL 2018, arXiv:1712.06751, section 3.2). A
    beam may go through texts that gain nothing by themselves; with a width above the number
    of texts it is exhaustive. S slots with F fillings, a budget of n words: up to
    S F (1 + width (n - 1)) queries, less what two ways lead to. Where they do not reach, each
    depth gets an equal part, spread over the beam and the slots. Without a limit on words it
    stops at the first depth that gains nothing.
    """

    kind: Literal["beam"] = "beam"
    width: Count = 4
    """Texts kept at each depth."""

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        trail, beam = Trail.of(aim), [Draft.of(aim.text)]
        order = ordering(beam[0], aim, rng)
        for depth in count() if budget.words is None else range(budget.words):
            rows = [
                moves(draft, trail.open(draft, order, budget), transformations, shop, rng)
                for draft in beam
            ]
            drafts, before = trail.fresh(woven(rows), trail.share(budget, depth)), trail.text
            if not drafts:
                break
            values = trail.ask(texts := list(drafts)).values
            if trail.reached or (budget.words is None and trail.text == before):
                break
            top = np.argsort(-values, kind="stable")[: self.width]
            beam = [drafts[texts[n]] for n in top]
        return trail.text
