"""Tables of a poisoning run: attacks down, victims and their arms across."""

from collections.abc import Iterable, Sequence

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL
from hardrank.reports.layout import attack_label, number_cell, scroll
from hardrank.reports.markup import Child, Html, join, tag
from hardrank.reports.numbers import Spell
from hardrank.reports.poisoning_evidence import ADAPTIVE, Poisoning

__all__ = ["grid", "more", "subject_head", "wide"]


def grid(
    read: Poisoning, caption: str, audit: str, metric: str, spell: Spell, first: str = ""
) -> Html | None:
    """Attacks by strength, then the adaptive ones, by subject. first: the metric of a row
    `no attack` above them."""
    rows = read.of(audit=audit, metric=metric)
    if not rows:
        return None
    across = list(dict.fromkeys(f.subject for f in rows))
    found = {(f.trial, f.subject): f for f in rows}
    body = [
        _line(attack_label(trial), [found.get((trial, s)) for s in across], spell)
        for trial in _ordered(read, (f.trial for f in rows))
    ]
    if first:
        clean = {f.subject: f for f in reversed(read.of(audit=audit, metric=first))
                 if f.value is not None}  # fmt: skip
        body.insert(0, _line("no attack", [clean.get(s) for s in across], spell))
    return wide(caption, subject_head("attack", across), body)


def _line(name: Child, cells: Sequence[Finding | None], spell: Spell) -> Html:
    head = tag("th", name, scope="row")
    return tag("tr", head, [number_cell(f, spell, seeds=False) for f in cells])


def _ordered(read: Poisoning, trials: Iterable[str]) -> list[str]:
    """Those that know a defence last, each after its likes."""
    strength = {trial: n for n, trial in enumerate(read.strongest_first)}
    return sorted(
        dict.fromkeys(trials),
        key=lambda t: (t.endswith(ADAPTIVE), strength.get(t.removesuffix(ADAPTIVE), len(strength))),
    )


def subject_head(first: str, subjects: Sequence[str]) -> list[Html]:
    """One row where subjects are victims or detectors alone, else two: victim over arms."""
    if not all("/" in s for s in subjects):
        return [tag("tr", [tag("th", t, scope="col") for t in (first, *subjects)])]
    victims = list(dict.fromkeys(s.partition("/")[0] for s in subjects))
    counts = {v: sum(s.partition("/")[0] == v for s in subjects) for v in victims}
    over = [tag("th", v, colspan=counts[v], scope="colgroup") for v in victims]
    under = [tag("th", s.partition("/")[2].replace(CONTROL, "no defence"), scope="col")
             for s in subjects]  # fmt: skip
    top = tag("th", first, scope="col", rowspan=2)
    return [tag("tr", top, over, class_="over"), tag("tr", under, class_="under")]


def wide(caption: str, head: Sequence[Html], body: Iterable[Html]) -> Html:
    """A table whose first column stays in sight while the rest scrolls."""
    made = tag("table", tag("caption", caption), tag("thead", *head), tag("tbody", list(body)),
               class_="numbers wide")  # fmt: skip
    return scroll(caption, made)


def more(summary: str, *children: Child) -> Html | None:
    """What few readers need, folded away; nothing where there is nothing to fold."""
    inside = join(children)
    return tag("details", tag("summary", summary), inside) if inside else None
