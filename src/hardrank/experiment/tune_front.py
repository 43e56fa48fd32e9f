"""Points of a tuning: which are not beaten, which is recommended, which limit binds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Limit", "Point", "binding", "dominates", "front", "recommended"]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One number that a point has to keep."""

    name: str
    """`price of ndcg@10, tail`, `coverage@10`, `cost`."""
    value: float | None
    """None: could not be measured, so it is not kept."""
    least: float | None = None
    most: float | None = None

    @property
    def over(self) -> float:
        """How far the number is beyond its bound, as a share of it (absolute for a bound of
        0); 0 or less where the limit is kept."""
        if self.value is None:
            return math.inf
        bound = self.bound
        beyond = self.value - bound if self.most is not None else bound - self.value
        return beyond / abs(bound) if bound else beyond

    @property
    def bound(self) -> float:
        bound = self.most if self.most is not None else self.least
        assert bound is not None
        return bound

    @property
    def kept(self) -> bool:
        return self.over <= 0

    def says(self) -> str:
        """`price of ndcg@10, tail: 0.071, at most 0.03`"""
        found = "not measured" if self.value is None else f"{self.value:.4g}"
        allowed = "at most" if self.most is not None else "at least"
        return f"{self.name}: {found}, {allowed} {self.bound:.4g}"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration and what it came to on validation users."""

    number: int
    settings: dict[str, Any]
    clean: float | None = None
    """NDCG@10, higher is better."""
    robust: float | None = None
    """Exposure gain of each target's strongest attack, mean over targets; lower is better."""
    cost: float | None = None
    """Training time over the control's."""
    limits: tuple[Limit, ...] = ()
    measures: dict[str, Any] = field(default_factory=dict)
    """Everything else that was measured: name -> value, low, high."""
    error: str = ""
    """Why it could not be trained or measured."""
    twin: int | None = None
    """The earlier point with the same settings, whose numbers these are."""

    @property
    def measured(self) -> bool:
        return self.clean is not None and self.robust is not None

    @property
    def feasible(self) -> bool:
        return self.measured and all(limit.kept for limit in self.limits)


def dominates(one: Point, other: Point) -> bool:
    """At least as good in clean, robust and cost, and better in one. A cost that is not known
    counts as equal."""
    assert one.clean is not None and other.clean is not None
    assert one.robust is not None and other.robust is not None
    cheaper = 0.0
    if one.cost is not None and other.cost is not None:
        cheaper = other.cost - one.cost
    gaps = (one.clean - other.clean, other.robust - one.robust, cheaper)
    return min(gaps) >= 0 and max(gaps) > 0


def front(points: Iterable[Point]) -> list[Point]:
    """The points that no other one dominates, in their order. Twins are left out."""
    known = [p for p in points if p.measured and p.twin is None]
    return [p for p in known if not any(dominates(other, p) for other in known)]


def recommended(points: Iterable[Point]) -> Point | None:
    """Of the points that keep every limit the most robust one; of equals the better clean
    quality, the lower cost, the earlier one. None where none keeps them all."""
    kept = [p for p in points if p.feasible and p.twin is None]

    def order(p: Point) -> tuple[float, float, float, int]:
        assert p.robust is not None and p.clean is not None
        return (p.robust, -p.clean, math.inf if p.cost is None else p.cost, p.number)

    return min(kept, key=order, default=None)


def binding(points: Sequence[Point]) -> Limit | None:
    """The limit that keeps the nearest point from being allowed: of the point whose worst
    limit is broken least, that limit. None where some point keeps all, or none has limits."""
    if any(p.feasible for p in points):
        return None
    worst = [max(p.limits, key=lambda limit: limit.over) for p in points if p.limits]
    return min(worst, key=lambda limit: limit.over, default=None)
