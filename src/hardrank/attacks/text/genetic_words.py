"""A population of rewritings that mate."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.orderings import AnyOrdering, AsRead
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Genetic
from hardrank.attacks.transformations import AnyTransformation, NearWords
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["GeneticWords"]


@spec
class GeneticWords:
    """Breed texts whose words were replaced by words of near meaning.

    Alzantot et al., EMNLP 2018, arXiv:1804.07998, algorithm 1; see `Genetic` for what differs.
    The paper filters candidates by a language model; here the budget's similarity may. Good
    where several words only work together and queries are cheap. 30 generations of 19
    queries, fewer if nothing new comes up.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["genetic-words"] = "genetic-words"
    words: AnyTransformation = NearWords()
    """What may stand in a word's place."""
    ordering: AnyOrdering = AsRead()
    """Which words are tried first."""
    search: AnySearch = Genetic()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        return compose(
            view, goal, budget, rng, transformations=(self.words,),
            ordering=self.ordering, search=self.search,
        )  # fmt: skip
