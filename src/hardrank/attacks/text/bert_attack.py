"""Words that a masked language model expects."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.orderings import AnyOrdering, Unknown
from hardrank.attacks.parts import compose
from hardrank.attacks.searches import AnySearch, Greedy
from hardrank.attacks.transformations import MaskedLMReplace
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["BertAttack"]


@spec
class BertAttack:
    """Take words by importance; put the likely word there that gains most.

    Li et al., EMNLP 2020, arXiv:2004.09984, algorithm 1. Importance is the attacker's gain
    when a word is hidden behind `[MASK]`, candidates are what a masked language model
    expects there. The paper's model is BERT, whose sub-words it combines; here it is any
    folder, or a small model that is trained on the catalogue's own texts, and candidates are
    whole words. Good for fluent titles that say something else. W + W x 30 queries at most.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["bert-attack"] = "bert-attack"
    words: MaskedLMReplace = MaskedLMReplace()
    """The attacker's language model, and how many of its words are tried."""
    ordering: AnyOrdering = Unknown(token="[MASK]")
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
