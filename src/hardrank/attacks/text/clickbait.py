"""Shout in front of the title."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import MinLen

from hardrank.attacks.champion import Champion, pursue
from hardrank.attacks.vocabulary import insert
from hardrank.data import Patch
from hardrank.threats import Budget, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["PHRASES", "Clickbait"]

Language = Literal["en", "zh"]
PHRASES: dict[Language, tuple[str, ...]] = {
    "en": (
        "Best Seller!", "2-Pack", "New & Improved", "Top Rated", "Limited Time Offer",
        "As Seen on TV", "#1 Choice", "Free Shipping", "50% Off", "Customer Favorite",
        "Award Winning", "Premium Quality", "Professional Grade", "Must Have!",
        "Buy 1 Get 1 Free", "Gift Set", "Original", "Hot Sale", "Editor's Pick", "Value Pack",
        "Recommended by Experts", "100% Satisfaction Guaranteed", "Back in Stock",
        "You Won't Believe This",
    ),
    "zh": (
        "热卖", "爆款", "新品上市", "限时特价", "买一送一", "销量第一", "包邮", "官方正品",
        "好评如潮", "专家推荐",
    ),
}  # fmt: skip
"""Sales talk of many shops, of one to five words each."""


@spec
class Clickbait:
    """Put stock phrases of sellers in front of the title: "Best Seller!", "2-Pack", 热卖.

    Headlines that bait clicks are described by Potthast et al., ECIR 2016 (Clickbait
    Detection); for sellers' titles no paper is needed. Each phrase costs one query, the best
    one stays, and others may join it in front: at most 34 queries a phrase. It says how much
    a victim believes of what every seller says; where it gains nothing, the victim reads
    such talk as noise. Phrases in the title's own script are tried first.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote",)
    whole_text: ClassVar[bool] = False
    kind: Literal["clickbait"] = "clickbait"
    languages: Annotated[tuple[Language, ...], MinLen(1)] = ("en", "zh")
    """Of the phrases."""
    phrases: Count = 2
    """Phrases put in front at most, one after another."""

    def __call__(
        self, view: RankView, goal: Promote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        return pursue(view, goal, self._bait)

    def _bait(self, champion: Champion) -> None:
        left = self._ordered(champion.text)
        for _ in range(self.phrases):
            texts = {insert(champion.text, phrase, "front"): phrase for phrase in left}
            if champion.reached or not champion.challenge(list(texts)):
                break
            left.remove(texts[champion.text])

    def _ordered(self, text: str) -> list[str]:
        chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
        ranked = sorted(self.languages, key=lambda name: (name == "zh") != chinese)
        return [phrase for name in dict.fromkeys(ranked) for phrase in PHRASES[name]]
