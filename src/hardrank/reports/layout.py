"""Blocks that sections share: a section, a table that scrolls, a figure, a number's cell."""

from collections.abc import Iterable, Sequence
from statistics import stdev

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED
from hardrank.reports.markup import Child, Html, join, tag
from hardrank.reports.numbers import Spell, interval
from hardrank.reports.table import Change

__all__ = ["STATES", "change_cell", "figure", "legend", "note", "number_cell", "section", "state"]
__all__ += ["table"]

STATES = {
    "passed": ("✓", "good"),
    "measured": ("✓", "good"),
    "failed": ("✕", "bad"),
    "unreliable": ("✕", "bad"),
    "not run": ("–", "warn"),
}
"""State -> sign and class: never colour alone."""


def section(key: str, title: str, lead: str, *children: Child) -> Html:
    """A titled part of the page; `lead` says in a sentence how to read it."""
    heading = tag("h2", title, id=f"{key}-title")
    intro = tag("p", lead, class_="lead") if lead else None
    return tag("section", heading, intro, *children, id=key, aria_labelledby=f"{key}-title")


def note(words: Child) -> Html:
    return tag("p", words, class_="note")


def table(
    caption: str, head: Sequence[Child], body: Iterable[Html], class_: str = "numbers"
) -> Html:
    """A table in a box that scrolls sideways by itself, so that the page never does."""
    top = tag("thead", tag("tr", [tag("th", cell, scope="col") for cell in head]))
    made = tag("table", tag("caption", caption), top, tag("tbody", list(body)), class_=class_)
    return tag("div", made, class_="scroll", role="region", tabindex=0, aria_label=caption)


def figure(caption: Child, drawing: Html, *more: Child) -> Html:
    return tag("figure", tag("figcaption", caption), drawing, *more)


def legend(arms: Sequence[str] = (CONTROL, HARDENED)) -> Html:
    """Shape and colour of each arm."""
    keys = [
        tag("span", tag("span", "●" if arm == CONTROL else "■", class_=f"key {arm}"), arm)
        for arm in arms
    ]
    return tag("p", keys, class_="legend", aria_label="Legend")


def number_cell(finding: Finding | None, spell: Spell, lead: bool = False) -> Html:
    """Value, interval below it, spread between seeds; a reason where there is no value."""
    if finding is None:
        return tag("td", tag("span", "–", class_="small", title="not measured"), class_="num")
    if finding.value is None:
        reason = finding.reason or "no reason given"
        return tag("td", tag("span", f"no value: {reason}", class_="small reason"), class_="num")
    around = interval(finding.low, finding.high, spell)
    spread = f"sd {spell(stdev(finding.per_seed))}" if len(finding.per_seed) > 1 else ""
    lines = [tag("span", part, class_="small") for part in (around, spread)]
    if not finding.reliable:
        flag = f"unreliable{': ' if finding.reason else ''}{finding.reason}"
        lines.append(tag("span", flag, class_="small reason bad"))
    value = tag("strong" if lead else "span", spell(finding.value), class_="value")
    return tag("td", value, lines, class_="num")


def change_cell(change: Change | None) -> Html:
    """Signed change, better or worse in words where the interval excludes none."""
    if change is None:
        return tag("td", class_="num")
    around = interval(change.low, change.high, change.spell)
    lines = [tag("span", around, class_="small")] if around else []
    if change.better is not None:
        word, kind = ("better", "good") if change.better else ("worse", "bad")
        lines.append(tag("span", word, class_=f"small judged {kind}"))
    return tag("td", tag("span", change.spell(change.value), class_="value"), lines, class_="num")


def state(name: str, detail: str = "") -> Html:
    """A table cell with a sign, the state in words and what is behind it."""
    sign, kind = STATES[name]
    label = tag("span", tag("span", sign, class_="sign", aria_hidden="true"), name, class_="state")
    below = join(tag("span", detail, class_="small") if detail else None)
    return tag("td", label, below, class_=f"cell {kind}")
