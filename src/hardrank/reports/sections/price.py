"""Who pays for the hardening: change of clean quality by group of items."""

from collections.abc import Iterable

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import change_cell, doubts, figure, number_cell, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.numbers import interval, relative, signed
from hardrank.reports.scales import Linear, nice_ticks, padded
from hardrank.reports.svg import bottom_axis, chart, mark, rule, text
from hardrank.reports.table import Change, flips, main_metric, named, price, quality_name
from hardrank.reports.words import group_name, place, spell_of

__all__ = ["price_section"]

_WIDTH, _LEFT, _RIGHT, _STEP = 440, 84, 424, 30


def price_section(evidence: Evidence) -> Html:
    if not evidence.has_hardened:
        return Html("")
    found = evidence.of("utility", trial="clean", subject=evidence.subject(HARDENED))
    groups = sorted({f.group for f in found}, key=place)
    changes = {g: c for g in groups if (c := price(evidence, g)) is not None}
    if not changes:
        return Html("")
    quality = quality_name(evidence)
    detail = tag("span", "hardened relative to control, 95 % intervals", class_="small")
    caption = [tag("b", f"Change of clean {quality}"), detail]
    return section(
        "price",
        "Who pays",
        f"{_why(evidence)} Left of zero is a loss.",
        tag(
            "div",
            figure(caption, _draw(changes, quality)),
            _table(evidence, changes),
            class_="split",
        ),
        doubts(f for arm in (CONTROL, HARDENED) for f in _quality(evidence, arm, changes)),
    )


def _why(evidence: Evidence) -> str:
    if flips(evidence):
        return "Favouring one class also stops flips, so quality is stated for each class of text."
    return (
        "Burying rare and new items also stops promotion, so quality is stated for each group "
        "of held-out items."
    )


def _draw(changes: dict[str, Change], quality: str) -> Html:
    ends = [v for c in changes.values() for v in (c.value, c.low, c.high) if v is not None]
    marks = nice_ticks(*padded(ends, floor=0.0), wanted=5)
    x = Linear(marks[0], marks[-1], _LEFT, _RIGHT)
    bottom = 14 + _STEP * len(changes)
    spell = signed(relative)
    drawn = [rule(x(v), 8, x(v), bottom) for v in marks]
    for row, (group, change) in enumerate(changes.items()):
        y = 8 + _STEP * (row + 0.5)
        drawn.append(text(_LEFT - 10, y + 4, group, "tick name", "end"))
        left, right = sorted((x(0.0), x(change.value)))
        drawn.append(tag("rect", x=f"{left:.1f}", y=f"{y - 6:.1f}", width=f"{right - left:.1f}",
                         height=12, class_="bar hardened"))  # fmt: skip
        if change.low is not None and change.high is not None:
            drawn.append(rule(x(change.low), y, x(change.high), y, "whisker"))
            drawn += [rule(x(v), y - 4, x(v), y + 4, "whisker") for v in (change.low, change.high)]
        drawn.append(mark(x(change.value), y, HARDENED, f"{group}: {spell(change.value)}", 3.4))
    drawn.append(rule(x(0.0), 4, x(0.0), bottom, "axis"))
    axis = bottom_axis([(v, x(v)) for v in marks], bottom, spell,
                       f"change of {quality}", (_LEFT + _RIGHT) / 2)  # fmt: skip
    said = "; ".join(
        f"{group}: {spell(c.value)} {interval(c.low, c.high, spell)}".strip()
        for group, c in changes.items()
    )
    return chart(_WIDTH, bottom + 44, "Price of robustness by group", said, *drawn, axis)


def _table(evidence: Evidence, changes: dict[str, Change]) -> Html:
    body = []
    metric = main_metric(evidence)
    for group, change in changes.items():
        arms = [
            named(evidence.of("utility", subject=evidence.subject(arm), group=group), metric)
            for arm in (CONTROL, HARDENED)
        ]
        spell = spell_of(metric)
        name = "all texts" if flips(evidence) and group == "all" else group_name(group)
        label = tag("th", name, tag("span", _count(arms[0]), class_="small"),
                    scope="row")  # fmt: skip
        cells = [number_cell(f, spell) for f in arms]
        body.append(tag("tr", label, cells, change_cell(change)))
    head = ["Texts" if flips(evidence) else "Held-out item", "Control", "Hardened", "Change"]
    return table(f"Clean {quality_name(evidence)} by group", head, body, "numbers stacks")


def _quality(evidence: Evidence, arm: str, groups: Iterable[str]) -> list[Finding | None]:
    subject = evidence.subject(arm)
    metric = main_metric(evidence)
    return [named(evidence.of("utility", subject=subject, group=g), metric) for g in groups]


def _count(finding: object) -> str:
    n = getattr(finding, "n", 0)
    return f"n = {n}" if n else ""
