"""A finding: one number with its interval, and how to compute it again."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One audited number. Recomputable: `formula` applied to the rows of `samples.parquet`
    that match `where` (and `versus`, for a comparison) gives value, low and high again.

    An audit that could not run is a finding with n = 0, value None and a `reason`.
    """

    subject: str
    """`<model>/<arm>`: what was audited, e.g. `text-sequence/hardened`."""
    audit: str
    """`utility`, `promotion`, `curve`, `gate`, ..."""
    metric: str
    """`ndcg@10`, `er_gain@10`, `asr`, ..."""
    value: float | None
    low: float | None = None
    """95 % bootstrap interval."""
    high: float | None = None
    n: int = 0
    """Samples (users or targets), not counting seeds."""
    seeds: tuple[int, ...] = ()
    per_seed: tuple[float, ...] = ()
    reliable: bool = True
    reason: str = ""
    """Why it is unreliable or could not be computed."""
    group: str = "all"
    """`all`, `head`, `tail`, `cold`, ..."""
    trial: str = "clean"
    """Attack label, `clean` where there is none."""
    radius: float | None = None
    formula: str = ""
    where: dict[str, Any] = field(default_factory=dict)
    """Column -> value (or list of values) that a sample row must have."""
    versus: dict[str, Any] = field(default_factory=dict)
    protocol: str = ""
    """Printed beside the number: split, candidates, seen filter, ties."""
