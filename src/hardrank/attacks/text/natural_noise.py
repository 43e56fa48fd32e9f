"""The control for every attack on text: what happens without anybody's intent."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Le, MinLen

from hardrank.attacks.noise import Noise, add_noise, nominal
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["NaturalNoise"]


@spec
class NaturalNoise:
    """Typos, misreadings, cut, shuffled or missing words, at one of five severities. No query.

    Edits are drawn evenly over the text, whatever the goal: a victim that moves more under
    this than users would forgive is not robust to begin with, and an attack that gains no more
    than this has found nothing. Severities 1 to 5 edit 2, 4, 6, 8, 10 % of the characters
    (typos, ocr, homophones of Chinese characters) or 5, 10, 20, 30, 40 % of the words
    (truncation, shuffled-words, missing-words). Of several kinds each text gets one, drawn
    evenly. Where the budget permits less, there is less.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "ranks"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["natural-noise"] = "natural-noise"
    noise: Annotated[tuple[Noise, ...], MinLen(1)] = ("typos",)
    """Which kinds."""
    severity: Annotated[Count, Le(5)] = 3
    """1 for a trace to 5 for hardly legible."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        edits = list[Edit]()
        for item in goal.items:
            text = self._noisy(view, item, budget, rng)
            if text != view.text(item):
                edits.append(view.edit(item, text))
        return Patch(tuple(edits))

    def _noisy(self, view: RankView, target: str, budget: Budget, rng: np.random.Generator) -> str:
        before = view.text(target)
        kind = self.noise[int(rng.integers(len(self.noise)))]
        amount, seed = nominal(before, kind, self.severity, rng), int(rng.integers(2**63))
        if budget.characters is not None:
            amount = min(amount, budget.characters)

        def made(edits: int) -> str:
            return add_noise(before, kind, edits, np.random.default_rng(seed))

        most = _most(amount, lambda n: bool(view.allows(target, [made(n)])[0]))
        return made(most)


def _most(high: int, allowed: Callable[[int], bool]) -> int:
    """The largest number up to `high` that is allowed, by bisection; 0 always is."""
    if high == 0 or allowed(high):
        return high
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low
