"""Bugs in the words that matter most."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.orderings import AnyOrdering, Importance
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.transformations import (
    AnyTransformation,
    DeleteCharacter,
    InsertCharacter,
    SubstituteCharacters,
    SwapCharacters,
)
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["TextBugger"]


@spec
class TextBugger:
    """Split a word, leave out or swap inner letters, or write one that looks or lies alike.

    Li et al., NDSS 2019, arXiv:1812.05271, section III, algorithm 3 (black box): bugs Insert
    (a blank), Delete, Swap and Sub-C (a look-alike, and a neighbouring key). Its Sub-W, a word
    near by in a word space, is whatever stands in `words`. The first and the last letter stay
    under Delete and Swap. Words are ordered by the attacker's gain when they are left out,
    where the paper orders sentences first. Easier to read than DeepWordBug's, so good for what
    a person moderates; for demotion above all. At most W + 5 W candidates queries for W words,
    plus those of `words`, fewer once the budget is full.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["textbugger"] = "textbugger"
    candidates: Count = 1
    """Places tried in a word for each of the five edits."""
    words: tuple[AnyTransformation, ...] = ()
    """Substitutions of whole words, tried beside: the paper's Sub-W."""
    ordering: AnyOrdering = Importance()
    """Which words are tried first."""
    search: AnySearch = Greedy()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        n = self.candidates
        bugs = (
            InsertCharacter(what="blank", candidates=n),
            DeleteCharacter(candidates=n),
            SwapCharacters(candidates=n),
            SubstituteCharacters(by="lookalike", candidates=n),
            SubstituteCharacters(by="keyboard", candidates=n),
        )
        return compose(
            view, goal, budget, rng, transformations=(*bugs, *self.words),
            ordering=self.ordering, search=self.search,
        )  # fmt: skip
