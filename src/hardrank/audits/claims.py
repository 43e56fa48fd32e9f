"""Gates 2 and 3: a control like the hardened arm, and attacks that the defence never met."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from hardrank.audits.checks import Check
from hardrank.findings import Finding

__all__ = ["Arm", "control_present", "text_confirmation", "unseen_present"]

_CLAIMS = ("promotion", "worst-case", "degrade", "curve", "flip")


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
    A trial counts if a finding has a value for it. Not measured is not passed: None. Where
    attacks ran and each was trained on, `unseen_attack` is False, and every claim is marked:
    a defence that met the evaluation's attack shows memory, not robustness.
    """
    ran = {
        f.trial
        for f in findings
        if f.subject == subject and f.audit in _CLAIMS and f.value is not None and f.n
    } - {"all attacks"}
    known = {t: families.get(t, "unknown") for t in sorted(ran)}
    unseen = [t for t, family in known.items() if family not in {*trained_on, "unknown"}]
    seen = [f"{t} ({family})" for t, family in known.items() if family in trained_on]
    knows = sorted(ran & set(adaptive))
    only_seen = bool(seen) and len(seen) == len(known)
    return [
        Check(
            gate="unseen", name="unseen_attack", subject=subject,
            passed=True if unseen else False if only_seen else None,
            reason=", ".join(unseen) or f"training met every attack: {', '.join(seen) or 'none'}",
            statistic=float(len(unseen)), concerns={"audit": _CLAIMS},
        ),
        Check(
            gate="unseen", name="adaptive_attack", subject=subject,
            passed=True if knows else None, statistic=float(len(knows)),
            reason=", ".join(knows) or "no attack saw the hardened model itself",
        ),
    ]  # fmt: skip


def text_confirmation(
    findings: Iterable[Finding],
    *,
    subject: str,
    trained_on: Collection[str],
    texts: Collection[str],
) -> Check | None:
    """A model hardened on its representation alone is also attacked in text: its vectors may
    withstand what its words do not. None where training met something else as well.

    texts: trials that rewrite text.
    """
    if set(trained_on) != {"representation"}:
        return None
    ran = sorted(
        {f.trial for f in findings if f.subject == subject and f.value is not None and f.n}
        & set(texts)
    )
    return Check(
        gate="unseen", name="text_confirmation", subject=subject, passed=bool(ran),
        statistic=float(len(ran)), concerns={"audit": _CLAIMS},
        reason=", ".join(ran) or "hardened on inner vectors and never attacked in text",
    )  # fmt: skip
