"""Metric against relative radius, one panel per goal, site and attack."""

from collections.abc import Mapping
from typing import NamedTuple

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import (
    attack_label,
    doubts,
    figure,
    legend,
    number_cell,
    section,
    table,
)
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import metric_k
from hardrank.reports.scales import padded
from hardrank.reports.sections.curve_chart import Curve, Span, at, draw, radius_name
from hardrank.reports.words import metric_name, spell_of

__all__ = ["curves_section"]


class Panel(NamedTuple):
    goal: str
    site: str
    trial: str
    metric: str


def curves_section(evidence: Evidence) -> Html:
    panels = _panels(evidence)
    if not panels:
        return Html("")
    beyond = _unbounded(evidence)
    figures = [
        _figure(panel, found, _span(panels, panel, beyond), beyond)
        for panel, found in panels.items()
    ]
    lead = (
        "How a metric moves as a bounded perturbation grows. Radii are relative to the mean "
        "embedding norm of the victim; 0 is clean. Bands are 95 % intervals. This is the worst "
        "case that bounds many real edits, not an edit that a seller can make."
    )
    apart = (
        "Unbounded: a radius that limits nothing, drawn apart and with its own value; an arrow "
        "marks what lies above the axis."
    )
    seen = any(at(f) in beyond for found in panels.values() for f in found)
    return section(
        "curves",
        "Robustness curves",
        lead,
        legend(_arms(panels), lines=True),
        tag("p", apart, class_="note") if seen else None,
        doubts(f for found in panels.values() for f in found),
        tag("div", figures, class_="panels"),
    )


def _unbounded(evidence: Evidence) -> frozenset[float]:
    """Radii that the experiment calls unbounded. They only show that an attack works at all;
    on one axis with the others they would squeeze these together."""
    curves = evidence.facts.config.get("curves", ())
    found = [c.get("unbounded") for c in curves if isinstance(c, Mapping)]
    return frozenset(float(r) for r in found if isinstance(r, int | float))


def _panels(evidence: Evidence) -> dict[Panel, list[Finding]]:
    panels: dict[Panel, list[Finding]] = {}
    arms = (evidence.subject(CONTROL), evidence.subject(HARDENED))
    for f in evidence.of("curve"):
        if f.subject in arms and f.radius is not None:
            key = Panel(_word(f, "goal"), _word(f, "site"), f.trial, f.metric)
            panels.setdefault(key, []).append(f)
    exposed = {p[:3] for p in panels if metric_k(p.metric)[0].startswith(("er", "accuracy"))}
    return {p: found for p, found in panels.items() if not (_rank(p) and p[:3] in exposed)}


def _rank(panel: Panel) -> bool:
    """Ranks are drawn only where exposure, which says it better, was not measured; and so is
    the success rate where accuracy was."""
    return metric_k(panel.metric)[0].startswith(("rank", "asr"))


def _word(f: Finding, column: str) -> str:
    value = f.where.get(column, "")
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value or "")


def _arms(panels: dict[Panel, list[Finding]]) -> list[str]:
    found = {f.subject.partition("/")[2] for group in panels.values() for f in group}
    return [arm for arm in (CONTROL, HARDENED) if arm in found]


def _span(panels: dict[Panel, list[Finding]], panel: Panel, beyond: frozenset[float]) -> Span:
    """One y axis for all panels of a metric and goal, so that heights can be compared; the
    unbounded radius does not stretch it, unless there is nothing else."""
    alike = [
        f
        for other, found in panels.items()
        if (other.metric, other.goal) == (panel.metric, panel.goal)
        for f in found
    ]
    inside = [f for f in alike if at(f) not in beyond] or alike
    return padded([v for f in inside for v in (f.value, f.low, f.high) if v is not None], floor=0.0)


def _figure(panel: Panel, found: list[Finding], span: Span, beyond: frozenset[float]) -> Html:
    what = [part for part in (panel.goal, panel.site) if part]
    label = attack_label(panel.trial)
    caption = [tag("b", " · ".join(what) or label)]
    metric = metric_name(panel.metric)
    detail = tag("span", metric, [", ", label] if what else None, class_="small")
    curve = Curve(metric, spell_of(panel.metric), found, span, beyond, _description(panel, found))
    return figure([caption, detail], draw(curve), _numbers(panel, found, beyond))


def _description(panel: Panel, found: list[Finding]) -> str:
    spell = spell_of(panel.metric)
    said = []
    for arm in (CONTROL, HARDENED):
        mine = sorted((f for f in found if f.subject.endswith(f"/{arm}")), key=at)
        numbers = [f"{spell(f.value)} at {radius_name(at(f))}" for f in mine if f.value is not None]
        said.append(f"{arm}: {', '.join(numbers)}" if numbers else f"{arm}: not measured")
    return f"{panel.goal} at {panel.site} by {panel.trial}. " + "; ".join(said)


def _numbers(panel: Panel, found: list[Finding], beyond: frozenset[float]) -> Html:
    radii = sorted({at(f) for f in found})
    arms = [arm for arm in (CONTROL, HARDENED) if any(f.subject.endswith(arm) for f in found)]
    cells = {(at(f), f.subject.partition("/")[2]): f for f in found}
    spell = spell_of(panel.metric)
    body = []
    for r in radii:
        apart = tag("span", "unbounded", class_="small") if r in beyond else None
        made = [number_cell(cells.get((r, arm)), spell) for arm in arms]
        body.append(tag("tr", tag("th", radius_name(r), apart, scope="row"), made))
    head = ["Radius", *(arm.capitalize() for arm in arms)]
    return tag("details", tag("summary", "Numbers"), table(_title(panel), head, body))


def _title(panel: Panel) -> str:
    parts = [metric_name(panel.metric), panel.goal, panel.site, panel.trial]
    return ", ".join(part for part in parts if part)
