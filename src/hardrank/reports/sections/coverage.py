"""What was attacked and what was not: attacks by arm, and the matrix of kinds of threat."""

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, Evidence
from hardrank.reports.layout import attack_label, doubts, note, section, state, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.table import flips

__all__ = ["coverage", "coverage_section", "uncovered"]

_BESIDE = ("gate", "coverage", "worst-case")
"""Audits that mount nothing of their own."""
_GOALS = ("promote", "demote", "degrade", "flip")
Cells = dict[tuple[str, str], dict[str, list[Finding]]]


def coverage_section(evidence: Evidence) -> Html:
    rows, arms = coverage(evidence), list(evidence.arms) or [CONTROL]
    lead = (
        "What was attacked and what was not. An attack that could not run is listed with its "
        "reason; nothing is left out silently."
    )
    body = []
    for (trial, what), cells in rows.items():
        small = tag("span", what, class_="small") if what else None
        head = tag("th", attack_label(trial), small, scope="row")
        body.append(tag("tr", head, [_covered_cell(*cells[arm]) for arm in arms]))
    body.append(_privacy(evidence, len(arms)))
    columns = ["Attack", *(evidence.shown(arm).capitalize() for arm in arms)]
    why = doubts(f for f in _attacked(evidence) if f.value is not None)
    made = table("Attack by arm", columns, body, "matrix")
    return section("coverage", "Coverage", lead, why, made, _matrix(evidence))


def _matrix(evidence: Evidence) -> Html:
    """Families of attacks on a surface, by goal; whether training met them, by arm."""
    found = [f for f in evidence.of("coverage") if f.subject.partition("/")[0] == evidence.model]
    if not found:
        invalid = "No coverage matrix was kept with this run: as an audit it is not valid."
        return Html("") if flips(evidence) else note(invalid)
    goals = [g for g in _GOALS if any(f.where.get("goal") == g for f in found)]
    rows: Cells = {}
    for f in found:
        key = (str(f.where.get("sample")), str(f.where.get("site")))
        rows.setdefault(key, {}).setdefault(str(f.where.get("goal")), []).append(f)
    body = [
        tag("tr", tag("th", family, tag("span", surface, class_="small"), scope="row"),
            [_kind_cell(cells.get(goal, [])) for goal in goals], _seen_cell(evidence, cells))
        for (family, surface), cells in rows.items()
    ]  # fmt: skip
    head = ["Kind of attack", *(goal.capitalize() for goal in goals), "Met in training by"]
    missing = uncovered(evidence)
    told = note(f"Not measured: {'; '.join(missing)}.") if missing else None
    lead = "Every kind of threat that is known here, measured or not, by what the attacker wants."
    return tag(
        "div", tag("h3", "Kinds of threat"), tag("p", lead, class_="lead"),
        table("Kinds of attack by goal", head, body, "matrix kinds"), told,
    )  # fmt: skip


def uncovered(evidence: Evidence) -> list[str]:
    """`copying on item-text (demote)`: every cell of the matrix that no arm was measured in."""
    cells: dict[str, bool] = {}
    for f in evidence.of("coverage"):
        if f.subject.partition("/")[0] == evidence.model:
            family, surface, goal = (f.where.get(c) for c in ("sample", "site", "goal"))
            name = f"{family} on {surface} ({goal})"
            cells[name] = cells.get(name, False) or bool(f.value)
    return [name for name, done in cells.items() if not done]


def _kind_cell(found: list[Finding]) -> Html:
    if not found:
        return tag("td", tag("span", "no such attack", class_="small"), class_="cell")
    done = [f for f in found if f.value]
    if not done:
        return state("not run", "not measured")
    few = "" if len(done) == len(found) else f" on {len(done)} of {len(found)} arms"
    return state("measured", f"{done[0].reason}{few}")


def _seen_cell(evidence: Evidence, cells: dict[str, list[Finding]]) -> Html:
    arms = dict.fromkeys(
        evidence.shown(f.subject.partition("/")[2])
        for found in cells.values()
        for f in found
        if f.group == "seen"
    )
    return tag("td", ", ".join(arms) or tag("span", "none", class_="small"))


def _covered_cell(name: str, detail: str) -> Html:
    """Why a result is unreliable stands once above the table, not in every cell."""
    return state(name) if name == "unreliable" else state(name, detail)


def _privacy(evidence: Evidence, width: int) -> Html:
    """Said also where it was not measured: silence would read as safety."""
    found = evidence.of("privacy")
    cell = state("measured") if found else state("not run", "no privacy audit in this run")
    return tag("tr", tag("th", "privacy", scope="row"), [cell] * width)


def coverage(evidence: Evidence) -> dict[tuple[str, str], dict[str, tuple[str, str]]]:
    """Attack label and what it was aimed at -> arm -> state and detail. Every attack has a
    cell for every arm."""
    keys: Cells = {}
    for f in _attacked(evidence):
        arms = keys.setdefault((f.trial, _aim(f)), {})
        arms.setdefault(f.subject.partition("/")[2], []).append(f)
    shown = evidence.arms or (CONTROL,)
    return {
        name: {arm: _covered(arms.get(arm, [])) for arm in shown} for name, arms in keys.items()
    }


def _attacked(evidence: Evidence) -> list[Finding]:
    return [
        f
        for f in evidence.findings
        if f.subject.partition("/")[0] == evidence.model
        and f.audit not in _BESIDE
        and f.trial not in ("clean", "")
    ]


def _aim(f: Finding) -> str:
    if f.audit in ("promotion", "flip"):
        return ""
    parts = [str(f.where[c]) for c in ("goal", "site") if isinstance(f.where.get(c), str)]
    return ", ".join(parts or [f.audit])


def _covered(found: list[Finding]) -> tuple[str, str]:
    if not found:
        return "not run", "not asked for"
    ran = [f for f in found if f.n > 0 and f.value is not None]
    if not ran:
        return "not run", next((f.reason for f in found if f.reason), "no reason given")
    doubtful = next((f for f in ran if not f.reliable), None)
    if doubtful is not None:
        return "unreliable", doubtful.reason or "an audit marked it so"
    seeds = max(len(f.seeds) for f in ran)
    size = f"n = {max(f.n for f in ran)}"
    return "measured", f"{size}, {seeds} seed{'s' if seeds > 1 else ''}" if seeds else size
