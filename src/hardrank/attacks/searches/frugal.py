"""Few questions: a model of the answers says what to ask next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.additive import Additive, Change, change
from hardrank.attacks.aim import Aim
from hardrank.attacks.draft import Draft
from hardrank.attacks.parts import Ordering, Shop, Transformation
from hardrank.attacks.trail import Trail, moves, woven
from hardrank.threats import Budget
from hardrank.types import Count, Positive, Share, spec

__all__ = ["Frugal"]

Doubles = NDArray[np.float64]


@spec
class Frugal:
    """Learn from each answer what its words do to every user; ask for the texts that the words
    promise together.

    Our own, for victims that are dear to ask. Greedy and genetic searches read one number out
    of an answer; here it is E of them, one for each panel user, and `Additive` fits them. Each
    round asks for `batch` texts: single edits with words never tried, the most promising
    first, and the texts that a beam through the fitted model finds best. So F fillings of S
    slots are known after about F + S queries instead of F S, edits of several words cost no
    search of their own, and every text that is kept was scored by the victim. Stops when
    `patience` rounds gained nothing and no word is left to try, or the queries are spent.
    """

    kind: Literal["frugal"] = "frugal"
    batch: Count = 12
    """Texts asked for in a round."""
    explore: Share = 0.5
    """Share of a batch for words never tried, after the first round."""
    width: Count = 4
    """Texts kept at each depth of the search through the model."""
    patience: Count = 2
    """Rounds without a gain before it stops."""
    penalty: Positive = 0.1
    """Ridge penalty, where one word more has the square length 1."""

    def __call__(
        self,
        aim: Aim,
        transformations: Sequence[Transformation],
        ordering: Ordering,
        budget: Budget,
        shop: Shop,
        rng: np.random.Generator,
    ) -> str:
        draft = Draft.of(aim.text)
        slots = ordering(draft, aim, rng)
        hunt = _Hunt(self, Trail.of(aim), draft, slots, transformations, budget, shop, rng)
        fails = 0
        while fails < self.patience and not hunt.trail.reached:
            before = hunt.trail.text
            if not hunt.round():
                break
            fails = fails + 1 if hunt.trail.text == before and not hunt.untried() else 0
        return hunt.trail.text


@dataclass(eq=False)
class _Hunt:
    """One search for one target."""

    spec: Frugal
    trail: Trail
    draft: Draft
    slots: Sequence[int]
    transformations: Sequence[Transformation]
    budget: Budget
    shop: Shop
    rng: np.random.Generator
    changes: list[Change] = field(default_factory=list)
    shifts: list[Doubles] = field(default_factory=list)
    _moves: dict[str, dict[str, Draft]] = field(default_factory=dict)

    def round(self) -> bool:
        """Ask one batch; False when there is nothing to ask."""
        exploit = round(self.spec.batch * (1 - self.spec.explore)) if self.changes else 0
        promised = self._promised(exploit)
        drafts = {d.text: d for d in promised}
        known = {word for c in self.changes for word, _ in c}
        for novel in self._novel(known, self.spec.batch - len(drafts)):
            drafts.setdefault(novel.text, novel)
        if len(drafts) < self.spec.batch and self.changes:
            more = self._promised(self.spec.batch)
            drafts.update({d.text: d for d in more[: self.spec.batch - len(drafts)]})
        texts = self.trail.fresh(drafts, self.spec.batch)
        self._ask(texts, drafts)
        return bool(texts)

    def untried(self) -> bool:
        known = {word for c in self.changes for word, _ in c}
        return bool(self._novel(known, 1))

    def _ask(self, texts, drafts) -> None:
        if not texts:
            return
        aim = self.trail.aim
        margins, ranks = aim.observe(texts)
        self.trail.note(texts, aim.weigh(margins, ranks))
        self.changes += [change(drafts[t]) for t in texts]
        self.shifts += list((self._finite(margins) - self._finite(aim.margins)[:, None]).T)

    def _finite(self, margins):
        floor = self.trail.aim.margins
        floor = floor[np.isfinite(floor)].min(initial=0.0) - 10 * self.trail.aim.spread
        return np.where(np.isfinite(margins), margins, floor)

    def _novel(self, known: set[str], most: int) -> list[Draft]:
        """Single edits that hold a word never tried, each word once."""
        out, known = [], set(known)
        if most < 1:
            return []
        for text, draft in self._from(self.draft).items():
            words = {word for word, _ in change(draft)}
            if words - known and self.trail.fresh([text]):
                out.append(draft)
                known |= words
                if len(out) == most:
                    break
        return out

    def _from(self, draft: Draft) -> dict[str, Draft]:
        if draft.text not in self._moves:
            self._moves[draft.text] = moves(
                draft, self.slots, self.transformations, self.shop, self.rng
            )
        return self._moves[draft.text]

    def _promised(self, most: int) -> list[Draft]:
        if most < 1:
            return []
        model = Additive.fit(self.changes, np.array(self.shifts), self.spec.penalty)
        beam, pool = [self.draft], list[tuple[float, str, Draft]]()
        for _ in range(self.budget.words if self.budget.words is not None else 10):
            drafts = woven([self._from(d) for d in beam])
            if not drafts:
                break
            values = self._worth(model, list(drafts.values()))
            order = np.argsort(-values, kind="stable")
            texts = list(drafts)
            ranked = [texts[n] for n in order[: 8 * self.spec.width * 4]]
            allowed = self.trail.aim.affordable(ranked)
            if not allowed:
                break
            worth = dict(zip(texts, values.tolist(), strict=True))
            pool += [(worth[t], t, drafts[t]) for t in allowed]
            beam = _distinct([drafts[t] for t in allowed], self.spec.width)
        pool.sort(key=lambda entry: -entry[0])
        bags = set(self.changes)
        out = []
        for value, text, draft in pool:
            bag = change(draft)
            if text in self.trail.asked or bag in bags:
                continue
            bags.add(bag)
            out.append(draft)
            if len(out) == most:
                break
        return out

    def _worth(self, model, drafts):
        aim = self.trail.aim
        margins = self._finite(aim.margins)[:, None] + model([change(d) for d in drafts]).T
        return aim.weigh(margins, np.where(margins > 0, 1, aim.k + 1)).values


def _distinct(drafts, most):
    seen, out = set(), []
    for d in drafts:
        c = change(d)
        if c not in seen:
            seen.add(c)
            out.append(d)
            if len(out) == most:
                break
    return out
