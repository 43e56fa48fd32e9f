"""Write many reviews, publish those that the known detector lets pass."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np

from hardrank.attacks.reviews.appeal import appeal_of
from hardrank.attacks.reviews.language_model_reviews import LanguageModelReviews
from hardrank.attacks.reviews.parts import praises, publish
from hardrank.attacks.reviews.plain import PlainWriter
from hardrank.data import AddReview, Patch
from hardrank.errors import Unsupported
from hardrank.threats.model import Budget, Demote, Promote
from hardrank.threats.reviews import ReviewScorer, ReviewView
from hardrank.types import Count, GoalKind, LogKnowledge, Share, Surface, spec

__all__ = ["EvasiveReviews"]


@spec
class EvasiveReviews:
    """Of many reviews that another writer makes, the least suspicious ones that gain.

    The adaptive writer: he has the shop's detector and asks it at home (rejection sampling; an
    attack as simple as the defence lets it be, after Tramer et al., NeurIPS 2020,
    arXiv:2002.08347). He has not the shop's model: what gains he guesses from public reviews,
    by how near a text is to what customers write (`Appeal`; whoever blames keeps far from it).
    Of the `gaining` share that this favours he publishes those with the lowest scores. Ours.
    Without a detector it is `base`.
    """

    needs: ClassVar[LogKnowledge] = "catalogue"
    surfaces: ClassVar[tuple[Surface, ...]] = ("reviews",)
    goals: ClassVar[tuple[GoalKind, ...]] = ("promote", "demote")
    kind: Literal["evasive-reviews"] = "evasive-reviews"
    base: PlainWriter = LanguageModelReviews()
    """Who writes; a large language model as its `writer` answers `candidates` times as often."""
    candidates: Count = 20
    """Reviews written for each one published."""
    gaining: Share = 0.5
    """Share of them, the likeliest to gain, from which the detector chooses."""

    def __call__(
        self, view: ReviewView, goal: Promote | Demote, budget: Budget, rng: np.random.Generator
    ) -> Patch:
        base: Any = self.base
        if goal.kind not in base.goals:
            raise Unsupported(f"evasive-reviews: '{base.kind}' cannot {goal.kind}")
        n = budget.reviews or 0
        if view.detector is None or not n:
            made: Patch = base(view, goal, budget, rng)
            return made
        many = base(view, goal, replace(budget, reviews=n * self.candidates), rng)
        texts = list(dict.fromkeys(e.text for e in many.edits if isinstance(e, AddReview)))
        likely = self._gaining(view, texts, n, praise=praises(goal))
        return publish(view, goal, budget, rng, _least(view.detector, likely, n))

    def _gaining(
        self, view: ReviewView, texts: Sequence[str], n: int, *, praise: bool
    ) -> list[str]:
        guess = appeal_of(tuple(o.text for o in view.reviews))(texts)
        order = np.argsort(-guess if praise else guess, kind="stable")
        kept = np.sort(order[: max(n, round(self.gaining * len(texts)))])
        return [texts[r] for r in kept.tolist()]


def _least(detector: ReviewScorer, texts: Sequence[str], n: int) -> list[str]:
    """What is not judged (NaN) is not suspected."""
    if not texts:
        return []
    scores = np.nan_to_num(np.asarray(detector.score(texts), dtype=np.float64), nan=-np.inf)
    return [texts[r] for r in np.argsort(scores, kind="stable")[:n].tolist()]
