"""From data to pixels: linear scales with round ticks, and a radius axis with a place for 0."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Linear", "Radii", "nice_ticks", "padded", "spread"]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def nice_ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """Round numbers that cover [low, high]: the first is <= low, the last >= high.

    The step is 1, 2, 2.5 or 5 times a power of ten, the smallest that needs at most
    `wanted` steps. Raises AssertionError if low > high or either is not finite.
    """
    assert math.isfinite(low) and math.isfinite(high) and low <= high, (low, high)
    if high - low <= 1e-12 * max(1.0, abs(low)):
        half = 0.5 * (abs(high) if abs(high) > 1e-12 else 1.0)
        low, high = low - half, high + half
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (*_STEPS, 20.0):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= wanted:
            break
    digits = max(0, 2 - math.floor(math.log10(step)))
    return tuple(round(i * step, digits) + 0.0 for i in range(first, last + 1))


def padded(values: Sequence[float], *, floor: float | None = None) -> tuple[float, float]:
    """Smallest and largest finite value; `floor` is included (a bar's zero)."""
    finite = [v for v in values if math.isfinite(v)] + ([] if floor is None else [floor])
    return (min(finite), max(finite)) if finite else (0.0, 1.0)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved as little as needed to lie `gap` apart, in their order, within [low, high].

    For labels beside the points that they name; `high - low` must hold them all.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = sorted(min(max(p, low), high) for p in places)
    for _ in range(100):
        for i in range(len(moved) - 1):
            missing = gap - (moved[i + 1] - moved[i])
            if missing > 1e-9:
                moved[i], moved[i + 1] = moved[i] - missing / 2, moved[i + 1] + missing / 2
        moved = [
            min(max(p, low + i * gap), high - (len(moved) - 1 - i) * gap)
            for i, p in enumerate(moved)
        ]
    out = [0.0] * len(places)
    for rank, place in enumerate(order):
        out[place] = moved[rank]
    return out


@dataclass(frozen=True)
class Linear:
    """`low` is drawn at `start`, `high` at `end` (pixels; `end` < `start` for an y axis)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Radii:
    """Radii by their logarithm, with radius 0 (clean) a third of a decade before the smallest.

    Perturbation radii are spaced by factors; on a linear axis all but one would collapse
    onto the left edge.
    """

    values: tuple[float, ...]
    start: float
    end: float

    def __call__(self, radius: float) -> float:
        positions = [self._place(r) for r in self.values]
        low, high = min(positions), max(positions)
        if high == low:
            return (self.start + self.end) / 2
        return self.start + (self._place(radius) - low) / (high - low) * (self.end - self.start)

    def _place(self, radius: float) -> float:
        if radius > 0:
            return math.log10(radius)
        above = [r for r in self.values if r > 0]
        return math.log10(min(above)) - 1 / 3 if above else 0.0
