"""Whether the figures can be trusted: every check by name, its verdict, and what to try."""

from collections.abc import Sequence

import polars as pl

from hardrank.findings import Finding
from hardrank.reports.evidence import Evidence
from hardrank.reports.layout import note, section, state, table
from hardrank.reports.markup import Html, join, tag
from hardrank.reports.words import gate_kind, gate_name, gate_state

__all__ = ["gates_section"]

_KINDS = {
    "quality": "Quality: it still ranks, for everyone",
    "control": "Control: a twin without adversary",
    "unseen": "Unseen and adaptive: the test is new to the model, the attack knows the defence",
    "sanity": "Sanity: the attacks behave as attacks must, the gradients are true",
}


def gates_section(evidence: Evidence) -> Html:
    """Rows are checks, columns arms; a cell says its state in words and what was seen."""
    found = [f for f in evidence.of("gate") if f.subject.partition("/")[0] == evidence.model]
    title = "Can these figures be trusted?"
    lead = (
        "A claim of robustness counts only if all of these hold. A check that failed marks the "
        "figures it concerns as unreliable, here and everywhere on this page; one that could "
        "not be asked has not passed."
    )
    if not found:
        return section("gates", title, lead, tag("p", "No gate was run: nothing is claimed."))
    arms = _arms(evidence, found)
    cells = {(gate_name(f), f.subject.partition("/")[2]): f for f in found}
    numbers = _statistics(evidence)
    body: list[Html] = []
    for kind, heading in _KINDS.items():
        mine = [f for f in found if gate_kind(f) == kind]
        names = dict.fromkeys(gate_name(f) for f in sorted(mine, key=_worst_first))
        if names:
            head = tag("th", heading, colspan=2 + len(arms), scope="rowgroup")
            body.append(tag("tr", head, class_="group"))
        body += [_row(name, [cells.get((name, arm)) for arm in arms], numbers) for name in names]
    head_row = ["Check", *(evidence.shown(arm).capitalize() for arm in arms), "What to try"]
    made = table("Checks by arm", head_row, body, "matrix checks")
    return section("gates", title, lead, note(_count(found)), made)


def _worst_first(finding: Finding) -> int:
    return ("failed", "undecided", "not run", "passed").index(gate_state(finding))


def _arms(evidence: Evidence, found: list[Finding]) -> list[str]:
    there = {f.subject.partition("/")[2] for f in found}
    first = [arm for arm in evidence.arms if arm in there]
    return first + sorted(there - set(first))


def _row(name: str, cells: Sequence[Finding | None], numbers: dict[str, float]) -> Html:
    advice = dict.fromkeys(
        f.remedy for f in cells if f is not None and gate_state(f) != "passed" and f.remedy
    )
    tried = tag("td", join(tag("span", a, class_="small") for a in advice))
    return tag("tr", tag("th", name, scope="row"), [_cell(f, numbers) for f in cells], tried)


def _cell(finding: Finding | None, numbers: dict[str, float]) -> Html:
    if finding is None:
        return tag("td", tag("span", "does not apply", class_="small"), class_="cell")
    number = numbers.get(_key(finding.subject, gate_name(finding)))
    seen = "" if number is None else f" (statistic {number:.3g})"
    return state(gate_state(finding), f"{finding.reason}{seen}".strip())


def _statistics(evidence: Evidence) -> dict[str, float]:
    """Subject and check -> its number, of several seeds the mean."""
    rows = evidence.rows("gate")
    needed = {"subject", "sample", "group", "trial", "goal", "site", "value"}
    if not needed <= set(rows.columns):
        return {}
    found: dict[str, list[float]] = {}
    for row in rows.filter(pl.col("value").is_not_null()).iter_rows(named=True):
        where = {c: row[c] for c in ("goal", "site") if row[c]}
        alike = Finding(
            subject=row["subject"], audit="gate", metric=row["sample"], value=None,
            group=row["group"], trial=row["trial"], where=where,
        )  # fmt: skip
        found.setdefault(_key(row["subject"], gate_name(alike)), []).append(row["value"])
    return {key: sum(values) / len(values) for key, values in found.items()}


def _key(subject: str, name: str) -> str:
    return f"{subject}: {name}"


def _count(found: list[Finding]) -> str:
    """`41 checks passed, 2 failed, 3 could not be asked or decided.`"""
    states = [gate_state(f) for f in found]
    passed, failed = states.count("passed"), states.count("failed")
    rest = len(states) - passed - failed
    return f"{passed} checks passed, {failed} failed, {rest} could not be asked or decided."
