"""Whether the figures of a poisoning run can be trusted: its checks, the failed ones first."""

from hardrank.findings import Finding
from hardrank.reports.layout import note, section, state, table
from hardrank.reports.markup import Html, tag
from hardrank.reports.poisoning_evidence import Poisoning
from hardrank.reports.words import gate_name, gate_state

__all__ = ["gates"]

_STATES = ("failed", "undecided", "not run", "passed")


def gates(read: Poisoning) -> Html:
    """A row for each check and state; what was seen where it did not pass, and what to try."""
    found = read.of(audit="gate")
    lead = (
        "A check that failed marks the figures it concerns as unreliable, here and in the "
        "tables; one that could not be asked has not passed."
    )
    title = "Can these figures be trusted?"
    if not found:
        return section("gates", title, lead, tag("p", "No check was run."))
    alike: dict[tuple[int, str], list[Finding]] = {}
    for f in found:
        alike.setdefault((_STATES.index(gate_state(f)), gate_name(f)), []).append(f)
    body = [_row(_STATES[n], name, same) for (n, name), same in sorted(alike.items())]
    counts = [sum(gate_state(f) == s for f in found) for s in ("passed", "failed")]
    rest = len(found) - sum(counts)
    said = f"{counts[0]} checks passed, {counts[1]} failed, {rest} could not be asked or decided."
    heads = ["Check", "State", "What was seen", "What to try"]
    made = table("Checks of all arms", heads, body, "matrix checks")
    return section("gates", title, lead, note(said), made)


def _row(what: str, name: str, same: list[Finding]) -> Html:
    subjects = [f.subject for f in same]
    if what == "passed":
        seen = [tag("span", ", ".join(subjects), class_="small")]
    else:
        seen = [tag("span", f"{f.subject}: {f.reason or 'no reason given'}", class_="small")
                for f in same]  # fmt: skip
    advice = dict.fromkeys(f.remedy for f in same if f.remedy and what != "passed")
    return tag(
        "tr", tag("th", name, scope="row"),
        state(what, f"{len(same)} arm{'s' if len(same) != 1 else ''}"),
        tag("td", seen, class_="seen"), tag("td", [tag("span", a, class_="small") for a in advice]),
    )  # fmt: skip
