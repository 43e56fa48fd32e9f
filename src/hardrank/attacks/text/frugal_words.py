"""Bestsellers' words, with few questions."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.orderings import AnyOrdering, AsRead
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Frugal
from hardrank.attacks.transformations import AnyTransformation, InsertWords, SubstituteWords
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["FrugalWords"]


@spec
class FrugalWords:
    """Insert the most bought words or put them in place of others, led by a model of the answers.

    Our own; see `Frugal`. Good where each query costs money or draws attention: of the word
    attacks it gains most per query, and with the same queries most. About 2 (V + W) queries
    for a vocabulary of V words and a text of W, however many words are edited, and two dozen
    to make sure; fewer where the goal is reached before.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["frugal-words"] = "frugal-words"
    words: Annotated[tuple[AnyTransformation, ...], MinLen(1)] = (InsertWords(), SubstituteWords())
    """What may stand in or beside a word's place."""
    ordering: AnyOrdering = AsRead()
    """Which words are tried first."""
    search: AnySearch = Frugal()
    """What is asked for and kept."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        return compose(
            view, goal, budget, rng, transformations=self.words,
            ordering=self.ordering, search=self.search,
        )  # fmt: skip
