"""Gate 3: what the model was tested on must be new to it."""

from collections.abc import Collection

from hardrank.audits.checks import Check
from hardrank.data.splits import Split, check_leaks
from hardrank.errors import LeakError

__all__ = ["split_without_leaks", "targets_not_in_training_pool"]


def split_without_leaks(split: Split, *, subject: str) -> Check:
    """No held-out event in training or in its own history, nothing later than the target (see
    `data.splits.check_leaks`). A failure touches every number of the subject."""
    reason, passed = f"{len(split.test)} held-out events, none met in training", True
    try:
        check_leaks(split)
    except LeakError as leak:
        reason, passed = str(leak), False
    return Check(
        gate="unseen", name="split_without_leaks", subject=subject, passed=passed, reason=reason
    )


def targets_not_in_training_pool(
    targets: Collection[str],
    pool: Collection[str],
    *,
    subject: str,
    seed: int | None = None,
) -> Check:
    """No attacked item is one whose attacked text hardening trained on. Then the model knows
    the item, not the attack. targets, pool: item ids."""
    known = sorted(set(targets) & set(pool))
    share = len(known) / max(len(set(targets)), 1)
    shown = ", ".join(f"'{item}'" for item in known[:3]) + (", ..." if len(known) > 3 else "")
    return Check(
        gate="unseen", name="targets_not_in_training_pool", subject=subject, seed=seed,
        passed=not known, statistic=share,
        reason=f"{len(known)} of {len(set(targets))} targets were attacked in training"
        + (f": {shown}" if known else f"; its pool held {len(set(pool))} items"),
        concerns={"audit": ("promotion", "worst-case", "curve")},
    )  # fmt: skip
