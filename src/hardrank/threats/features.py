"""The court of features: the numbers that describe an item, changed within bounds.

A price, a size, a rating that a seller states; an image vector that a retouched picture
moves. F features of an item are written; each has bounds, some are nobody's to write, and
the whole change has a radius (L2, a share of the mean norm of the catalogue's features).
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hardrank.data import Dataset, Edit, Patch, Queries, RewriteFeatures
from hardrank.errors import DataError, FoulPlay, Unsupported
from hardrank.threats.court import Attack, Court, level
from hardrank.threats.desk import Meter
from hardrank.threats.listing import same_catalogue
from hardrank.threats.match import Match
from hardrank.threats.model import Budget, Demote, Goal, Promote, ThreatModel, aim_at
from hardrank.threats.panel import PanelLists, finite, watch
from hardrank.threats.victim import digest_victim
from hardrank.types import Floats, GoalKind, Ints, Knowledge, Scores, Surface

__all__ = [
    "FEATURE_VIEWS",
    "Bounds",
    "FeatureCourt",
    "FeatureGradientView",
    "FeatureRankView",
    "FeatureScoreView",
    "GivesFeatureGradient",
    "ReadsFeatures",
]

_SLACK = 1e-5
"""Relative: what rounding to single precision may put outside a bound."""


@dataclass(frozen=True, eq=False)
class Bounds:
    """What an item's features may be. All arrays (F,)."""

    low: Floats
    high: Floats
    writable: NDArray[np.bool_]
    """False where the attacker may not write."""


@runtime_checkable
class ReadsFeatures(Protocol):
    """A recommender that reads numbers about items, in units in which they compare."""

    @property
    def features(self) -> Floats:
        """(I, F)"""
        ...

    @property
    def bounds(self) -> Bounds: ...

    def feature_scores(self, queries: Queries, item: int, features: Floats) -> Scores:
        """(Q, N): the item's score as if its features read (N, F)."""
        ...


