"""Gates 2 and 3: a control like the hardened arm, and attacks that the defence never met."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hardrank.audits.checks import Check
from hardrank.findings import Finding

__all__ = ["Arm", "control_present", "unseen_present"]

_CLAIMS = ("promotion", "degrade", "curve", "flip")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """How one arm was trained, as far as a control has to share it."""

    subject: str
    data: str
    """Fingerprint of the training data."""
    model: str
    """The model's spec, written out or as a digest."""
    seeds: tuple[int, ...]
    steps: tuple[int, ...]
    """Optimiser steps of each seed, all phases together."""
    restarts: int = 0
    """Times the optimiser was started afresh (a fine-tuning phase counts one)."""


def control_present(hardened: Arm, control: Arm | None) -> Check:
    """Same data, model, seeds, steps and optimiser restarts; only the adversary differs."""
    differ = [] if control is None else [
        f"{name} differ ({getattr(control, name)} and {getattr(hardened, name)})"
        for name in ("data", "model", "seeds", "steps", "restarts")
        if getattr(control, name) != getattr(hardened, name)
    ]  # fmt: skip
    reason = "there is no control arm" if control is None else "; ".join(differ)
    return Check(
        gate="control", name="control_arm", subject=hardened.subject, passed=not reason,
        reason=reason or "same data, model, seeds and steps", concerns={"audit": _CLAIMS},
    )  # fmt: skip


def unseen_present(
    findings: Iterable[Finding],
    *,
    subject: str,
    families: Mapping[str, str],
    trained_on: Collection[str],
    adaptive: Collection[str],
) -> list[Check]:
    """Whether an attack family that the defence never saw, and one that knows the defence,
    were measured on `subject`.

    families: trial -> attack family. trained_on: families used in training. adaptive:
    trials whose attack saw the hardened model itself (not a surrogate) with all its guards.
    A trial counts if a finding has a value for it. Not measured is not passed: None.
    """
    ran = {
        f.trial
        for f in findings
        if f.subject == subject and f.audit in _CLAIMS and f.value is not None and f.n
    }
    unseen = sorted(t for t in ran if families.get(t, "unknown") not in {*trained_on, "unknown"})
    knows = sorted(ran & set(adaptive))
    return [
        _present(subject, "unseen_attack", unseen, f"every attack was trained on: {sorted(ran)}"),
        _present(subject, "adaptive_attack", knows, "no attack saw the hardened model itself"),
    ]


def _present(subject: str, name: str, found: list[str], otherwise: str) -> Check:
    return Check(
        gate="unseen", name=name, subject=subject, passed=True if found else None,
        reason=", ".join(found) if found else otherwise, statistic=float(len(found)),
    )  # fmt: skip
