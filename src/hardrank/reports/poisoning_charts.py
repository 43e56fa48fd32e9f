"""Charts of a poisoning run: exposure by attack, ROC curves, real and fake histograms."""

from collections.abc import Mapping, Sequence

from hardrank.findings import Finding
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import percent
from hardrank.reports.scales import Linear, nice_ticks
from hardrank.reports.svg import bottom_axis, chart, left_axis, line, mark, rule, text

__all__ = ["STYLE", "dots", "portrait", "roc"]

STYLE = """
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); gap: 1.5rem; }
.portraits { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
  gap: .25rem 1rem; margin-bottom: .5rem; }
.portraits h3 { grid-column: 1 / -1; margin: 1.2rem 0 0; }
.portraits svg, #detection svg { max-width: 100%; }
#detection figure { max-width: 40rem; }
svg .bar { fill: var(--hardened); opacity: .55; }
svg .real { stroke: var(--control); }
svg .whisker { stroke: var(--hardened); stroke-width: 1.5; }
svg .who { fill: var(--ink); font-size: 11px; }
svg .c0 { stroke: #0b62a4; } svg .c1 { stroke: #b8500a; } svg .c2 { stroke: #146c43; }
svg .c3 { stroke: #8a2f8f; } svg .c4 { stroke: #7d5200; } svg .c5 { stroke: #a3201a; }
svg .c6 { stroke: #3f6f7a; } svg .c7 { stroke: #565f6a; }
svg .dash { stroke-dasharray: 5 3; }
.mark.out { fill: var(--paper); stroke: var(--arm); stroke-width: 1.75; }
"""
_COLOURS = 8
_NAME = 190


def dots(rows: Sequence[tuple[str, Finding | None, Finding]], metric: str, subject: str) -> Html:
    """(attack, before, after) as one line each, the strongest first; empty without rows."""
    if not rows:
        return Html("")
    values = [v for _, _, f in rows for v in (f.value, f.high) if v is not None]
    marks = nice_ticks(0.0, max([*values, 1e-4]), wanted=4)
    height = 34 + 20 * len(rows) + 34
    x = Linear(marks[0], marks[-1], _NAME + 8, 500)
    bottom = height - 40
    parts = [bottom_axis([(v, x(v)) for v in marks], bottom, percent, metric, (_NAME + 500) / 2)]
    parts += [rule(x(v), 14, x(v), bottom, "grid") for v in marks]
    for n, (name, before, after) in enumerate(rows):
        parts.append(_row(26 + 20 * n, name, before, after, x))
    said = f"{metric} of {len(rows)} attacks on {subject}; all values are in the table below."
    return chart(520, height, f"{metric} by attack: {subject}", said, *parts)


def _row(y: float, name: str, before: Finding | None, after: Finding, x: Linear) -> Html:
    short = name if len(name) <= 32 else f"{name[:31]}…"
    parts = [text(_NAME, y + 4, short, "who", "end")]
    if after.low is not None and after.high is not None:
        parts.append(rule(x(max(after.low, 0)), y, x(after.high), y, "whisker"))
    if before is not None and before.value is not None:
        parts.append(mark(x(before.value), y, "control out", f"{name}: before", 4))
    assert after.value is not None
    parts.append(mark(x(after.value), y, "hardened", f"{name}: {percent(after.value)}", 4))
    return join(parts)


def roc(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Html:
    """Recall by false positives of each detector; empty without curves."""
    if not curves:
        return Html("")
    names = list(curves)
    left, top, bottom, right = 48, 16, 316, 360
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
        parts += [line(points, _stroke(n)), *_key(n, name, right + 16, 24 + 20 * n)]
    height = max(360, 40 + 20 * len(names))
    said = "Recall of each detector by share of real users flagged. " + ", ".join(names)
    return chart(620, height, "ROC curves of the detectors", said, *parts)


def _stroke(n: int) -> str:
    return f"c{n % _COLOURS}" + (" dash" if n >= _COLOURS else "")


def _key(n: int, name: str, x: float, y: float) -> list[Html]:
    short = name if len(name) <= 34 else f"{name[:33]}…"
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
