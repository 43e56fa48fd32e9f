"""Insert the words that raise the target most, one after the other."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from hardrank.attacks.aim import Aim
from hardrank.attacks.parts import Shop
from hardrank.attacks.vocabulary import Position, Positions, insert, said
from hardrank.data import Edit, Patch
from hardrank.threats import Budget, Demote, Promote, RankView
from hardrank.types import Count, GoalKind, Knowledge, Surface, spec

__all__ = ["GreedyWords"]


@spec
class GreedyWords:
    """Black-box word insertion: at each step try every word at every position, keep the best.

    Greedy search as of Jin et al., AAAI 2020, arXiv:1907.11932, section 2, with insertions of
    words from bestsellers instead of synonyms, since a seller wants other buyers, not an
    unchanged meaning. Three words from 60 at two positions cost 354 queries. What is raised
    is the soft exposure of `Aim`, read from scores or, where they are hidden, from ranks.

    Sentence encoders read a title nearly as a bag of words: what a word gains hardly depends
    on its place, and the words that gain little alone gain little later. `keep` makes use of
    that. 400 words of which 20 are kept cost 400 + 40 + 40 queries.
    """

    needs: ClassVar[Knowledge] = "ranks"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["greedy-words"] = "greedy-words"
    vocabulary: Count = 60
    """Candidate words: the most bought words of the catalogue."""
    positions: Positions = ("front", "end")
    """Where a word may be put."""
    keep: Count | None = None
    """Try all words at the first position only, and go on with as many of them as gained most;
    None tries all words at all positions at every step."""

    def __call__(
        self, view: RankView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        words, edits = Shop.of(view).vocabulary(self.vocabulary), list[Edit]()
        for target in goal.items:
            aim = Aim.of(view, target, goal)
            if aim is None or aim.standing.reached[0]:
                continue
            text = self._rewrite(aim, words, budget)
            if text != aim.text:
                edits.append(view.edit(target, text))
        return Patch(tuple(edits))

    def _rewrite(self, aim: Aim, words: Sequence[str], budget: Budget) -> str:
        text, best = aim.text, float(aim.standing.values[0])
        places = self.positions if self.keep is None else self.positions[:1]
        for _ in range(len(words) if budget.words is None else budget.words):
            made = _longer(text, words, places)
            texts = aim.affordable(list(made))
            if not texts:
                break
            found = aim(texts)
            if self.keep is not None and places != self.positions:
                order = np.argsort(-found.values, kind="stable")[: self.keep]
                words = [made[texts[n]] for n in order]
            places, won = self.positions, found.best
            if not (found.values[won] > best or found.reached[won]):
                break
            text, best = texts[won], float(found.values[won])
            if found.reached[won]:
                break
        return text


def _longer(text: str, words: Sequence[str], places: Sequence[Position]) -> dict[str, str]:
    """Text with one word more -> the word."""
    fresh = [w for w in words if w not in said(text)]
    return {insert(text, w, place): w for w in fresh for place in places}
