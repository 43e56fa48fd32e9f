"""What a search has asked so far: no text is asked twice, and the best is never lost."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.aim import Aim, Outcome
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop, Transformation, choices
from hardrank.threats import Budget, count_edit
from hardrank.types import Ints

__all__ = ["Trail", "moves", "woven"]

Doubles = NDArray[np.float64]
_CHUNK = 128
"""Texts held against the budget at once, where only the first few are wanted."""
_FAILS = 32
"""Chunks in a row, none of which the budget permits, before the rest is given up."""


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

    def fresh(self, drafts: Iterable[Draft], most: int | None = None) -> dict[str, Draft]:
        """Text -> draft of the first `most` that were not asked before and that the budget
        permits, in their order; no more than queries are left. Draws no more than it needs."""
        left = self.aim.view.left
        most = left if most is None else most if left is None else min(most, left)
        rest, found, fails = iter(drafts), dict[str, Draft](), 0
        while (most is None or len(found) < most) and fails < _FAILS:
            chunk = list(islice(rest, None if most is None else _CHUNK))
            if not chunk:
                break
            new = {d.text: d for d in chunk if d.text not in self.asked and d.text not in found}
            allowed = self.aim.affordable(list(new))
            found |= {text: new[text] for text in allowed}
            fails = 0 if allowed else fails + 1
        return dict(islice(found.items(), most))

    def ask(self, texts: Sequence[str]) -> Outcome:
        """One query a text; remembers what was found."""
        return self.note(texts, *self.aim.observe(texts))

    def note(self, texts: Sequence[str], margins: Doubles, ranks: Ints) -> Outcome:
        """Remember what `Aim.observe` showed of texts."""
        found = self.aim.weigh(margins, ranks)
        self.asked.update(zip(texts, found.values.tolist(), strict=True))
        if len(texts):
            value, reached = float(found.values[found.best]), bool(found.reached[found.best])
            if (reached, value) > (self.reached, self.value):
                self.text, self.value, self.reached = texts[found.best], value, reached
        return found

    def open(self, draft: Draft, slots: Sequence[int], budget: Budget) -> Sequence[int]:
        """The slots where an edit may still be affordable: where all words of the budget are
        spent, those that were edited before, since only there is something to exchange."""
        if budget.words is None or count_edit(self.aim.text, draft.text).words < budget.words:
            return slots
        return [slot for slot in draft.touched if slot in slots]

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
) -> Iterator[Draft]:
    """Everything one filling away: the most promising filling of each slot, then the second of
    each, and so on. Cut anywhere, it is fair to all slots."""
    rows = [choices(draft, slot, transformations, shop, rng) for slot in slots]
    for column in zip_longest(*rows):
        for slot, filling in zip(slots, column, strict=True):
            if filling is not None:
                yield draft.put(slot, filling)


def woven(rows: Sequence[Iterator[Draft]]) -> Iterator[Draft]:
    """The first of each, then the second of each, and so on."""
    return (draft for column in zip_longest(*rows) for draft in column if draft is not None)
