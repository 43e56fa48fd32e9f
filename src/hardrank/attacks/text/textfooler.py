"""Words of near meaning in the places that matter most."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.orderings import AnyOrdering, Importance
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.transformations import AnyTransformation, NearWords
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["TextFooler"]


@spec
class TextFooler:
    """Take words by importance; put the word of near meaning there that gains most.

    Jin et al., AAAI 2020, arXiv:1907.11932, algorithm 1. The paper takes candidates from
    counter-fitted vectors, checks parts of speech and sentence similarity itself, and keeps
    the most similar candidate that flips a label; here `words` says what is near, similarity
    is the referee's (`Budget.similarity`), and the candidate that gains most is kept. Good for
    rewritings within the topic. At most W + (neighbours of all W words) queries, at most 30
    for a word; it stops when the budget of words is full and the goal or queries say so.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["textfooler"] = "textfooler"
    words: AnyTransformation = NearWords()
    """What may stand in a word's place; `synonyms` to go without an encoder."""
    ordering: AnyOrdering = Importance()
    """Which words are tried first."""
    search: AnySearch = Greedy()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        return compose(
            view, goal, budget, rng, transformations=(self.words,),
            ordering=self.ordering, search=self.search,
        )  # fmt: skip
