"""Charts of a poisoning run: exposure by attack, ROC curves, real and fake histograms."""

from collections.abc import Mapping, Sequence

from hardrank.findings import Finding
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import percent
from hardrank.reports.scales import Linear, nice_ticks
from hardrank.reports.svg import bottom_axis, chart, left_axis, line, mark, rule, text

__all__ = ["STYLE", "dots", "portrait", "roc"]

STYLE = """
.pair { display: grid; gap: 1.5rem 2.5rem; align-items: start; margin-bottom: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(19.5rem, 100%), 1fr)); }
.portraits { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
  gap: .25rem 1.5rem; margin-bottom: .5rem; }
.portraits h3 { grid-column: 1 / -1; margin: 1.2rem 0 0; }
.portraits svg, #detection svg { max-width: 100%; }
#detection figure { max-width: 30rem; }
.pair.two { grid-template-columns: repeat(auto-fill, minmax(min(25rem, 100%), 1fr)); }
svg .bar { fill: var(--hardened); opacity: .55; }
svg .real { stroke: var(--control); }
svg .whisker { stroke: var(--hardened); stroke-width: 1.5; }
svg .reach { stroke: var(--hardened); stroke-width: 5; opacity: .25; }
section > .scroll { margin-top: 1.5rem; }
details > .scroll { margin-top: 1rem; }
.wide th[scope="row"] { min-width: 9rem; overflow-wrap: anywhere; }
.wide .over th[scope="colgroup"] { text-align: right; }
.wide .under th:first-child { padding-left: .75rem; }
.wide tbody th { background: var(--paper); }
.cut { text-decoration: underline dotted; text-underline-offset: .2em; cursor: help; }
.arms th[scope="row"], .tried th[scope="row"] { overflow-wrap: anywhere; }
.arms thead th:first-child { width: 9rem; }
@media (max-width: 60rem) { .checks .seen { min-width: 17rem; } .checks td:last-child {
  min-width: 14rem; } .checks .cell, .checks th:first-child { min-width: 7.5rem; } }
.verdict .arms .cell { border-color: var(--sheet); }
.arms .state, .tried .state { white-space: nowrap; }
.whole dd { overflow-wrap: anywhere; font: .8125rem/1.5 var(--mono); }
.verdict > .scroll { margin-top: 1.2rem; }
.checks .seen { width: 38%; overflow-wrap: anywhere; }
.checks thead th:nth-child(3) { width: 38%; }
.checks thead th:nth-child(2) { width: 14%; }
svg .who { fill: var(--ink); font-size: 11px; }
svg .c0 { stroke: #0b62a4; } svg .c1 { stroke: #b8500a; } svg .c2 { stroke: #146c43; }
svg .c3 { stroke: #8a2f8f; } svg .c4 { stroke: #7d5200; } svg .c5 { stroke: #a3201a; }
svg .c6 { stroke: #3f6f7a; } svg .c7 { stroke: #565f6a; }
@media (prefers-color-scheme: dark) {
  svg .c0 { stroke: #6ab4ee; } svg .c1 { stroke: #f0985a; } svg .c2 { stroke: #7fd1a6; }
  svg .c3 { stroke: #d79be0; } svg .c4 { stroke: #e9be6a; } svg .c5 { stroke: #ff9a90; }
  svg .c6 { stroke: #8fc4d1; } svg .c7 { stroke: #a5aeb8; }
}
svg .dash { stroke-dasharray: 5 3; }
.mark.out { fill: var(--paper); stroke: var(--arm); stroke-width: 1.75; }
"""
_COLOURS = 8
_LONGEST = 60
"""Characters of an attack's label in a chart."""


