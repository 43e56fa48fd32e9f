"""White box: swap and insert words by the gradient of their embeddings."""

from collections.abc import Sequence
from itertools import count
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.flips import Flips
from hardrank.attacks.parts import Shop
from hardrank.attacks.trail import Trail, woven
from hardrank.attacks.vocabulary import Positions
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, GradientView, Promote
from hardrank.types import Count, Floats, GoalKind, Knowledge, Surface, spec

__all__ = ["HotFlip"]


@spec
class HotFlip:
    """Swap, insert or delete the word with the greatest first-order gain, by beam search.

    Ebrahimi et al., ACL 2018, arXiv:1712.06751, sections 3 and 5. The gain of word v in the
    place of word t is g_t . (e_v - e_t), g_t the gradient of the victim's loss by the
    embedding that stands there. The paper flips characters of a classifier and trusts the
    estimate; here words of an item are flipped, and the most promising are scored exactly
    before one is kept, since through a deep encoder the estimate is rough (rank correlation
    with the true gain 0.0 to 0.3 on titles of Amazon Beauty): `gradient-words` foretells
    better. Each step costs one query per gradient and `rescored` for the answers.
    """

    needs: ClassVar[Knowledge] = "gradients"
    uses: ClassVar[Knowledge] = "gradients"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["hotflip"] = "hotflip"
    vocabulary: Count = 5000
    """Candidate words: the most bought words of the catalogue."""
    positions: Positions = ("front", "end")
    """Where a word may be inserted."""
    width: Count = 2
    """Texts kept at each depth of the beam."""
    rescored: Count = 100
    """Texts scored exactly at each depth."""

    def __call__(
        self, view: GradientView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        words, edits = Shop.of(view).vocabulary(self.vocabulary), list[Edit]()
        embeddings = view.embed(words)
        for target in goal.items:
            aim = Aim.of(view, target, goal)
            if aim is None or aim.standing.reached[0]:
                continue
            text = self._search(aim, budget, words, embeddings)
            if text != aim.text:
                edits.append(view.edit(target, text))
        return Patch(tuple(edits))

    def _search(self, aim: Aim, budget: Budget, words: Sequence[str], embeddings: Floats) -> str:
        """Through the depths that the budget of words allows; without one, while they gain."""
        trail, beam = Trail.of(aim), [Draft.of(aim.text)]
        for depth in count() if budget.words is None else range(budget.words):
            affordable = len(beam) if aim.view.left is None else max(aim.view.left - 1, 0)
            rows = [
                Flips.of(aim, draft, words, embeddings, self.positions).best()
                for draft in beam[:affordable]
            ]
            share = trail.share(budget, depth)
            most = self.rescored if share is None else min(self.rescored, max(share, 1))
            fresh, before = trail.fresh(woven(rows), most), trail.text
            if not fresh:
                break
            values = trail.ask(list(fresh)).values
            if trail.reached or (budget.words is None and trail.text == before):
                break
            drafts = list(fresh.values())
            beam = [drafts[n] for n in np.argsort(-values, kind="stable")[: self.width]]
        return trail.text
