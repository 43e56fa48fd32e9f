"""The four gates on every claim of robustness; a failed check marks what hangs on it.

1. quality: the hardened model still ranks, for everyone, tail and cold items included;
2. control: same data, model, seeds and steps, no adversary;
3. unseen: an attack family the defence never saw, and one that knows the defence;
4. sanity: the attacks behave as attacks must, and the gradients are true.

Ask the checks, keep `check_samples(checks)` with the other samples and
`findings_of(checks)` with the findings, and pass these through `judge_findings`.
"""

from hardrank.audits.checks import Check, Gate, check_samples, findings_of, judge_findings
from hardrank.audits.claims import Arm, control_present, unseen_present
from hardrank.audits.gradients import gradient_checks
from hardrank.audits.quality import quality_floor, ranks_for_somebody
from hardrank.audits.sanity import Strength, rises_with_radius, stronger_attack, unbounded_wins

__all__ = [
    "Arm",
    "Check",
    "Gate",
    "Strength",
    "check_samples",
    "control_present",
    "findings_of",
    "gradient_checks",
    "judge_findings",
    "quality_floor",
    "ranks_for_somebody",
    "rises_with_radius",
    "stronger_attack",
    "unbounded_wins",
    "unseen_present",
]