@runtime_checkable
class GivesFeatureGradient(ReadsFeatures, Protocol):
    def feature_gradient(
        self, goal: GoalKind, queries: Queries, item: int, features: Floats
    ) -> Floats:
        """(F,) slope of the attacker's gain at these features (F,)."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureDesk:
    """Behind the counter; see `hardrank.threats.desk`."""

    victim: ReadsFeatures
    lists: PanelLists
    row: int
    target: str
    goal: GoalKind
    k: int
    radius: float
    """In the units of the features."""
    meter: Meter = field(default_factory=Meter)

    def scores(self, values: Floats) -> Scores:
        """(E, N), charged."""
        self.meter.charge(len(values))
        panel = self.lists.queries.take(self.lists.eligible(self.row))
        return finite(np.array(self.victim.feature_scores(panel, self.row, values), np.float32))

    def gradient(self, values: Floats) -> Floats:
        if not isinstance(self.victim, GivesFeatureGradient):
            raise Unsupported("this victim grants no gradients by its features")
        self.meter.charge(1)
        panel = self.lists.queries.take(self.lists.eligible(self.row))
        if not len(panel):
            return np.zeros_like(values)
        return self.victim.feature_gradient(self.goal, panel, self.row, values)


class FeatureRankView:
    """Sees at what rank the item stands for each panel user under each set of numbers."""

    def __init__(self, desk: FeatureDesk) -> None:
        self.target: str = desk.target
        self.clean: Floats = desk.victim.features[desk.row].copy()
        """(F,) as they are."""
        self.bounds: Bounds = desk.victim.bounds
        self.radius: float = desk.radius
        """Largest L2 length of the change."""
        self.k: int = desk.k
        self._desk = desk

    @property
    def left(self) -> int | None:
        """Queries that may still be asked; None for no limit."""
        return self._desk.meter.left

    def legal(self, values: Floats) -> Floats:
        """(N, F) the same, moved inside the ball and then the bounds (which only brings them
        nearer to the clean values, that are inside both)."""
        change = np.where(self.bounds.writable, values - self.clean, 0)
        length = np.linalg.norm(change, axis=-1, keepdims=True)
        change = change * np.minimum(1, self.radius / np.where(length > 0, length, 1))
        low, high = (
            np.minimum(self.bounds.low, self.clean),
            np.maximum(self.bounds.high, self.clean),
        )
        return np.clip(self.clean + change, low, high).astype(np.float32)

    def edit(self, values: Floats) -> Edit:
        return RewriteFeatures(self.target, tuple(float(v) for v in values))

    def ranks(self, values: Floats) -> Ints:
        """(E, N) from (N, F); N queries."""
        return self._desk.lists.ranks(self._desk.row, self._desk.scores(values))

    def standing_ranks(self) -> Ints:
        """(E,); free."""
        lists, row = self._desk.lists, self._desk.row
        own = lists.standing[lists.eligible(row), row][:, None]
        return lists.ranks(row, own)[:, 0]


class FeatureScoreView(FeatureRankView):
    """Also sees raw scores and the score that enters each list."""

    def margins(self, values: Floats) -> Floats:
        """(E, N) score less the k-th best other score; N queries."""
        lists, row = self._desk.lists, self._desk.row
        out: Floats = self._desk.scores(values) - lists.thresholds(row, self.k)[:, None]
        return out

    def standing_margins(self) -> Floats:
        """(E,); free."""
        lists, row = self._desk.lists, self._desk.row
        own: Floats = lists.standing[lists.eligible(row), row] - lists.thresholds(row, self.k)
        return own


class FeatureGradientView(FeatureScoreView):
    """Also sees the slope of the goal."""

    def gradient(self, values: Floats) -> Floats:
        """(F,) at values (F,); 1 query."""
        return self._desk.gradient(values)


FEATURE_VIEWS: dict[Knowledge, type[FeatureRankView]] = {
    "ranks": FeatureRankView,
    "scores": FeatureScoreView,
    "gradients": FeatureGradientView,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureCourt(Court):
    """One item's numbers, observed on a panel of users."""

    surface: ClassVar[Surface] = "features"
    lists: PanelLists

    @classmethod
    def of(cls, victim: Any, world: Dataset, panel: Queries) -> "FeatureCourt":
        """Raises `Unsupported` for a victim that reads no features."""
        if not isinstance(victim, ReadsFeatures):
            raise Unsupported("this victim reads no features")
        same_catalogue(victim, world)  # type: ignore[arg-type]
        lists = watch(victim, panel)  # type: ignore[arg-type]
        return cls(victim=victim, world=world, digest=digest_victim(victim), lists=lists)  # type: ignore[arg-type]

    def admit(self, attack: Attack, threat: ThreatModel, target: str) -> Budget:
        self.refuse(attack, threat)
        if not isinstance(threat.goal, Promote | Demote):
            raise Unsupported(f"features promote and demote, they cannot {threat.goal.kind}")
        if attack.needs == "gradients" and not isinstance(self.victim, GivesFeatureGradient):
            raise Unsupported(f"attack '{attack.kind}' needs gradients, this victim grants none")
        if target not in self.world.item_rows:
            raise DataError(f"{self.world.name}: unknown target item '{target}'")
        if threat.budget.radius is None:
            raise Unsupported("a features threat needs a radius")
        return threat.budget

    def open(
        self, attack: Attack, threat: ThreatModel, budget: Budget, target: str
    ) -> tuple[Any, Goal, Meter]:
        goal = threat.goal
        assert isinstance(goal, Promote | Demote)
        desk = FeatureDesk(
            victim=self.victim, lists=self.lists, row=self.world.item_rows[target], target=target,
            goal=goal.kind, k=goal.k, radius=self.radius(budget), meter=Meter(budget.queries),
        )  # fmt: skip
        return FEATURE_VIEWS[level(attack, threat)](desk), aim_at(goal, target), desk.meter

    def radius(self, budget: Budget) -> float:
        """In the units of the features."""
        assert budget.radius is not None
        return budget.radius * float(np.linalg.norm(self.victim.features, axis=1).mean())

    def count(
        self, patch: Patch, threat: ThreatModel, budget: Budget, target: str, queries: int
    ) -> Match:
        clean = self.victim.features[self.world.item_rows[target]]
        for edit in patch.edits:
            if not isinstance(edit, RewriteFeatures) or edit.item_id != target:
                raise FoulPlay(f"only the features of '{target}' may be written, not by {edit}")
            self._inside(np.array(edit.values, dtype=np.float32), clean, budget, target)
        if budget.queries is not None and queries > budget.queries:
            raise FoulPlay(f"item '{target}': {queries} queries asked, budget {budget.queries}")
        return Match(attack="", threat=threat, target=target, patch=patch, queries=queries)

    def _inside(self, values: Floats, clean: Floats, budget: Budget, target: str) -> None:
        bounds: Bounds = self.victim.bounds
        if values.shape != clean.shape or not np.isfinite(values).all():
            raise FoulPlay(f"item '{target}': {len(clean)} finite features are wanted")
        slack = _SLACK * max(1.0, float(np.abs(clean).max(initial=0)))
        length, most = float(np.linalg.norm(values - clean)), self.radius(budget)
        if length > most * (1 + _SLACK) + slack:
            raise FoulPlay(f"item '{target}': moved by {length:g}, radius {most:g}")
        if (values != clean)[~bounds.writable].any():
            raise FoulPlay(f"item '{target}': a feature that is not the attacker's was written")
        low, high = np.minimum(bounds.low, clean), np.maximum(bounds.high, clean)
        if (values < low - slack).any() or (values > high + slack).any():
            raise FoulPlay(f"item '{target}': a feature left its bounds")
