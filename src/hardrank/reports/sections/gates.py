"""Gates that every claim must pass, and which attack ran on which arm."""

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.layout import attack_label, doubts, section, state, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.words import gate_name, gate_state

__all__ = ["coverage", "coverage_section", "gates_section"]


def gates_section(evidence: Evidence) -> Html:
    """Rows are checks, columns arms; a cell says its state in words."""
    found = [f for f in evidence.of("gate") if f.subject.partition("/")[0] == evidence.model]
    lead = (
        "A claim of robustness counts only if all of these hold: the quality floor, the control "
        "arm, unseen and adaptive attacks, and the sanity of the attacks themselves."
    )
    if not found:
        return section("gates", "Gates", lead, tag("p", "No gate was run: nothing is claimed."))
    arms = _arms(evidence, found)
    names = dict.fromkeys(gate_name(f) for f in found)
    cells = {(gate_name(f), f.subject.partition("/")[2]): f for f in found}
    body = [
        tag("tr", tag("th", name, scope="row"),
            [_gate_cell(cells.get((name, arm))) for arm in arms])
        for name in names
    ]  # fmt: skip
    head = ["Gate", *(arm.capitalize() for arm in arms)]
    return section("gates", "Gates", lead, table("Gates by arm", head, body, "matrix"))


def _arms(evidence: Evidence, found: list[Finding]) -> list[str]:
    there = {f.subject.partition("/")[2] for f in found}
    first = [arm for arm in (CONTROL, HARDENED) if arm in there]
    return first + sorted(there - set(first))


def _gate_cell(finding: Finding | None) -> Html:
    if finding is None:
        return tag("td", tag("span", "does not apply", class_="small"), class_="cell")
    return state(gate_state(finding), finding.reason)


def coverage_section(evidence: Evidence) -> Html:
    rows = coverage(evidence)
    arms = [CONTROL, HARDENED] if evidence.has_hardened else [CONTROL]
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
    columns = ["Attack", *(arm.capitalize() for arm in arms)]
    why = doubts(f for f in _attacked(evidence) if f.value is not None)
    return section(
        "coverage", "Coverage", lead, why, table("Attack by arm", columns, body, "matrix")
    )


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
    keys: dict[tuple[str, str], dict[str, list[Finding]]] = {}
    for f in _attacked(evidence):
        keys.setdefault((f.trial, _aim(f)), {}).setdefault(f.subject.partition("/")[2], []).append(
            f
        )
    return {
        name: {arm: _covered(arms.get(arm, [])) for arm in (CONTROL, HARDENED)}
        for name, arms in keys.items()
    }


def _attacked(evidence: Evidence) -> list[Finding]:
    return [
        f
        for f in evidence.findings
        if f.subject.partition("/")[0] == evidence.model
        and f.audit != "gate"
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
