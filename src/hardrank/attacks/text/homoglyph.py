"""Words that look the same and are not."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.orderings import AnyOrdering, Importance
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.tables.confusables import Script
from hardrank.attacks.transformations import ConfuseCharacters
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["Homoglyph"]


@spec
class Homoglyph:
    """Write the words that matter most with Unicode confusables.

    Boucher et al., IEEE S&P 2022, arXiv:2106.09898, section IV; the paper searches by
    differential evolution, here words are ordered by the attacker's gain when they are left
    out. To a tokeniser a word is broken, to a reader nothing happened: good for hiding a word
    of one's own from a victim and for escaping filters; it adds nothing that would promote.
    A guard that maps text to the skeletons of UTS 39 undoes it. At most W + W candidates
    queries for W words, fewer once the budget is full.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["homoglyph"] = "homoglyph"
    scripts: Annotated[tuple[Script, ...], MinLen(1)] = ("cyrillic", "greek")
    """Where the look-alikes come from."""
    whole_word: bool = False
    """Replace every character of a word that has a twin, not one."""
    candidates: Count = 3
    """Ways tried in a word."""
    ordering: AnyOrdering = Importance()
    """Which words are tried first."""
    search: AnySearch = Greedy()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        twins = ConfuseCharacters(
            scripts=self.scripts, whole_word=self.whole_word, candidates=self.candidates
        )
        return compose(
            view, goal, budget, rng, transformations=(twins,), ordering=self.ordering,
            search=self.search,
        )  # fmt: skip
