"""One frugal search for one target: what was asked, what it taught, what it promises."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.additive import Additive, Change, change, difference
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Shop, Transformation, choices
from hardrank.attacks.trail import Trail
from hardrank.threats import Budget

__all__ = ["Hunt"]

Doubles = NDArray[np.float64]
_BRANCHES = 100
"""Kinds of single edits, the most promising, that texts of several edits are made of."""

_FAILS = 500
"""Single edits in a row that the budget does not permit, before a round does without more."""
_REPEATS = 8
"""Single edits that change the same which are remembered."""
_RECENT = 24
"""Promises by which the model is judged."""


class Step(NamedTuple):
    """One filling, and what it changes."""

    slot: int
    filling: str
    makes: Change


@dataclass(eq=False)
class Hunt:
    trail: Trail
    draft: Draft
    slots: Sequence[int]
    transformations: Sequence[Transformation]
    budget: Budget
    shop: Shop
    rng: np.random.Generator
    changes: list[Change] = field(default_factory=list)
    """Of each text that was asked for."""
    shifts: list[Doubles] = field(default_factory=list)
    """(E,) what each did to the margins."""
    _floor: float = 0.0
    _standing: Doubles = field(default_factory=lambda: np.zeros(0))
    """(E,) margins of the text as it stands."""
    _first: list[Step] = field(default_factory=list)
    _untried: Iterator[Step] = field(default_factory=lambda: iter(()))
    _best: Change = ()
    _expected: dict[str, float] = field(default_factory=dict)
    _errors: list[float] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        known = self.trail.aim.margins
        lowest = known[np.isfinite(known)].min(initial=0.0)
        self._floor = float(lowest - 10 * self.trail.aim.spread)
        self._standing = self._finite(known)
        self._first = self._steps(self.draft, self.slots)
        self._untried = iter(self._first)

    def model(self, penalty: float) -> Additive | None:
        """None before anything was asked."""
        if not self.changes:
            return None
        return Additive.fit(self.changes, np.array(self.shifts), penalty)

    def ask(self, drafts: dict[str, Draft]) -> None:
        """One query a text."""
        texts = list(drafts)
        margins, ranks = self.trail.aim.observe(texts)
        self.trail.note(texts, margins, ranks)
        self._errors += [
            self.trail.asked[t] - self._expected[t] for t in texts if t in self._expected
        ]
        if self.trail.text in drafts:
            self._best = change(drafts[self.trail.text])
        self.changes += [change(d) for d in drafts.values()]
        self.shifts += list((self._finite(margins) - self._standing[:, None]).T)
        self._known |= {word for made in self.changes[-len(texts) :] for word, _ in made}

    def novel(self, most: int) -> dict[str, Draft]:
        """Text -> draft of single edits with a word that was never asked about, each word once.
        What is passed over has nothing new, now or later."""
        known, found, fails = set(self._known), dict[str, Draft](), 0
        while len(found) < most and fails < _FAILS:
            step = next(self._untried, None)
            if step is None:
                break
            words = {word for word, _ in step.makes}
            if words - known:
                fresh = self.trail.fresh([self.draft.put(step.slot, step.filling)], 1)
                known |= words if fresh else set()
                found, fails = found | fresh, 0 if fresh else fails + 1
        return found

    def promised(self, model: Additive, width: int, most: int) -> dict[str, Draft]:
        """Text -> draft of what the model finds best: a beam through it, whose texts the budget
        permits. No two with the same words, and none with words that were asked together; and
        none that the model, as far as it was right so far, does not expect to be the best."""
        first = [s for s in self._first if all(word in self._known for word, _ in s.makes)]
        kinds = list(dict.fromkeys(step.makes for step in first))
        values = self._worth(model, kinds)
        ranked = np.argsort(-values, kind="stable")[:_BRANCHES].tolist()
        kept = {kinds[n] for n in ranked}
        slots = sorted({step.slot for step in first if step.makes in kept})
        beam, pool = [self.draft], list[tuple[float, Draft]]()
        for _ in count() if self.budget.words is None else range(self.budget.words):
            before = max((value for value, _ in pool), default=-np.inf)
            reached = self._children(model, beam, slots, kept, width)
            pool += reached
            beam = [draft for _, draft in reached[:width]]
            if not beam or (self.budget.words is None and not reached[0][0] > before):
                break
        pool.sort(key=lambda entry: -entry[0])
        asked, distinct = set(self.changes), dict[Change, Draft]()
        least = float(self._worth(model, [self._best])[0]) - self._surprise
        for value, draft in pool:
            if value > least and (made := change(draft)) not in asked:
                distinct.setdefault(made, draft)
                self._expected[draft.text] = value
        return self.trail.fresh(distinct.values(), most)

    @property
    def _surprise(self) -> float:
        """Root mean square of how wrong the last promises were; no limit before the first."""
        recent = np.array(self._errors[-_RECENT:])
        recent = recent[np.isfinite(recent)]
        return float(np.sqrt(np.square(recent).mean())) if len(recent) else np.inf

    def _children(
        self, model: Additive, beam: Sequence[Draft], slots: list[int], kept: set[Change],
        width: int,
    ) -> list[tuple[float, Draft]]:  # fmt: skip
        """(value, draft) of the best that are one step further and within the budget."""
        made = dict[Change, Draft]()
        for draft in beam:
            for step in self._further(draft, slots):
                if step.makes in kept:
                    child = draft.put(step.slot, step.filling)
                    made.setdefault(change(child), child)
        if not made:
            return []
        values = self._worth(model, list(made))
        children = list(made.values())
        order = np.argsort(-values, kind="stable").tolist()[: 8 * width]
        best = {children[n].text: (float(values[n]), children[n]) for n in order}
        return [best[text] for text in self.trail.aim.affordable(list(best))]

    def _further(self, draft: Draft, slots: list[int]) -> list[Step]:
        if draft is self.draft:
            return self._first
        return self._steps(draft, self.trail.open(draft, slots, self.budget))

    def _steps(self, draft: Draft, slots: Iterable[int]) -> list[Step]:
        """The most promising filling of each slot, then the second of each, and so on; where
        many change the same, as many of them as can stand in one text."""
        rows = [
            [
                Step(slot, filling, difference(draft.words[slot], filling))
                for filling in choices(draft, slot, self.transformations, self.shop, self.rng)
            ]
            for slot in slots
        ]
        most = _REPEATS if self.budget.words is None else min(_REPEATS, self.budget.words)
        seen, found = Counter[Change](), list[Step]()
        for step in (s for column in zip_longest(*rows) for s in column if s is not None):
            seen[step.makes] += 1
            if seen[step.makes] <= most:
                found.append(step)
        return found

    def _worth(self, model: Additive, changes: Sequence[Change]) -> Doubles:
        margins = self._standing[:, None] + model(changes).T
        aim = self.trail.aim
        return aim.weigh(margins, np.where(margins > 0, 1, aim.k + 1)).values

    def _finite(self, margins: Doubles) -> Doubles:
        """A score of -inf lies a little below all others, so that it can be added to."""
        return np.where(np.isfinite(margins), margins, self._floor)