def dots(
    rows: Sequence[tuple[str, Finding | None, Finding]], metric: str, subject: str, most: float
) -> Html:
    """(attack, before, after) one below the other, in the order given, each under its name.

    most: greatest value of the axis, so that charts of many victims can be compared.
    """
    left, right, step = 6, 394, 35
    marks = nice_ticks(0.0, max(most, 1e-4), wanted=4)
    x = Linear(marks[0], marks[-1], left, right)
    bottom = 10 + step * len(rows)
    parts = [rule(x(v), 4, x(v), bottom, "grid") for v in marks]
    parts.append(bottom_axis([(v, x(v)) for v in marks], bottom, percent, metric, 200))
    for n, (name, before, after) in enumerate(rows):
        parts.append(_row(left, 17 + step * n, name, before, after, x))
    said = f"{metric} of {len(rows)} attacks on {subject}; all values are in the table below."
    return chart(400, bottom + 42, f"{metric} by attack: {subject}", said, *parts)


def _row(
    left: float, y: float, name: str, before: Finding | None, after: Finding, x: Linear
) -> Html:
    assert after.value is not None
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    parts, middle = [text(left, y, short, "who", "start")], y + 11
    if before is not None and before.value is not None:
        parts.append(rule(x(before.value), middle, x(after.value), middle, "reach"))
        parts.append(mark(x(before.value), middle, "control out", f"{name}: before", 4))
    if after.low is not None and after.high is not None:
        parts.append(rule(x(max(after.low, 0)), middle, x(after.high), middle, "whisker"))
    parts.append(mark(x(after.value), middle, "hardened", f"{name}: {percent(after.value)}", 4))
    return join(parts)


def roc(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Html:
    """Recall by false positives of each detector; empty without curves."""
    if not curves:
        return Html("")
    names = list(curves)
    left, top, bottom, right = 48, 8, 308, 388
    x, y = Linear(0, 1, left, right), Linear(0, 1, bottom, top)
    ticks = (0.0, 0.25, 0.5, 0.75, 1.0)
    parts = [
        left_axis([(v, y(v)) for v in ticks], left, right, percent),
        bottom_axis([(v, x(v)) for v in ticks], bottom, percent, "false positives",
                    (left + right) / 2),
        line([(x(0), y(0)), (x(1), y(1))], "grid"),
    ]  # fmt: skip
    for n, name in enumerate(names):
        points = [(x(a), y(b)) for a, b in curves[name]]
        parts += [line(points, _stroke(n)), *_key(n, name, left, 372 + 19 * n)]
    height = 368 + 19 * len(names)
    said = "Recall of each detector by share of real users flagged. " + ", ".join(names)
    return chart(400, height, "ROC curves of the detectors", said, *parts)


def _stroke(n: int) -> str:
    return f"c{n % _COLOURS}" + (" dash" if n >= _COLOURS else "")


def _key(n: int, name: str, x: float, y: float) -> list[Html]:
    short = name if len(name) <= _LONGEST - 14 else f"{name[: _LONGEST - 15]}…"
    return [rule(x, y, x + 18, y, f"line {_stroke(n)}"), text(x + 24, y + 4, short, "who", "start")]


def portrait(
    what: str, bins: Sequence[float], real: Sequence[float], fake: Sequence[float]
) -> Html:
    """Bars of fake shares, a line of real ones, over the same bins."""
    left, right, top, bottom = 8, 232, 22, 92
    most = max([*real, *fake, 1e-9])
    y = Linear(0, most, bottom, top)
    width = (right - left) / len(bins)
    middle = [left + width * (n + 0.5) for n in range(len(bins))]
    bars = [
        tag("rect", x=f"{m - 0.4 * width:.1f}", y=f"{y(v):.1f}", width=f"{0.8 * width:.1f}",
            height=f"{bottom - y(v):.1f}", class_="bar")
        for m, v in zip(middle, fake, strict=True)
    ]  # fmt: skip
    outline = line([(m, y(v)) for m, v in zip(middle, real, strict=True)], "real")
    every = max(1, -(-len(bins) // 6))
    labels = [
        text(m, bottom + 14, f"{b:g}")
        for n, (m, b) in enumerate(zip(middle, bins, strict=True))
        if n % every == 0
    ]
    said = f"{what}: highest share of fake {percent(max(fake))}, of real {percent(max(real))}"
    head = text(left, 14, f"{what} (top {percent(most)})", "label", "start")
    return chart(240, 112, f"{what} of real and fake profiles", said, head,
                 rule(left, bottom, right, bottom, "axis"), *bars, outline, *labels)  # fmt: skip
