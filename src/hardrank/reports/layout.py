"""Blocks that sections share: a section, a table that scrolls, a figure, a number's cell."""

from collections.abc import Iterable, Sequence
from statistics import stdev

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED
from hardrank.reports.labels import label_html, labels
from hardrank.reports.markup import Child, Html, join, tag
from hardrank.reports.numbers import Spell, interval
from hardrank.reports.table import Change
from hardrank.reports.words import doubts as told

__all__ = ["STATES", "attack_label", "change_cell", "doubts", "figure", "legend", "note"]
__all__ += ["number_cell", "scroll", "section", "state", "table"]

STATES = {
    "passed": ("✓", "good"),
    "measured": ("✓", "good"),
    "failed": ("✕", "bad"),
    "unreliable": ("✕", "bad"),
    "undecided": ("?", "warn"),
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
    return scroll(caption, made)


def scroll(caption: str, made: Html) -> Html:
    return tag("div", made, class_="scroll", role="region", tabindex=0, aria_label=caption)


def figure(caption: Child, drawing: Html, *more: Child) -> Html:
    return tag("figure", tag("figcaption", caption), drawing, *more)


def legend(arms: Sequence[str] = (CONTROL, HARDENED), *, lines: bool = False) -> Html:
    """Shape and colour of each arm, and with `lines` the stroke of its line."""
    keys = [
        tag("span", tag("span", class_=f"stroke {arm}") if lines else None,
            tag("span", "●" if arm == CONTROL else "■", class_=f"key {arm}"), arm)
        for arm in arms
    ]  # fmt: skip
    return tag("p", keys, class_="legend", aria_label="Legend")


def attack_label(trial: str) -> Html:
    """The attack's name, its options small behind it, shortened where they are long."""
    return label_html(labels([trial])[trial])


def number_cell(
    finding: Finding | None,
    spell: Spell,
    lead: bool = False,
    *,
    seeds: bool = True,
    flag: bool = True,
) -> Html:
    """Value, interval and, with `seeds`, the spread between them. A number that is not reliable
    is dimmed and, with `flag`, tagged; why it is so, or is none, is told once a section by
    `doubts`."""
    if finding is None:
        return tag("td", tag("span", "–", class_="small", title="not measured"), class_="num")
    if finding.value is None:
        reason = finding.reason or "no reason given"
        none = tag("span", "no value", class_="small flag", title=reason)
        return tag("td", none, class_="num")
    around = interval(finding.low, finding.high, spell)
    lines = [tag("span", around, class_="small range")]
    if seeds and len(finding.per_seed) > 1:
        lines.append(tag("span", f"sd {spell(stdev(finding.per_seed))}", class_="small sd"))
    if not finding.reliable and flag:
        reason = finding.reason or "an audit marked it so"
        lines.append(tag("span", "unreliable", class_="small flag bad", title=reason))
    value = tag("strong" if lead else "span", spell(finding.value), class_="value")
    return tag("td", value, lines, class_="num" if finding.reliable else "num doubt")


def doubts(findings: Iterable[Finding | None]) -> Html:
    """Each distinct reason for "unreliable" or "no value" once, to stand beside a table."""
    return join(tag("p", why, class_="note doubts") for why in told(findings))


def change_cell(change: Change | None) -> Html:
    """Signed change, better or worse in words where the interval excludes none."""
    if change is None:
        return tag("td", class_="num")
    around = interval(change.low, change.high, change.spell)
    lines = [tag("span", around, class_="small range")] if around else []
    if change.better is not None:
        word, kind = ("better", "good") if change.better else ("worse", "bad")
        lines.append(tag("span", word, class_=f"small judged {kind}"))
    elif change.says:
        lines.append(tag("span", change.says, class_="small"))
    return tag("td", tag("span", change.spell(change.value), class_="value"), lines, class_="num")


def state(name: str, detail: str = "") -> Html:
    """A table cell with a sign, the state in words and what is behind it."""
    sign, kind = STATES[name]
    label = tag("span", tag("span", sign, class_="sign", aria_hidden="true"), name, class_="state")
    below = join(tag("span", detail, class_="small") if detail else None)
    return tag("td", label, below, class_=f"cell {kind}")
