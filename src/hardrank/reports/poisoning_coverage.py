"""Which families of attacks by fake users were tried against which arm, and what each knew."""

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL
from hardrank.reports.labels import apart
from hardrank.reports.layout import note, section, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.poisoning_evidence import Poisoning
from hardrank.reports.words import listed

__all__ = ["coverage", "untried"]

_WAYS = {"unseen": "unseen", "seen": "known", "adaptive": "adaptive"}
"""Group of a finding -> what its cell says."""
_LEAD = (
    "Every family of attacks by fake users that can be mounted here, tried or not. Unseen: the "
    "defence learns nothing, or nothing that it learnt from was of the family. Known: it learnt "
    "from other attacks of the family. Adaptive: the attacker knows the defence."
)


def coverage(read: Poisoning) -> Html:
    """Families down, arms across, all victims together."""
    found = read.of(audit="coverage")
    title = "Which attacks were tried?"
    if not found:
        missing = (
            "No coverage matrix was kept with this run: run it again; what was measured stays."
        )
        return section("coverage", title, "", note(missing))
    goal = "demote" if read.demote else "promote"
    mine = [f for f in found if f.where.get("goal") == goal]
    families = list(dict.fromkeys(str(f.where["sample"]) for f in mine))
    arms = [CONTROL, *read.arms]
    body = []
    for family in families:
        rows = [f for f in mine if f.where["sample"] == family]
        plain = dict.fromkeys(t for f in rows if f.value and f.group != "adaptive"
                              for t in apart(f.reason))  # fmt: skip
        names = tag("span", ", ".join(read.called(t) for t in plain), class_="small")
        head = tag("th", family, names if plain else None, scope="row")
        body.append(tag("tr", head, [_cell(read, rows, arm) for arm in arms]))
    heads = ["family", *("no defence" if arm == CONTROL else arm for arm in arms)]
    made = table(f"Attacks that {goal}, by family and arm", heads, body, "matrix tried")
    return section("coverage", title, _LEAD, made, _told(found, goal))


def untried(found: list[Finding], goal: str) -> list[str]:
    """Families with no attack of this goal on any arm."""
    done: dict[str, bool] = {}
    for f in found:
        if f.where.get("goal") == goal:
            family = str(f.where["sample"])
            done[family] = done.get(family, False) or bool(f.value)
    return [family for family, tried in done.items() if not tried]


def _told(found: list[Finding], goal: str) -> list[Html]:
    said = []
    if missing := untried(found, goal):
        said.append(f"Not tried on any arm: {listed(missing)}.")
    other = "promote" if goal == "demote" else "demote"
    if rest := untried(found, other):
        said.append(f"Not tried with the goal to {other}: {listed(rest)}.")
    return [note(words) for words in said]


def _cell(read: Poisoning, rows: list[Finding], arm: str) -> Html:
    mine = [f for f in rows if f.subject.partition("/")[2] == arm and f.value]
    if not mine:
        return tag("td", _sign("–", "not tried"), class_="cell warn")
    victims = [s for s in read.subjects if s.partition("/")[2] == arm]
    lines = []
    for group, word in _WAYS.items():
        same = [f for f in mine if f.group == group]
        if not same:
            continue
        lines.append(_sign("✓", "tried" if arm == CONTROL else word))
        if group == "adaptive":
            names = dict.fromkeys(read.called(t) for f in same for t in apart(f.reason))
            short = ", ".join(name.removesuffix(" (adaptive)") for name in names)
            lines.append(tag("span", short, class_="small"))
        if len({f.subject for f in same}) < len(victims):
            on = listed([f.subject.partition("/")[0] for f in same])
            lines.append(tag("span", f"on {on} alone", class_="small"))
    return tag("td", lines, class_="cell good")


def _sign(sign: str, word: str) -> Html:
    mark = tag("span", sign, class_="sign", aria_hidden="true")
    return tag("span", mark, word, class_="state")
