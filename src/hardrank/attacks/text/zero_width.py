"""Words with something in them that nobody sees."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.orderings import AnyOrdering, Importance
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.transformations import InsertZeroWidth
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["ZeroWidth"]


@spec
class ZeroWidth:
    """Put an invisible character into the words that matter most.

    Boucher et al., IEEE S&P 2022, arXiv:2106.09898, section IV; the paper searches by
    differential evolution, here words are ordered by the attacker's gain when they are left
    out. A reader sees nothing; a tokeniser splits the word, reads an unknown one, or throws
    the character away, in which case nothing happens. Good for hiding a word of one's own and
    for escaping filters; it adds nothing that would promote. A guard that strips format
    characters (Unicode category Cf) undoes it. At most W + W candidates queries for W words,
    fewer once the budget is full.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["zero-width"] = "zero-width"
    candidates: Count = 3
    """Ways tried in a word."""
    ordering: AnyOrdering = Importance()
    """Which words are tried first."""
    search: AnySearch = Greedy()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        return compose(
            view, goal, budget, rng, ordering=self.ordering, search=self.search,
            transformations=(InsertZeroWidth(candidates=self.candidates),),
        )  # fmt: skip
