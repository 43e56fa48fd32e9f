"""Synonyms, weighted by saliency."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.orderings import AnyOrdering, AsRead
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Weighted
from hardrank.attacks.transformations import Synonyms
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["Pwws"]


@spec
class Pwws:
    """Replace words by synonyms in the order of saliency times gain.

    Probability weighted word saliency: Ren et al., ACL 2019, https://aclanthology.org/P19-1103,
    section 3.2. The paper changes a label and goes on until it has; here the gain is the soft
    exposure, and a budget ends it. Good for rewritings that a reader takes for the seller's
    own style: the meaning stays, so it moves a target less than words of other items do.
    W + (synonyms of all W words) + n queries for n edited words. Raises `Unsupported` where
    there is no WordNet.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["pwws"] = "pwws"
    words: Synonyms = Synonyms()
    """Where synonyms come from."""
    ordering: AnyOrdering = AsRead()
    """Which words are tried first."""
    search: AnySearch = Weighted()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        return compose(
            view, goal, budget, rng, transformations=(self.words,),
            ordering=self.ordering, search=self.search,
        )  # fmt: skip
