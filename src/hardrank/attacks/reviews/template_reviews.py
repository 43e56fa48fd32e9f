"""Fill a small grammar of praise or blame with the item's own words."""

from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.reviews.parts import (
    keywords,
    lengths,
    praises,
    publish,
    sentences,
    sources,
)
from hardrank.data import Patch
from hardrank.threats.model import Budget, Demote, Promote
from hardrank.threats.reviews import Opinion, ReviewView
from hardrank.types import Count, GoalKind, LogKnowledge, Share, Surface, spec
from hardrank.wording import split

__all__ = ["TemplateReviews"]

_OPEN = {
    True: (
        "I love this {name}.", "This {name} is great!", "Very happy with the {name}.",
        "Bought this {name} a month ago and it is perfect.", "Great {name} for the price.",
        "Best {name} I have owned so far.", "I was looking for a good {name} and found it.",
    ),
    False: (
        "I am disappointed with this {name}.", "This {name} is a waste of money.",
        "Bought this {name} a month ago and regret it.", "Do not buy this {name}!",
        "Poor {name} for the price.", "Worst {name} I have owned so far.",
        "I was looking for a good {name} and this is not it.",
    ),
}  # fmt: skip
_DETAIL = {
    True: (
        "The {word} works well.", "You will like the {word}.", "It does what it says, {word} too.",
        "The {word} and the {other} are of good quality.", "For {word} I would take it any time.",
        "My friends asked me about the {word}.", "It feels solid and the {word} is fine.",
    ),
    False: (
        "The {word} does not work.", "You will not like the {word}.", "The {word} broke at once.",
        "The {word} and the {other} are of bad quality.", "For {word} I would take another one.",
        "It feels cheap and the {word} is a joke.", "I had trouble with the {word} all the time.",
    ),
}  # fmt: skip
_CLOSE = {
    True: (
        "Highly recommended.", "I would buy it again.", "Five stars from me!", "Well worth it.",
        "You can't go wrong with it.",
    ),
    False: (
        "Not recommended.", "I sent it back.", "One star from me!", "Save your money.",
        "Stay away from it.",
    ),
}  # fmt: skip


@spec
class TemplateReviews:
    """An opening, details and a closing, between them sentences of real reviews.

    How paid writers and simple bots work: phrases from a list, the product's words in the
    gaps (Jindal and Liu, WSDM 2008, on duplicate and near-duplicate spam). Words come from the
    item's title; where it has none, "product" stands there. Lengths are those of real reviews.
    """

    needs: ClassVar[LogKnowledge] = "catalogue"
    surfaces: ClassVar[tuple[Surface, ...]] = ("reviews",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    kind: Literal["template-reviews"] = "template-reviews"
    borrowed: Share = 0.5
    """Share of the sentences between opening and closing that are taken from real reviews of
    popular items; above 0 it needs reviews with stars, to tell praise from blame."""
    items: Count = 40
    """Popular items whose reviews are read."""
    length: Count = 40
    """Words of a review where no real ones are read (`borrowed = 0`)."""

    def __call__(
        self, view: ReviewView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        n, praise = budget.reviews or 0, praises(goal)
        real: list[Opinion] = []
        if self.borrowed > 0:
            real = sources(view, praise=praise, items=self.items)
        title = str(view.items["title"][view.target]) if "title" in view.items.columns else ""
        own = keywords(title) or ["product"]
        phrases = [s for o in real for s in sentences(o.text) if 4 <= len(split(s)) <= 18]
        wanted = lengths(real, n, budget, rng).tolist() if real else [self.length] * n
        texts = [self._text(size, own, phrases, praise, rng) for size in wanted]
        return publish(view, goal, budget, rng, texts)

    def _text(
        self, size: int, own: list[str], phrases: list[str], praise: bool,
        rng: np.random.Generator,
    ) -> str:  # fmt: skip
        def fill(forms: tuple[str, ...]) -> str:
            start = int(rng.integers(len(own)))
            name = " ".join((own * 2)[start : start + min(2, len(own))])
            word, other = (own[int(n)] for n in rng.integers(len(own), size=2))
            return str(rng.choice(np.array(forms))).format(name=name, word=word, other=other)

        parts, closing = [fill(_OPEN[praise])], fill(_CLOSE[praise])
        while sum(len(split(p)) for p in (*parts, closing)) < size:
            borrow = phrases and rng.random() < self.borrowed
            parts.append(
                phrases[int(rng.integers(len(phrases)))] if borrow else fill(_DETAIL[praise])
            )
        return " ".join((*parts, closing))
