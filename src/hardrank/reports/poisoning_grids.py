"""Tables of a poisoning run: attacks down, victims and their arms across."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL
from hardrank.reports.layout import number_cell, scroll
from hardrank.reports.markup import Child, Html, join, tag
from hardrank.reports.numbers import Spell
from hardrank.reports.poisoning_evidence import ADAPTIVE, Poisoning
from hardrank.reports.words import listed

__all__ = ["arm_named", "grid", "more", "subject_head", "told", "wide"]


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
    bad = _all_doubted(rows)
    body = [
        _line(read.shown(trial), [found.get((trial, s)) for s in across], spell, bad)
        for trial in _ordered(read, (f.trial for f in rows))
    ]
    if first:
        clean = {f.subject: f for f in reversed(read.of(audit=audit, metric=first))
                 if f.value is not None}  # fmt: skip
        body.insert(0, _line("no attack", [clean.get(s) for s in across], spell, bad))
    heads = subject_head("attack", across, bad, {s: read.called(s) for s in across})
    return wide(caption, heads, body)


def _line(name: Child, cells: Sequence[Finding | None], spell: Spell, bad: set[str]) -> Html:
    head = tag("th", name, scope="row")
    return tag("tr", head, [_cell(f, spell, bad) for f in cells])


def _cell(f: Finding | None, spell: Spell, bad: set[str]) -> Html:
    """In a column that is unreliable as a whole its head says so, not every cell."""
    return number_cell(f, spell, seeds=False, flag=f is None or f.subject not in bad)


def _all_doubted(rows: Sequence[Finding]) -> set[str]:
    """Subjects none of whose numbers is reliable."""
    valued = [f for f in rows if f.value is not None]
    return {f.subject for f in valued} - {f.subject for f in valued if f.reliable}


def _ordered(read: Poisoning, trials: Iterable[str]) -> list[str]:
    """Those that know a defence last, each after its likes."""
    strength = {trial: n for n, trial in enumerate(read.strongest_first)}
    return sorted(
        dict.fromkeys(trials),
        key=lambda t: (t.endswith(ADAPTIVE), strength.get(t.removesuffix(ADAPTIVE), len(strength))),
    )


def subject_head(
    first: str, subjects: Sequence[str], bad: Collection[str] = (),
    names: Mapping[str, str] = MappingProxyType({}),
) -> list[Html]:  # fmt: skip
    """One row where subjects are victims or detectors alone, else two: victim over arms. bad:
    subjects whose numbers are all unreliable. names: what to call a detector."""
    if not all("/" in s for s in subjects):
        return [tag("tr", [tag("th", names.get(t, t), scope="col") for t in (first, *subjects)])]
    flag = tag("span", "unreliable", class_="small flag bad")
    victims = list(dict.fromkeys(s.partition("/")[0] for s in subjects))
    counts = {v: sum(s.partition("/")[0] == v for s in subjects) for v in victims}
    over = [tag("th", v, colspan=counts[v], scope="colgroup") for v in victims]
    under = [tag("th", s.partition("/")[2].replace(CONTROL, "no defence"),
                 flag if s in bad else None, scope="col") for s in subjects]  # fmt: skip
    top = tag("th", first, scope="col", rowspan=2)
    return [tag("tr", top, over, class_="over"), tag("tr", under, class_="under")]


def told(read: Poisoning, findings: Iterable[Finding | None]) -> Html:
    """Each reason for "unreliable" or "no value" once, with the arms that it is about."""
    about: dict[tuple[str, str, str], list[str]] = {}
    for f in findings:
        if f is not None and (f.value is None or not f.reliable):
            kind = "No value" if f.value is None else "Unreliable"
            advice = f" What to try: {f.remedy}" if f.remedy and f.value is not None else ""
            arms = about.setdefault((kind, _why(f), advice), [])
            arms += [named] if (named := arm_named(f.subject)) not in arms else []
    return join(
        tag(
            "p",
            f"{kind} ({_several(read, arms)}): {reason.rstrip('.')}.{advice}",
            class_="note doubts",
        )
        for (kind, reason, advice), arms in about.items()
    )


def _several(read: Poisoning, arms: Sequence[str]) -> str:
    if len(arms) > 4 and len(arms) == len(read.subjects):
        return "all arms"
    return listed([*arms[:4], f"{len(arms) - 4} more"] if len(arms) > 5 else list(arms))


def _why(f: Finding) -> str:
    """Why there is no value is the first of several reasons."""
    if f.value is None and f.reason.startswith("not defined") and "defence_effect" in f.metric:
        return "the attack wins nothing without the defence, so there is nothing to undo"
    return (f.reason if f.value is not None else f.reason.split("; ")[0]) or "no reason given"


def arm_named(subject: str) -> str:
    """`ease/filter` -> `ease, filter`; `ease/control` -> `ease, no defence`."""
    return subject.replace(f"/{CONTROL}", ", no defence").replace("/", ", ")


def wide(caption: str, head: Sequence[Html], body: Iterable[Html], *, lined: bool = False) -> Html:
    """A table whose first column stays in sight while the rest scrolls. lined: few columns,
    each number in one line with its interval where the page is broad."""
    made = tag("table", tag("caption", caption), tag("thead", *head), tag("tbody", list(body)),
               class_="numbers wide lined" if lined else "numbers wide")  # fmt: skip
    return scroll(caption, made)


def more(summary: str, *children: Child) -> Html | None:
    """What few readers need, folded away; nothing where there is nothing to fold."""
    inside = join(children)
    return tag("details", tag("summary", summary), inside) if inside else None
