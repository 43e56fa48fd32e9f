"""The control for every character attack: the same edits in words chosen blindly."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.draft import Draft
from hardrank.attacks.letters import draw
from hardrank.attacks.parts import Shop, fillings
from hardrank.attacks.transformations import (
    DeleteCharacter,
    InsertCharacter,
    SubstituteCharacters,
    SwapCharacters,
)
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["RandomCharacters"]


@spec
class RandomCharacters:
    """One of DeepWordBug's four edits, drawn evenly, in words drawn evenly. No query.

    Goes on until the budget is full or every word is edited: an attack on characters that
    does no better has found nothing, and a victim that falls to this is not robust to noise.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "ranks"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["random-characters"] = "random-characters"
    keep_ends: bool = False
    """Leave the first and the last character of a word where they are."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        shop, edits = Shop.of(view), list[Edit]()
        for item in goal.items:
            text = self._rewrite(view, item, shop, rng)
            if text != view.text(item):
                edits.append(view.edit(item, text))
        return Patch(tuple(edits))

    def _rewrite(self, view: RankView, target: str, shop: Shop, rng: np.random.Generator) -> str:
        ends = self.keep_ends
        ways = (
            SwapCharacters(keep_ends=ends), SubstituteCharacters(keep_ends=ends),
            DeleteCharacter(keep_ends=ends), InsertCharacter(),
        )  # fmt: skip
        draft = Draft.of(view.text(target))
        for slot in rng.permutation(len(draft.words)).tolist():
            edited = draw(fillings(draft, slot, ways, shop, rng), 1, rng)
            if not edited:
                continue
            if not view.allows(target, [edited[0].text])[0]:
                break
            draft = edited[0]
        return draft.text
