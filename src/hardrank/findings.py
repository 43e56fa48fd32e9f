"""A finding: one number with its interval, and how to compute it again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Finding", "holm"]


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
    remedy: str = ""
    """What to try where it is not reliable."""
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


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p of each of m tests of one table, in their order: Holm, Scandinavian Journal
    of Statistics 6, 1979. With p sorted upwards, adj_(i) = max over j <= i of
    min(1, (m - j + 1) p_(j)). Below 0.05: significant though m tests were made.

    Raises `ValueError` for what is no probability (NaN too): leave out what was not tested.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError("p values lie in [0, 1]")
    adjusted, running = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = running
    return adjusted
