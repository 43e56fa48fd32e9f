"""`fail_if` of an audit file: which findings it is about, and whether one of them fails it.

METRIC[TRIAL].BOUND OPERATOR NUMBER

er_gain@10 > 0.01              any attack that ran
er_gain@10[copycat] > 0.01     the attack of that kind or label
asr.low >= 0.2                 the lower end of the 95 % interval, not the value
"""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hardrank.findings import Finding

__all__ = ["Ruling", "Threshold", "names_of", "parse_threshold", "rule"]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_FORM = re.compile(
    r"\s*(?P<metric>[a-z][a-z_]*(?:@\d+)?)"
    r"(?:\[(?P<trial>.+)\])?"
    r"(?:\.(?P<bound>value|low|high))?"
    r"\s*(?P<sign>>=|<=|>|<)\s*"
    r"(?P<limit>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<percent>%?)\s*"
)


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """One entry of `fail_if`, read."""

    text: str
    metric: str
    sign: str
    limit: float
    trial: str = ""
    """Label or kind of an attack; empty for every trial that has the metric."""
    bound: Literal["value", "low", "high"] = "value"

    def concerns(self, finding: Finding) -> bool:
        if finding.metric != self.metric or finding.group != "all":
            return False
        return self.trial in ("", *names_of(finding.trial))

    def fails(self, finding: Finding) -> bool:
        number: float | None = getattr(finding, self.bound)
        return number is not None and _OPERATORS[self.sign](number, self.limit)


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """A threshold held against one finding, or against none."""

    threshold: str
    trial: str
    metric: str
    bound: str
    value: float | None
    low: float | None
    high: float | None
    fails: bool
    reason: str = ""
    """Why there is no value."""


def names_of(trial: str) -> tuple[str, str, str]:
    """What an attack may be called: `pwws(candidates=5) [ranks]`, without what it saw, and
    its kind alone."""
    return trial, re.sub(r" \[[a-z]+\]$", "", trial), re.split(r"[( ]", trial)[0]


def parse_threshold(text: str) -> Threshold:
    """Raises `ValueError` that shows the form."""
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError("write a threshold such as er_gain@10[copycat] > 0.01")
    return Threshold(
        text=text.strip(), metric=found["metric"], trial=(found["trial"] or "").strip(),
        bound=found["bound"] or "value",  # type: ignore[arg-type]
        sign=found["sign"], limit=float(found["limit"]) / (100 if found["percent"] else 1),
    )  # fmt: skip


def rule(thresholds: Iterable[Threshold], findings: Sequence[Finding]) -> list[Ruling]:
    """Each threshold against each finding it is about.

    A finding without the number does not decide. Where none decides, the threshold fails:
    what was not measured was not passed.
    """
    made: list[Ruling] = []
    for threshold in thresholds:
        about = [f for f in findings if threshold.concerns(f)]
        known = [f for f in about if getattr(f, threshold.bound) is not None]
        for finding in about:
            blind = not known and finding is about[0]
            made.append(_ruling(threshold, finding, blind))
        if not about:
            made.append(_unmeasured(threshold))
    return made


def _ruling(threshold: Threshold, finding: Finding, blind: bool) -> Ruling:
    unknown = getattr(finding, threshold.bound) is None
    return Ruling(
        threshold=threshold.text, trial=finding.trial, metric=finding.metric,
        bound=threshold.bound, value=finding.value, low=finding.low, high=finding.high,
        fails=blind or threshold.fails(finding),
        reason=f"not measured: {finding.reason or 'no interval'}" if unknown else "",
    )  # fmt: skip


def _unmeasured(threshold: Threshold) -> Ruling:
    return Ruling(
        threshold=threshold.text, trial=threshold.trial, metric=threshold.metric,
        bound=threshold.bound, value=None, low=None, high=None, fails=True,
        reason="not measured: no attack gave such a finding",
    )  # fmt: skip
