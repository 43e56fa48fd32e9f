"""What a search has asked so far: no text is asked twice, and the best is never lost."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from hardrank.attacks.aim import Aim, Outcome
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop, Transformation, fillings
from hardrank.threats import Budget

__all__ = ["Trail", "moves", "woven"]

_CHUNK = 256
"""Texts held against the budget at once, where only the first few are wanted."""


@dataclass(eq=False)
class Trail:
    """The memory of one search for one target. Begins at the text as it stands."""

    aim: Aim
    text: str
    """The best so far, the first of equals; what reaches the goal is better than what does not."""
    value: float
    reached: bool
    asked: dict[str, float] = field(default_factory=dict)
    """Text -> what it is worth; the standing text too."""

    @classmethod
    def of(cls, aim: Aim) -> "Trail":
        value = float(aim.standing.values[0])
        return cls(aim, aim.text, value, bool(aim.standing.reached[0]), {aim.text: value})

    def fresh(self, texts: Iterable[str], most: int | None = None) -> list[str]:
        """The first `most` of the texts that were not asked before and that the budget permits,
        in their order; no more than queries are left."""
        left = self.aim.view.left
        most = left if most is None else most if left is None else min(most, left)
        new = [t for t in dict.fromkeys(texts) if t not in self.asked]
        if most is None:
            return self.aim.affordable(new)
        found: list[str] = []
        for start in range(0, len(new), max(_CHUNK, most)):
            if len(found) >= most:
                break
            found += self.aim.affordable(new[start : start + max(_CHUNK, most)])
        return found[:most]

    def ask(self, texts: Sequence[str]) -> Outcome:
        """One query a text; remembers what was found."""
        return self.note(texts, self.aim(texts))

    def note(self, texts: Sequence[str], found: Outcome) -> Outcome:
        """Remember what was found of texts that were asked."""
        self.asked.update(zip(texts, found.values.tolist(), strict=True))
        if len(texts):
            value, reached = float(found.values[found.best]), bool(found.reached[found.best])
            if (reached, value) > (self.reached, self.value):
                self.text, self.value, self.reached = texts[found.best], value, reached
        return found

    def share(self, budget: Budget, step: int) -> int | None:
        """Queries for one of several steps, the first being 0: an equal part of those left for
        each word that may still be edited, so that the last word finds some too. All of them
        where no limit on words tells the number of steps."""
        left = self.aim.view.left
        if left is None or budget.words is None:
            return left
        return -(-left // max(1, budget.words - step))


def moves(
    draft: Draft,
    slots: Sequence[int],
    transformations: Sequence[Transformation],
    shop: Shop,
    rng: np.random.Generator,
) -> dict[str, Draft]:
    """Text -> draft of everything one filling away: the most promising filling of each slot,
    then the second of each, and so on. Cut anywhere, it is fair to all slots."""
    rows = [fillings(draft, slot, transformations, shop, rng) for slot in slots]
    return woven([{d.text: d for d in row} for row in rows])


def woven(rows: Sequence[dict[str, Draft]]) -> dict[str, Draft]:
    """The first of each row, then the second of each; a text twice counts where it is first."""
    made: dict[str, Draft] = {}
    for column in zip_longest(*(row.items() for row in rows)):
        for entry in column:
            if entry is not None:
                made.setdefault(*entry)
    return made
