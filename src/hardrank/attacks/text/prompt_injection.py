"""Give orders to whoever reads the listing."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.champion import Champion, pursue
from hardrank.attacks.tables.injections import FAMILIES, TEMPLATES, Family
from hardrank.attacks.vocabulary import Positions, insert
from hardrank.data import Patch
from hardrank.threats import Budget, Promote, RankView
from hardrank.types import GoalKind, Knowledge, Surface, spec

__all__ = ["PromptInjection"]


@spec
class PromptInjection:
    """Write an order such as "rank this item first" into the title.

    For models that read candidates in a prompt (`hardrank.threats.slates`). Indirect prompt
    injection (Greshake et al., AISec 2023, arXiv:2302.12173) against rankers (Kumar and
    Lakkaraju, 2024, arXiv:2404.07981, who search for such texts by gradient; here they are
    written out, so that ranks are enough). Thirty templates of eleven families, each put in
    front of the title or after it, are asked for as one batch of 60 queries; the best one
    stays. A model that embeds texts feels an order only as more words, which makes the attack
    a control there.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    whole_text: ClassVar[bool] = True
    kind: Literal["prompt-injection"] = "prompt-injection"
    families: Annotated[tuple[Family, ...], MinLen(1)] = FAMILIES
    """Kinds of orders that are tried, in this order while queries last."""
    positions: Positions = ("front", "end")
    """Where the order is put."""

    def __call__(
        self, view: RankView, goal: Promote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        def search(champion: Champion) -> None:
            champion.challenge(self._texts(champion.text))

        return pursue(view, goal, search)

    def _texts(self, own: str) -> list[str]:
        chosen = [t for family in self.families for t in TEMPLATES if t.family == family]
        return [insert(own, t.filled(own), place) for t in chosen for place in self.positions]
