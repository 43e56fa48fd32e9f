"""What the checks say of each arm by itself: one arm's fault is not another's."""

from collections.abc import Iterable
from dataclasses import dataclass

from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL
from hardrank.reports.words import gate_name, gate_state

__all__ = ["Standing", "rests_on", "standing"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The checks that the figures of one arm rest on, by how they ended."""

    subject: str
    failed: tuple[Finding, ...] = ()
    undecided: tuple[Finding, ...] = ()
    missing: tuple[Finding, ...] = ()
    """Not run."""
    passed: tuple[Finding, ...] = ()

    @property
    def state(self) -> str:
        """`failed`, `undecided`, `not run` (also where no check was asked) or `passed`."""
        if self.failed:
            return "failed"
        if self.undecided:
            return "undecided"
        return "passed" if self.passed and not self.missing else "not run"

    def why(self) -> str:
        """The checks that did not pass, by name; one of the control says so."""
        found = self.failed or self.undecided or self.missing
        return ", ".join(dict.fromkeys(self._name(f) for f in found))

    def _name(self, found: Finding) -> str:
        other = found.subject != self.subject
        return gate_name(found) + (f" of {found.subject.rpartition('/')[2]}" if other else "")


def rests_on(subject: str) -> tuple[str, ...]:
    """The subjects whose checks concern a figure of this one: itself, and the control that it
    is compared with."""
    control = f"{subject.rpartition('/')[0]}/{CONTROL}"
    return (subject,) if subject == control else (subject, control)


def standing(findings: Iterable[Finding], subject: str) -> Standing:
    """Of its own checks and those of its control."""
    mine = [f for f in findings if f.audit == "gate" and f.subject in rests_on(subject)]

    def ended(state: str) -> tuple[Finding, ...]:
        return tuple(f for f in mine if gate_state(f) == state)

    return Standing(
        subject=subject, failed=ended("failed"), undecided=ended("undecided"),
        missing=ended("not run"), passed=ended("passed"),
    )  # fmt: skip
