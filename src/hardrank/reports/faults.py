"""Why a result does not count: gates that failed and numbers that an audit doubts."""

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.standing import standing
from hardrank.reports.table import effect, gain_of, trials
from hardrank.reports.words import attack_name, gate_kind, gate_name, gate_state, listed

__all__ = [
    "cause",
    "dead_attacks",
    "doubted",
    "failed_gates",
    "fault",
    "gates_of",
    "other_arms",
    "short",
    "sound_arms",
]

_OF_ONE_ATTACK = ("attack_works_undefended", "errors_counted")
"""Checks that concern one attack's figures: what they mark is left out, the rest stands."""


def failed_gates(evidence: Evidence) -> list[Finding]:
    """Of the arm that the page speaks of and its control: another arm's are `other_arms`."""
    failed = [f for f in gates_of(evidence) if gate_state(f) == "failed"]
    left_out = dead_attacks(evidence)
    if left_out and not set(trials(evidence)) - set(left_out):
        return failed  # no attack is left to stand on
    return [f for f in failed if f.trial not in left_out or f.metric not in _OF_ONE_ATTACK]


def gates_of(evidence: Evidence) -> list[Finding]:
    """The checks that the compared figures rest on; where neither arm was checked, those of
    the model."""
    gates = [f for f in evidence.of("gate") if f.subject.partition("/")[0] == evidence.model]
    compared = {evidence.subject(CONTROL), evidence.subject(HARDENED)}
    return [f for f in gates if f.subject in compared] or gates


def other_arms(evidence: Evidence) -> list[str]:
    """A sentence for each other arm of the model that a check failed on."""
    mine = {f.subject for f in gates_of(evidence)}
    gates = [f for f in evidence.of("gate") if f.subject.partition("/")[0] == evidence.model]
    told: dict[str, list[str]] = {}
    for f in gates:
        if f.subject not in mine and gate_state(f) == "failed":
            told.setdefault(f.subject.partition("/")[2], []).append(f"“{gate_name(f)}”")
    return [
        f"Figures of the {arm} arm do not count, for {listed(list(dict.fromkeys(names)))} failed "
        "on it; those of the other arms do not rest on it."
        for arm, names in told.items()
    ]


def sound_arms(evidence: Evidence) -> list[str]:
    """Other hardened arms whose checks, and their control's, all passed or are undecided."""
    arms = [a for a in evidence.arms if a not in (CONTROL, HARDENED)]
    found = {a: standing(evidence.findings, evidence.subject(a)) for a in arms}
    return [a for a in arms if found[a].passed and not found[a].failed]


def dead_attacks(evidence: Evidence) -> dict[str, str]:
    """Attacks that a check of their own has failed on a compared arm -> why. Their figures prove
    nothing."""
    return {
        f.trial: f.reason
        for f in gates_of(evidence)
        if f.metric in _OF_ONE_ATTACK and gate_state(f) == "failed" and f.trial in trials(evidence)
    }


def cause(failed: list[Finding]) -> str:
    """Headline's second half: which of the four gates, or how many checks."""
    if not failed:
        return ": an audit doubts a result"
    kinds = {gate_kind(f) for f in failed}
    if len(kinds) > 1:
        return f": {len(kinds)} gates failed"
    kind = kinds.pop()
    return f": {'an' if kind[0] in 'aeiou' else 'a'} {kind} gate failed"


def fault(gate: Finding, evidence: Evidence) -> str:
    arm = evidence.shown(gate.subject.partition("/")[2])
    why = f": {gate.reason}" if gate.reason else ""
    return f"The gate “{gate_name(gate)}” failed on the {arm} model{why}."


def doubted(evidence: Evidence) -> list[str]:
    """Headline numbers that an audit marked unreliable."""
    faults = []
    among = trials(evidence)
    for trial in [t for t in among if t not in dead_attacks(evidence)]:
        gains = [gain_of(evidence, arm, trial) for arm in (CONTROL, HARDENED)]
        for finding in (effect(evidence, trial), *gains):
            if finding is not None and finding.value is not None and not finding.reliable:
                why = finding.reason or "an audit marked it so"
                name = attack_name(trial, among)
                faults.append(f"The result under {name} is not sound: {why}.")
    return list(dict.fromkeys(faults))


def short(faults: list[str]) -> list[str]:
    """The first two and how many more; the gates' table has them all."""
    more = len(faults) - 2
    return faults if more < 2 else [*faults[:2], f"{more} more checks failed (see the gates)."]
