"""The control for every word attack: as many words, chosen blindly."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.parts import Shop
from hardrank.attacks.vocabulary import Positions, insert, said
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["RandomWords"]


@spec
class RandomWords:
    """Insert words drawn evenly from the vocabulary, without a query.

    Same vocabulary, positions and number of words as `greedy-words`: an attack that does no
    better than this has found nothing, and a victim that falls to this is not robust to noise.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "ranks"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["random-words"] = "random-words"
    vocabulary: Count = 60
    """Candidate words: the most bought words of the catalogue."""
    positions: Positions = ("front", "end")
    """Where a word may be put."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        words, edits = Shop.of(view).vocabulary(self.vocabulary), list[Edit]()
        for item in goal.items:
            text = self._rewrite(view, item, words, budget, rng)
            if text != view.text(item):
                edits.append(view.edit(item, text))
        return Patch(tuple(edits))

    def _rewrite(
        self, view: RankView, target: str, words: tuple[str, ...], budget: Budget,
        rng: np.random.Generator,
    ) -> str:  # fmt: skip
        """Words one by one until the budget is full or the vocabulary used up."""
        text = view.text(target)
        fresh = [w for w in words if w not in said(text)]
        for n in rng.permutation(len(fresh))[: budget.words]:
            position = self.positions[int(rng.integers(len(self.positions)))]
            longer = insert(text, fresh[int(n)], position)
            if not view.allows(target, [longer])[0]:
                break
            text = longer
        return text
