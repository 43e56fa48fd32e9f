"""Misspell the words that matter most."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.orderings import AnyOrdering, Importance
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.transformations import (
    DeleteCharacter,
    InsertCharacter,
    SubstituteCharacters,
    SwapCharacters,
)
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["DeepWordBug"]


@spec
class DeepWordBug:
    """Swap, substitute, delete or insert a character in the words that matter most.

    Gao et al., 2018, arXiv:1801.04354, section III. The paper scores words by how a
    classifier reads the text before and after them, then edits each by one rule without
    looking again; here a word's score is the attacker's gain when it is left out, and of
    the four edits the one that gains most is kept, if it gains at all. Good for demoting and
    for hiding from word lists; a misspelt word hardly promotes. At most W + 4 W candidates
    queries for W words, fewer once the budget is full.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["deepwordbug"] = "deepwordbug"
    candidates: Count = 1
    """Places tried in a word for each of the four edits."""
    keep_ends: bool = False
    """Leave the first and the last character of a word where they are: easier to read."""
    ordering: AnyOrdering = Importance()
    """Which words are tried first."""
    search: AnySearch = Greedy()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        n, ends = self.candidates, self.keep_ends
        edits = (
            SwapCharacters(candidates=n, keep_ends=ends),
            SubstituteCharacters(candidates=n, keep_ends=ends),
            DeleteCharacter(candidates=n, keep_ends=ends),
            InsertCharacter(candidates=n),
        )
        return compose(
            view, goal, budget, rng, transformations=edits, ordering=self.ordering,
            search=self.search,
        )  # fmt: skip
