"""Why a result does not count: gates that failed and numbers that an audit doubts."""

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, HARDENED, Evidence
from hardrank.reports.table import effect, gain_of, trials
from hardrank.reports.words import attack_name, gate_kind, gate_name, gate_state

__all__ = ["cause", "dead_attacks", "doubted", "failed_gates", "fault", "short"]

_OF_ONE_ATTACK = ("attack_works_undefended", "errors_counted")
"""Checks that concern one attack's figures: what they mark is left out, the rest stands."""


def failed_gates(evidence: Evidence) -> list[Finding]:
    gates = evidence.of("gate")
    mine = [f for f in gates if f.subject.partition("/")[0] == evidence.model]
    failed = [f for f in mine if gate_state(f) == "failed"]
    left_out = dead_attacks(evidence)
    if left_out and not set(trials(evidence)) - set(left_out):
        return failed  # no attack is left to stand on
    return [f for f in failed if f.trial not in left_out or f.metric not in _OF_ONE_ATTACK]


def dead_attacks(evidence: Evidence) -> dict[str, str]:
    """Attacks that a check of their own has failed on some arm -> why. Their figures prove
    nothing."""
    return {
        f.trial: f.reason
        for f in evidence.of("gate")
        if f.metric in _OF_ONE_ATTACK
        and gate_state(f) == "failed"
        and f.subject.partition("/")[0] == evidence.model
        and f.trial in trials(evidence)
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


def fault(gate: Finding) -> str:
    arm = gate.subject.partition("/")[2]
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
