"""The four gates on every claim of robustness; a failed check marks what hangs on it.

1. quality: the hardened model still ranks, for everyone, tail and cold items included;
2. control: same data, model, seeds and steps, no adversary;
3. unseen: an attack family the defence never saw, and one that knows the defence;
4. sanity: the attacks behave as attacks must, and the gradients are true.

`docs/checks.md` lists them all. Ask the checks, keep `check_samples(checks)` with the other
samples and `findings_of(checks)` with the findings, and pass these through `judge_findings`.
"""

from hardrank.audits.attempts import (
    attacks_work_undefended,
    black_box_no_better,
    errors_counted,
    several_seeds_agree,
)
from hardrank.audits.checks import Check, Gate, check_samples, findings_of, judge_findings
from hardrank.audits.claims import Arm, control_present, text_confirmation, unseen_present
from hardrank.audits.convergence import convergence_checks
from hardrank.audits.coverage import coverage_stated
from hardrank.audits.gradients import gradient_checks
from hardrank.audits.leaks import split_without_leaks, targets_not_in_training_pool
from hardrank.audits.outputs import output_checks
from hardrank.audits.probe import Probe
from hardrank.audits.quality import quality_floor, ranks_for_somebody
from hardrank.audits.sanity import Strength, rises_with_radius, stronger_attack, unbounded_wins
from hardrank.audits.transfer import transfer_checks

__all__ = [
    "Arm",
    "Check",
    "Gate",
    "Probe",
    "Strength",
    "attacks_work_undefended",
    "black_box_no_better",
    "check_samples",
    "control_present",
    "convergence_checks",
    "coverage_stated",
    "errors_counted",
    "findings_of",
    "gradient_checks",
    "judge_findings",
    "output_checks",
    "quality_floor",
    "ranks_for_somebody",
    "rises_with_radius",
    "several_seeds_agree",
    "split_without_leaks",
    "stronger_attack",
    "targets_not_in_training_pool",
    "text_confirmation",
    "transfer_checks",
    "unbounded_wins",
    "unseen_present",
]
