"""Clean quality by exposure gain, one mark a point, as SVG."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import decimal, percent
from hardrank.reports.scales import Linear, nice_ticks
from hardrank.reports.svg import bottom_axis, chart, left_axis, line, mark, rule, text

if TYPE_CHECKING:
    from hardrank.reports.pareto import Choice

__all__ = ["STYLE", "labels", "pareto_plot", "plane_front"]

_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 700, 30, 388
STYLE = """
#plot svg { max-width: 48rem; }
.mark.out { fill: var(--paper); stroke: var(--arm); stroke-width: 1.75; }
.ring { fill: none; stroke: var(--ink); stroke-width: 2; }
.barred { fill: var(--bad-bg); opacity: .75; }
.edge { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 3 3; }
svg .point, svg .why { stroke: var(--paper); stroke-width: 3; paint-order: stroke; }
svg .point { fill: var(--ink); font-size: 11px; }
svg .why { fill: var(--bad); stroke: var(--bad-bg); }
.frontier { fill: none; stroke: var(--hardened); stroke-width: 2; opacity: .55; }
.points .settings { overflow-wrap: anywhere; font-size: .875rem; min-width: 14rem; }
.points td { vertical-align: top; }
.points thead th:nth-child(n+3):nth-child(-n+5) { text-align: right; }
"""
Box = tuple[float, float, float, float]


def pareto_plot(
    choices: "Sequence[Choice]", control: "Choice", floor: float | None, price: float
) -> Html:
    """Empty where nothing was measured. floor: least clean quality allowed."""
    shown = [c for c in choices if c.shown]
    every = [*shown, control] if control.shown else shown
    if not every:
        return Html("")
    cleans = [c.clean or 0.0 for c in every]
    robusts = [c.robust or 0.0 for c in every]
    xs = nice_ticks(min(*robusts, 0.0), max(*robusts, 0.0))
    ys = nice_ticks(*_ends([*cleans, *([] if floor is None else [floor])]))
    x = Linear(xs[0], xs[-1], _LEFT + 12, _RIGHT)
    y = Linear(ys[0], ys[-1], _BOTTOM, _TOP)
    places = {c.label: (x(c.robust or 0.0), y(c.clean or 0.0)) for c in every}
    joined = [places[c.label] for c in plane_front(shown)]
    parts = [
        Html("") if floor is None else _barred(y(floor), price),
        left_axis([(v, y(v)) for v in ys], _LEFT, _RIGHT, decimal),
        bottom_axis([(v, x(v)) for v in xs], _BOTTOM, percent, "exposure gain of attackers",
                    (_LEFT + _RIGHT) / 2),
        text(_LEFT - 6, _TOP - 16, "NDCG@10", "label", "end"),
        line(joined, "frontier") if len(joined) > 1 else Html(""),
        *(_mark(c, *places[c.label]) for c in every),
        *_named(every, places),
    ]  # fmt: skip
    said = (
        f"{len(shown)} points and the control. Lowest exposure gain {percent(min(robusts))}, "
        f"highest NDCG@10 {decimal(max(cleans))}. All values are in the table below."
    )
    return chart(_WIDTH, _HEIGHT, "Clean quality by exposure gain", said, *parts)


def plane_front(choices: "Sequence[Choice]") -> "list[Choice]":
    """Those that no other one beats in clean and robust, from the most robust on."""
    found: list[Choice] = []
    for choice in sorted(choices, key=lambda c: (c.robust or 0.0, -(c.clean or 0.0))):
        if not found or (choice.clean or 0.0) > (found[-1].clean or 0.0):
            found.append(choice)
    return found


def labels(
    points: Sequence[tuple[float, float, float, str]], most: float, height: float = 11
) -> list[tuple[float, float, str]]:
    """(x, baseline, text) beside each mark of (x, y, radius, text), where it touches no other
    mark or label; first come, first served. A label without a free place is left out. most:
    right edge."""
    taken: list[Box] = [(px - r, py - r, px + r, py + r) for px, py, r, _ in points]
    found = []
    for px, py, r, words in points:
        width, side = 6.4 * len(words), r + 2
        places = (
            (px + side, py + 4), (px - side - width, py + 4), (px - width / 2, py - side - 1),
            (px - width / 2, py + side + 9), (px + side, py - side), (px + side, py + side + 8),
        )  # fmt: skip
        for left, base in places:
            box = (left, base - height + 2, left + width, base + 1)
            if box[2] <= most and box[0] >= 0 and not any(_touch(box, other) for other in taken):
                taken.append(box)
                found.append((left, base, words))
                break
    return found


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _named(every: "Sequence[Choice]", places: dict[str, tuple[float, float]]) -> list[Html]:
    ranked = sorted(every, key=lambda c: (not c.recommended, c.label != "control", not c.front))
    wanted = [(*places[c.label], 11.0 if c.recommended else 5.0, c.label) for c in ranked]
    return [text(px, py, words, "point", "start") for px, py, words in labels(wanted, _WIDTH)]


def _barred(edge: float, price: float) -> Html:
    """What the price limit does not allow."""
    if edge >= _BOTTOM:
        return Html("")
    area = tag("rect", x=_LEFT, y=f"{edge:.1f}", width=_RIGHT - _LEFT,
               height=f"{_BOTTOM - edge:.1f}", class_="barred")  # fmt: skip
    words = f"costs more than {percent(price)} of the control's NDCG@10"
    place = edge + 15 if _BOTTOM - edge > 20 else edge - 6
    return join([area, rule(_LEFT, edge, _RIGHT, edge, "edge"),
                 text(_RIGHT - 6, place, words, "why", "end")])  # fmt: skip


def _mark(choice: "Choice", px: float, py: float) -> Html:
    robust, clean = percent(choice.robust or 0.0), decimal(choice.clean or 0.0)
    hint = f"{choice.label}: NDCG@10 {clean}, exposure gain {robust}"
    if choice.label == "control":
        return mark(px, py, "control", hint, 5)
    if choice.broken:
        hint += "; breaks " + "; ".join(choice.broken)
    made = mark(px, py, "hardened out" if choice.broken else "hardened", hint, 4)
    if choice.recommended:
        ring = tag("circle", cx=f"{px:.1f}", cy=f"{py:.1f}", r=10, class_="ring")
        return join([ring, made])
    return made
