"""Insert the words that raise the target most, one after the other."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from hardrank.attacks.vocabulary import Positions, insert, plain_words, vocabulary
from hardrank.data import Patch
from hardrank.threats import Budget, Demote, Promote, ScoreView
from hardrank.types import Count, GoalKind, Knowledge, Scores, Surface, spec

__all__ = ["GreedyWords"]

Value = Callable[[Scores], NDArray[np.float64]]
"""(E, N) scores -> (N,) what the attacker gains by each text."""


@spec
class GreedyWords:
    """Black-box word insertion: at each step try every word at every position, keep the best.

    Greedy search as of Jin et al., AAAI 2020, arXiv:1907.11932, section 2, with insertions of
    words from bestsellers instead of synonyms, since a seller wants other buyers, not an
    unchanged meaning. Three words from 60 at two positions cost 354 queries. What is raised
    is the soft exposure of the target over the E panel users with threshold b_e (the k-th
    best other score):

        log sum_e sigmoid((score_e - b_e) / t),  t = standard deviation of score_e - b_e before

    so that users near their threshold count most, and all count a little.
    """

    needs: ClassVar[Knowledge] = "scores"
    uses: ClassVar[Knowledge] = "scores"
    surfaces: ClassVar[tuple[Surface, ...]] = ("item-text", "query-text")
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    whole_text: ClassVar[bool] = False
    kind: Literal["greedy-words"] = "greedy-words"
    vocabulary: Count = 60
    """Candidate words: the most bought words of the catalogue."""
    positions: Positions = ("front", "end")
    """Where a word may be put."""

    def __call__(
        self, view: ScoreView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        words = vocabulary(view.items[view.column].to_list(), view.popularity, self.vocabulary)
        sign = 1.0 if isinstance(goal, Promote) else -1.0
        edits = []
        for item in goal.items:
            text = self._rewrite(view, item, words, sign, budget)
            if text != view.text(item):
                edits.append(view.edit(item, text))
        return Patch(tuple(edits))

    def _rewrite(
        self, view: ScoreView, target: str, words: Sequence[str], sign: float, budget: Budget
    ) -> str:
        text, value = view.text(target), _soft_exposure(view, target, sign)
        steps = len(words) if budget.words is None else min(budget.words, len(words))
        if value is None:
            return text
        best = float(value(view.standing_scores(target)[:, None])[0])
        for _ in range(steps):
            texts = self._candidates(view, target, text, words)
            if not texts:
                break
            values = value(view.scores(target, texts))
            if not values.max() > best:
                break
            text, best = texts[int(values.argmax())], float(values.max())
        return text

    def _candidates(
        self, view: ScoreView, target: str, text: str, words: Sequence[str]
    ) -> list[str]:
        """Texts with one word more, within the budget and the queries that are left."""
        there = set(plain_words(text))
        fresh = [w for w in words if w not in there]
        texts = list(dict.fromkeys(insert(text, w, p) for w in fresh for p in self.positions))
        allowed = view.allows(target, texts)
        return [t for t, ok in zip(texts, allowed, strict=True) if ok][: view.left]


def _soft_exposure(view: ScoreView, target: str, sign: float) -> Value | None:
    """None when nobody is there to be won: no panel user, or lists shorter than k."""
    thresholds = view.thresholds(target).astype(np.float64)
    standing = view.standing_scores(target).astype(np.float64)
    users = np.isfinite(thresholds)
    if not users.any():
        return None
    margins = (standing - thresholds)[users]
    margins = margins[np.isfinite(margins)]
    spread = float(margins.std()) if margins.size else 0.0
    if not spread > 0:
        spread = 1.0

    def value(scores: Scores) -> NDArray[np.float64]:
        margin = (scores[users].astype(np.float64) - thresholds[users, None]) / spread
        # In logarithms, so that a target far below every threshold still sees a slope.
        total: NDArray[np.float64] = np.logaddexp.reduce(-np.logaddexp(0.0, -margin), axis=0)
        return sign * total

    return value
