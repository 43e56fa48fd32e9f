"""What an attacker gains by a text, read from whatever the view shows."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hardrank.threats import Demote, Promote, RankView, ScoreView
from hardrank.types import Ints, Scores

__all__ = ["Aim", "Outcome"]

Doubles = NDArray[np.float64]

_SHARPER = {"scores": 0.1, "ranks": 0.5}
"""t to promote, as a share of the standard deviation of the margins."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """Of N texts that were asked for."""

    values: Doubles
    """(N,) what the attacker gains; higher is better, demoting as promoting."""
    reached: NDArray[np.bool_]
    """(N,) whether the goal's `until` is met."""

    @property
    def best(self) -> int:
        """Row of the best text, the first of equals; one that reaches the goal before others."""
        return int(np.lexsort((-self.values, ~self.reached))[0])


@dataclass(frozen=True, eq=False)
class Aim:
    """The soft exposure of a target over the E panel users, as a function of its text.

    With scores, over users with threshold b_e (the k-th best other score):

        log sum_e sigmoid((score_e - b_e) / t)

    With ranks alone the margin is that of the logarithms, log(k + 1/2) - log(rank_e). Users
    near their threshold count most, and all count a little; the outer logarithm keeps a slope
    for a target far below every threshold. Negative for `Demote`.

    To demote, t is the standard deviation of the margins before; to promote, a tenth of it
    with scores and half of it with ranks. From far below a smooth t lifts the target for
    everybody and shows it to nobody: on three catalogues greedy insertions of three words
    reached 1.7 to 5.7 times the exposure with the sharper one by scores, and 1.04 to 1.5 times
    by ranks, mostly at worse mean ranks. Chosen on those same 60 targets, one model each.
    """

    view: RankView
    target: str
    k: int
    sign: float
    until: float | None
    spread: float
    """t; 1 where all margins are equal."""
    users: NDArray[np.bool_]
    """(E,) those with a list of k others: the rest shows the target anyway."""
    standing: Outcome
    """Of the text as it stands: one row, free."""

    @classmethod
    def of(cls, view: RankView, target: str, goal: Promote | Demote) -> "Aim | None":
        """None when nobody is there to be won: no panel user, or lists shorter than k."""
        margins, ranks = _standing(view, target, goal.k)
        users = np.isfinite(margins)
        if isinstance(view, ScoreView):  # a score of -inf can still be raised
            users = np.isfinite(view.thresholds(target))
        if not users.any():
            return None
        known = margins[users & np.isfinite(margins)]
        sign = 1.0 if isinstance(goal, Promote) else -1.0
        share = _SHARPER["scores" if isinstance(view, ScoreView) else "ranks"] if sign > 0 else 1.0
        spread = share * float(known.std()) if known.size else 0.0
        blank = Outcome(np.zeros(1), np.zeros(1, dtype=bool))
        made = cls(
            view, target, goal.k, sign, goal.until, spread if spread > 0 else 1.0, users, blank
        )
        standing = made.weigh(margins[:, None], ranks[:, None])
        return cls(view, target, goal.k, sign, goal.until, made.spread, users, standing)

    @property
    def text(self) -> str:
        return self.view.text(self.target)

    def __call__(self, texts: Sequence[str]) -> Outcome:
        """N queries for N texts."""
        return self.weigh(*self.observe(texts))

    def observe(self, texts: Sequence[str]) -> tuple[Doubles, Ints]:
        """(E, N) margins, above 0 inside the top k, and (E, N) ranks, at most k inside it.
        N queries for N texts."""
        if isinstance(self.view, ScoreView):
            scores = self.view.scores(self.target, texts)
            margins = _margins(self.view, self.target, scores)
            return margins, np.where(margins > 0, 1, self.k + 1)
        ranks = self.view.ranks(self.target, texts)
        return _log_margins(ranks, self.k), ranks

    @property
    def margins(self) -> Doubles:
        """(E,) of the text as it stands; free."""
        return _standing(self.view, self.target, self.k)[0]

    def affordable(self, texts: Sequence[str]) -> list[str]:
        """Those of the texts, each once and in their order, that the budget of edits permits,
        as far as the queries that are left reach."""
        if self.view.left == 0:
            return []
        own, fresh = self.text, list(dict.fromkeys(texts))
        fresh = [t for t in fresh if t != own]
        allowed = self.view.allows(self.target, fresh)
        return [t for t, ok in zip(fresh, allowed, strict=True) if ok][: self.view.left]

    def weigh(self, margins: Doubles, ranks: Ints) -> Outcome:
        """What margins (E, N) and ranks (E, N), as `observe` gives them, are worth."""
        soft = -np.logaddexp(0.0, -margins[self.users].astype(np.float64) / self.spread)
        values = self.sign * np.logaddexp.reduce(soft, axis=0)
        exposed = (ranks <= self.k).mean(axis=0)
        if self.until is None:
            return Outcome(values, np.zeros(len(values), dtype=bool))
        enough = exposed >= self.until if self.sign > 0 else exposed <= self.until
        return Outcome(values, enough)


def _standing(view: RankView, target: str, k: int) -> tuple[Doubles, Ints]:
    ranks = view.standing_ranks(target)
    if isinstance(view, ScoreView):
        scores = view.standing_scores(target)[:, None]
        return _margins(view, target, scores)[:, 0], ranks
    return _log_margins(ranks, k), ranks


def _margins(view: ScoreView, target: str, scores: Scores) -> Doubles:
    thresholds = view.thresholds(target).astype(np.float64)[:, None]
    with np.errstate(invalid="ignore"):
        out: Doubles = scores.astype(np.float64) - thresholds
    out[np.isnan(out)] = -np.inf  # neither the target nor what it competes with has a score
    return out


def _log_margins(ranks: Ints, k: int) -> Doubles:
    out: Doubles = np.log(k + 0.5) - np.log(ranks.astype(np.float64))
    return out
