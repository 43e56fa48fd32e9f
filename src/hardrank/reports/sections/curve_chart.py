"""One robustness curve: both arms over the bounded radii, the unbounded radius apart."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import Spell, brief
from hardrank.reports.scales import Linear, Radii, nice_ticks, spread
from hardrank.reports.svg import band, bottom_axis, chart, left_axis, line, mark, rule, text

__all__ = ["Curve", "Span", "at", "draw", "radius_name"]

Span: TypeAlias = tuple[float, float]

_WIDTH, _HEIGHT = 390, 262
_LEFT, _TOP, _BOTTOM = 52, 22, 216
_NAMES = 69
"""Pixels for the arms' names at the end of the lines."""
_STRIP = 96
"""Pixels for the unbounded radius."""
_SIZES = {CONTROL: 4.4, HARDENED: 2.7}
"""The hardened mark is the smaller one: where both fall together each stays visible."""


class Curve(NamedTuple):
    metric: str
    """As it is written for people."""
    spell: Spell
    found: list[Finding]
    span: Span
    """Of the y axis."""
    beyond: frozenset[float]
    """Radii that bound nothing."""
    description: str


def at(f: Finding) -> float:
    return f.radius or 0.0


def radius_name(value: float) -> str:
    return f"{value:g}"


def draw(curve: Curve) -> Html:
    """The chart. With an unbounded radius the right quarter is a strip for it."""
    marks = nice_ticks(*curve.span, wanted=4)
    y = Linear(marks[0], marks[-1], _BOTTOM, _TOP)
    inside = [f for f in curve.found if at(f) not in curve.beyond]
    outside = [f for f in curve.found if at(f) in curve.beyond and f.value is not None]
    right = _WIDTH - 4 - _NAMES - (_STRIP + 8 if outside else 0)
    radii = tuple(sorted({at(f) for f in inside}))
    drawn = [left_axis([(v, y(v)) for v in marks], _LEFT, right + 8, curve.spell)]
    if radii:
        x = Radii(radii, _LEFT + 10, right)
        drawn.append(bottom_axis([(r, x(r)) for r in radii], _BOTTOM, None, "relative radius",
                                 (_LEFT + right) / 2))  # fmt: skip
        drawn += [_arm(arm, curve, inside, x, y) for arm in (CONTROL, HARDENED)]
        drawn.append(_names(inside, right, y))
    if outside:
        drawn.append(_strip(curve, outside, y))
    return chart(_WIDTH, _HEIGHT, f"{curve.metric} by radius", curve.description, *drawn)


def _of(found: Sequence[Finding], arm: str) -> list[Finding]:
    mine = (f for f in found if f.subject.endswith(f"/{arm}") and f.value is not None)
    return sorted(mine, key=at)


def _arm(arm: str, curve: Curve, inside: list[Finding], x: Radii, y: Linear) -> Html:
    found = _of(inside, arm)
    if not found:
        return Html("")
    ranged = [f for f in found if f.low is not None and f.high is not None]
    points = [(x(at(f)), y(f.value or 0.0)) for f in found]
    parts = []
    if ranged:
        uppers = [(x(at(f)), y(f.high or 0.0)) for f in ranged]
        parts.append(band(uppers, [(x(at(f)), y(f.low or 0.0)) for f in ranged], arm))
    parts.append(line(points, arm))
    for f, point in zip(found, points, strict=True):
        hint = f"{arm}, radius {radius_name(at(f))}: {curve.spell(f.value or 0.0)}"
        parts.append(mark(*point, arm, hint, _SIZES[arm]))
    return join(parts)


def _names(inside: list[Finding], right: float, y: Linear) -> Html:
    """Each arm's name at the end of its line."""
    ends = {arm: found[-1] for arm in (CONTROL, HARDENED) if (found := _of(inside, arm))}
    places = spread([y(f.value or 0.0) for f in ends.values()], 15, _TOP, _BOTTOM - 2)
    return join(
        text(right + 9, place + 4, arm, f"arm {arm}", "start")
        for arm, place in zip(ends, places, strict=True)
    )


def _strip(curve: Curve, outside: list[Finding], y: Linear) -> Html:
    """Both arms side by side on the same scale; what lies above it is marked with an arrow."""
    left = _WIDTH - 2 - _STRIP
    paper = tag("rect", x=left, y=_TOP - 14, width=_STRIP, height=_BOTTOM - _TOP + 14,
                class_="strip")  # fmt: skip
    parts = [paper]
    parts += [rule(left, place, left + _STRIP, place) for place in (y(y.low), y(y.high))]
    for arm, share in ((CONTROL, 0.25), (HARDENED, 0.75)):
        for f in _of(outside, arm)[-1:]:
            value = f.value or 0.0
            above = value > y.high
            place, middle = y(min(value, y.high)), left + share * _STRIP
            hint = f"{arm}, unbounded (radius {radius_name(at(f))}): {curve.spell(value)}"
            said = ("↑" if above else "") + brief(value, curve.spell)
            parts.append(mark(middle, place, arm, hint, _SIZES[CONTROL] - 0.6))
            parts.append(text(middle, place - 9, said, "value"))
    middle = left + _STRIP / 2
    return join([*parts, text(middle, _BOTTOM + 17, "unbounded")])
