"""What a gate's check says, and how it becomes samples and findings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from hardrank.audits.measure import measure
from hardrank.audits.remedies import REMEDIES
from hardrank.audits.samples import gather, samples
from hardrank.findings import Finding

__all__ = ["Check", "Gate", "check_samples", "findings_of", "judge_findings"]

Gate = Literal["quality", "control", "unseen", "sanity"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question with a yes or no answer, on which findings hang."""

    gate: Gate
    name: str
    """`quality_floor`, `stronger_attack`, ...: the metric of its finding."""
    subject: str
    passed: bool | None
    """None: could not be asked; `reason` says why."""
    reason: str = ""
    """What was seen, for a reader; needed where it did not pass."""
    remedy: str = ""
    """What to try; empty for what `REMEDIES` says of a check of this name."""
    statistic: float | None = None
    seed: int | None = None
    """Of the model asked; None for all seeds together."""
    group: str = "all"
    trial: str = "clean"
    goal: str | None = None
    site: str | None = None
    concerns: Mapping[str, Any] = field(default_factory=dict)
    """Attribute of a finding, or column of its `where`, -> value or values. Findings of
    `subject`, or compared with it, that have them are not reliable if the check fails."""

    @property
    def advice(self) -> str:
        return self.remedy or REMEDIES.get(self.name, "")


def check_samples(checks: Iterable[Check]) -> pl.DataFrame:
    """One row a check: `sample` its name, `success` the answer, `value` the statistic."""
    return gather(
        samples(
            {
                "subject": check.subject,
                "seed": check.seed,
                "audit": "gate",
                "trial": check.trial,
                "sample": check.name,
                "group": check.group,
                "goal": check.goal,
                "site": check.site,
                "success": check.passed,
                "value": check.statistic,
                "error": check.reason if check.passed is None else None,
            }
        )
        for check in checks
    )


def findings_of(checks: Sequence[Check]) -> list[Finding]:
    """One finding a check, all seeds together: value 1 passed, 0 failed, None not asked.

    Audit `gate`; recomputable from `check_samples(checks)`. Not reliable where the check
    failed for some seed; the reason is that seed's, else the first one's.
    """
    table = check_samples(checks)
    asked: dict[tuple[str | None, ...], list[Check]] = {}
    for c in checks:
        asked.setdefault((c.subject, c.name, c.group, c.trial, c.goal, c.site), []).append(c)
    return [_finding(table, same) for same in asked.values()]


def _finding(table: pl.DataFrame, same: Sequence[Check]) -> Finding:
    failed = [check for check in same if check.passed is False]
    check = (failed or same)[0]
    where = {"sample": check.name, "group": check.group, "goal": check.goal, "site": check.site}
    found = measure(
        table, subject=check.subject, audit="gate", metric=check.name, formula="passed",
        where=where, group=check.group, trial=check.trial,
    )  # fmt: skip
    advice = "" if found.value == 1 else check.advice
    return replace(found, reliable=not failed, reason=check.reason, remedy=advice)


def judge_findings(findings: Sequence[Finding], checks: Iterable[Check]) -> list[Finding]:
    """The findings, not reliable where a failed check concerns them: why, and what to try."""
    failed = [check for check in checks if check.passed is False]
    return [_judged(f, [c for c in failed if _concerns(c, f)]) for f in findings]


def _judged(finding: Finding, failed: list[Check]) -> Finding:
    if not failed:
        return finding
    said = [f"{check.name.replace('_', ' ')}: {check.reason}" for check in failed]
    reasons = dict.fromkeys(r for r in (finding.reason, *said) if r)
    advice = dict.fromkeys(a for a in (finding.remedy, *(c.advice for c in failed)) if a)
    return replace(finding, reliable=False, reason="; ".join(reasons), remedy=" ".join(advice))


def _concerns(check: Check, finding: Finding) -> bool:
    if finding.audit == "gate":
        return False
    if check.subject not in (finding.subject, finding.versus.get("subject")):
        return False
    return all(_has(finding, name, wanted) for name, wanted in check.concerns.items())


def _has(finding: Finding, name: str, wanted: Any) -> bool:
    value = getattr(finding, name, None) if hasattr(finding, name) else finding.where.get(name)
    allowed = wanted if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)
    held = value if isinstance(value, list | tuple) else (value,)
    return any(v in allowed for v in held)
