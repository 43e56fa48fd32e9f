"""Is an effect more than chance? A p value beside each interval, paired by target or user.

Intervals resample targets (of attacks) or users (of quality), and seeds; p values flip the
sign of each paired difference. With many attacks on many arms some p is small by luck: read
them through `hardrank.findings.holm` over the whole table.
"""

from collections.abc import Iterator, Sequence

import polars as pl

from hardrank.audits.measure import measure
from hardrank.findings import Finding

__all__ = ["ALL", "chance_of_effects", "noninferiority", "worst_case"]

ALL = "all attacks"
"""Trial of the worst case: of each target the largest gain over every attack."""


def chance_of_effects(
    samples: pl.DataFrame,
    *,
    subject: str,
    control: str,
    trials: Sequence[str],
    protocol: str = "",
) -> Iterator[Finding]:
    """`p_value` of each trial: that exposure gains on `subject` and `control` differ only by
    chance, two-sided, paired by target (seeds of a target averaged). The last, of `ALL`, is
    of the worst case over the trials."""
    for trial in trials:
        yield measure(
            samples, subject=subject, audit="promotion", metric="p_value",
            formula="p_value(er_gain)", versus={"subject": control}, trial=trial,
            protocol=protocol,
        )  # fmt: skip
    if len(trials) > 1:
        yield measure(
            samples, subject=subject, audit="worst-case", metric="p_value",
            formula="p_value(worst(er_gain))", trial=ALL, versus={"subject": control},
            where={"audit": "promotion", "trial": list(trials)}, protocol=protocol,
        )  # fmt: skip


def worst_case(
    samples: pl.DataFrame,
    *,
    subject: str,
    trials: Sequence[str],
    k: int,
    control: str | None = None,
    protocol: str = "",
) -> Iterator[Finding]:
    """What an attacker wins who picks the best attack for each target: mean over targets of
    the largest figure (Carlini et al. 2019: never the largest of means). With a `control`,
    the defence effect against that attacker too."""
    where = {"audit": "promotion", "trial": list(trials)}
    for formula in ("er_after", "er_gain"):
        yield measure(
            samples, subject=subject, audit="worst-case", metric=f"{formula}@{k}",
            formula=f"worst({formula})", trial=ALL, where=where, protocol=protocol,
        )  # fmt: skip
    yield measure(
        samples, subject=subject, audit="worst-case", metric="asr", formula="worst(asr)",
        trial=ALL, where=where, protocol=protocol,
    )  # fmt: skip
    if control is not None:
        yield measure(
            samples, subject=subject, audit="worst-case", metric="defence_effect",
            formula="defence_effect(worst(er_gain))", trial=ALL, where=where,
            versus={"subject": control}, protocol=protocol,
        )  # fmt: skip


def noninferiority(
    samples: pl.DataFrame,
    *,
    subject: str,
    control: str,
    margin: float,
    metric: str = "ndcg@10",
    group: str = "all",
    protocol: str = "",
) -> Finding:
    """p that clean quality loses `margin` or more of the control's, one-sided, paired by user:
    below 0.05 the loss is shown to be smaller. margin: declared before, in (0, 1)."""
    share = f"{margin:f}".rstrip("0")
    return measure(
        samples, subject=subject, audit="utility", metric=f"p_noninferior@{share}",
        formula=f"p_noninferior@{share}({metric})", versus={"subject": control}, group=group,
        protocol=protocol,
    )  # fmt: skip
