"""Metric against relative radius, one panel per goal, site and attack."""

from collections.abc import Sequence
from typing import NamedTuple

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import figure, legend, number_cell, section, table
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.numbers import metric_k
from hardrank.reports.scales import Linear, Radii, nice_ticks, padded
from hardrank.reports.svg import band, bottom_axis, chart, left_axis, line, mark
from hardrank.reports.words import metric_name, spell_of

__all__ = ["curves_section"]

_WIDTH, _HEIGHT = 360, 262
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 346, 12, 216


class Panel(NamedTuple):
    goal: str
    site: str
    trial: str
    metric: str


def curves_section(evidence: Evidence) -> Html:
    panels = _panels(evidence)
    if not panels:
        return Html("")
    figures = [_figure(panel, found, _span(panels, panel)) for panel, found in panels.items()]
    lead = (
        "How a metric moves as a bounded perturbation grows. Radii are relative to the mean "
        "embedding norm of the victim; 0 is clean. Bands are 95 % intervals. This is the worst "
        "case that bounds many real edits, not an edit that a seller can make."
    )
    return section(
        "curves",
        "Robustness curves",
        lead,
        legend(_arms(panels)),
        tag("div", figures, class_="panels"),
    )


def _panels(evidence: Evidence) -> dict[Panel, list[Finding]]:
    panels: dict[Panel, list[Finding]] = {}
    arms = (evidence.subject(CONTROL), evidence.subject(HARDENED))
    for f in evidence.of("curve"):
        if f.subject in arms and f.radius is not None:
            key = Panel(_word(f, "goal"), _word(f, "site"), f.trial, f.metric)
            panels.setdefault(key, []).append(f)
    exposed = {p[:3] for p in panels if metric_k(p.metric)[0].startswith("er")}
    return {p: found for p, found in panels.items() if not (_rank(p) and p[:3] in exposed)}


def _rank(panel: Panel) -> bool:
    """Ranks are drawn only where exposure, which says it better, was not measured."""
    return metric_k(panel.metric)[0].startswith("rank")


def _word(f: Finding, column: str) -> str:
    value = f.where.get(column, "")
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _arms(panels: dict[Panel, list[Finding]]) -> list[str]:
    found = {f.subject.partition("/")[2] for group in panels.values() for f in group}
    return [arm for arm in (CONTROL, HARDENED) if arm in found]


def _span(panels: dict[Panel, list[Finding]], panel: Panel) -> tuple[float, float]:
    """One y axis for all panels of a metric and goal, so that heights can be compared."""
    values = [
        v
        for other, found in panels.items()
        if (other.metric, other.goal) == (panel.metric, panel.goal)
        for f in found
        for v in (f.value, f.low, f.high)
        if v is not None
    ]
    return padded(values, floor=0.0)


def _figure(panel: Panel, found: list[Finding], span: tuple[float, float]) -> Html:
    what = [part for part in (panel.goal, panel.site) if part]
    caption = [tag("b", " · ".join(what) or panel.trial)]
    detail = f"{metric_name(panel.metric)}, {panel.trial}" if what else metric_name(panel.metric)
    return figure([caption, tag("span", detail, class_="small")], _draw(panel, found, span),
                  _numbers(panel, found))  # fmt: skip


def _draw(panel: Panel, found: list[Finding], span: tuple[float, float]) -> Html:
    spell = spell_of(panel.metric)
    marks = nice_ticks(*span, wanted=4)
    y = Linear(marks[0], marks[-1], _BOTTOM, _TOP)
    radii = tuple(sorted({f.radius for f in found if f.radius is not None}))
    x = Radii(radii, _LEFT + 12, _RIGHT - 12)
    drawn = [
        left_axis([(v, y(v)) for v in marks], _LEFT, _RIGHT, spell),
        bottom_axis([(r, x(r)) for r in radii], _BOTTOM, None, "relative radius",
                    (_LEFT + _RIGHT) / 2),
    ]  # fmt: skip
    for arm in (CONTROL, HARDENED):
        mine = sorted((f for f in found if f.subject.endswith(f"/{arm}")), key=_at)
        drawn.append(_arm(arm, [f for f in mine if f.value is not None], x, y, panel))
    return chart(_WIDTH, _HEIGHT, f"{metric_name(panel.metric)} by radius",
                 _description(panel, found), *drawn)  # fmt: skip


def _at(f: Finding) -> float:
    return f.radius or 0.0


def _arm(arm: str, found: Sequence[Finding], x: Radii, y: Linear, panel: Panel) -> Html:
    if not found:
        return Html("")
    spell = spell_of(panel.metric)
    ranged = [f for f in found if f.low is not None and f.high is not None]
    points = [(x(_at(f)), y(f.value or 0.0)) for f in found]
    parts = []
    if ranged:
        uppers = [(x(_at(f)), y(f.high or 0.0)) for f in ranged]
        parts.append(band(uppers, [(x(_at(f)), y(f.low or 0.0)) for f in ranged], arm))
    parts.append(line(points, arm))
    for f, point in zip(found, points, strict=True):
        parts.append(mark(*point, arm, f"{arm}, radius {_radius(_at(f))}: {spell(f.value or 0.0)}"))
    return join(parts)


def _radius(value: float) -> str:
    return f"{value:g}"


def _description(panel: Panel, found: list[Finding]) -> str:
    spell = spell_of(panel.metric)
    said = []
    for arm in (CONTROL, HARDENED):
        mine = sorted((f for f in found if f.subject.endswith(f"/{arm}")), key=_at)
        numbers = [f"{spell(f.value)} at {_radius(_at(f))}" for f in mine if f.value is not None]
        said.append(f"{arm}: {', '.join(numbers)}" if numbers else f"{arm}: not measured")
    return f"{panel.goal} at {panel.site} by {panel.trial}. " + "; ".join(said)


def _numbers(panel: Panel, found: list[Finding]) -> Html:
    radii = sorted({_at(f) for f in found})
    arms = [arm for arm in (CONTROL, HARDENED) if any(f.subject.endswith(arm) for f in found)]
    cells = {(_at(f), f.subject.partition("/")[2]): f for f in found}
    spell = spell_of(panel.metric)
    body = [
        tag("tr", tag("th", _radius(r), scope="row"),
            [number_cell(cells.get((r, arm)), spell) for arm in arms])
        for r in radii
    ]  # fmt: skip
    head = ["Radius", *(arm.capitalize() for arm in arms)]
    return tag("details", tag("summary", "Numbers"), table(_title(panel), head, body))


def _title(panel: Panel) -> str:
    parts = [metric_name(panel.metric), panel.goal, panel.site, panel.trial]
    return ", ".join(part for part in parts if part)
