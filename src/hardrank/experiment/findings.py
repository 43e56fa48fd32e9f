"""From all samples of a run to its findings."""

from collections.abc import Iterator

import polars as pl

from hardrank.audits.measure import measure
from hardrank.audits.significance import chance_of_effects, noninferiority, worst_case
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.experiment.spec import Experiment
from hardrank.findings import Finding

__all__ = ["findings_of"]

_QUALITY = ("hr@10", "ndcg@10", "mrr")
_GROUPS = ("all", "warm", "head", "mid", "tail", "cold")
_PROMOTION = (
    "er_before", "er_after", "er_gain", "asr", "rank_before", "rank_after",
    "words", "similarity", "cosine", "perplexity", "queries",
)  # fmt: skip

_HISTORIES = ("asr", "rank_before", "rank_after", "value", "events", "queries")
"""Of attacks on histories; `value` is the similarity (Jaccard) of the list before and after."""


def findings_of(experiment: Experiment, samples: pl.DataFrame, protocol: str) -> list[Finding]:
    """Every number that the report shows, with its interval and formula."""
    made = [
        *_quality(samples, protocol),
        *_prices(samples, protocol, experiment.gates.price),
        *_promotion(samples, protocol),
        *_worst_cases(samples, protocol),
        *_histories(samples, protocol),
        *_curves(samples, protocol),
    ]
    return made


def _quality(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    clean = samples.filter(pl.col("audit") == "utility")
    for subject in clean["subject"].unique(maintain_order=True):
        have = set(clean.filter(pl.col("subject") == subject)["group"].drop_nulls())
        for group in _GROUPS:
            if group == "all" or group in have:
                for metric in _QUALITY:
                    yield measure(
                        samples, subject=subject, audit="utility", metric=metric, group=group,
                        protocol=protocol,
                    )  # fmt: skip


def _prices(samples: pl.DataFrame, protocol: str, margin: float) -> Iterator[Finding]:
    clean = samples.filter(pl.col("audit") == "utility")
    subjects = clean["subject"].unique(maintain_order=True).to_list()
    for subject in subjects:
        control = control_of(subject)
        if not is_hardened(subject) or control not in subjects:
            continue
        have = set(clean.filter(pl.col("subject") == subject)["group"].drop_nulls())
        for group in _GROUPS:
            if group != "all" and group not in have:
                continue
            yield measure(
                samples, subject=subject, audit="utility", metric="price(ndcg@10)",
                versus={"subject": control}, group=group, protocol=protocol,
            )  # fmt: skip
            if group == "all":  # hits are yes or no: McNemar's test
                yield measure(
                    samples, subject=subject, audit="utility", metric="p_value(hr@10)",
                    versus={"subject": control}, protocol=protocol,
                )  # fmt: skip
            if 0 < margin < 1:
                yield noninferiority(
                    samples, subject=subject, control=control, margin=margin, group=group,
                    protocol=protocol,
                )  # fmt: skip


def _promotion(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    rows = samples.filter(pl.col("audit") == "promotion")
    pairs = rows.select("subject", "trial", "k").unique(maintain_order=True).iter_rows()
    for subject, trial, k in pairs:
        for formula in _PROMOTION:
            metric = f"{formula}@{k}" if formula.startswith("er_") else formula
            yield measure(
                samples, subject=subject, audit="promotion", metric=metric, formula=formula,
                trial=trial, protocol=protocol,
            )  # fmt: skip
        if is_hardened(subject):
            yield measure(
                samples, subject=subject, audit="promotion", metric="defence_effect",
                versus={"subject": control_of(subject)}, trial=trial, protocol=protocol,
            )  # fmt: skip


def _worst_cases(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    """Over the attacks that promote into lists of one length; others are no alternatives of one
    attacker. And how likely each difference from the control is by chance."""
    rows = samples.filter((pl.col("audit") == "promotion") & (pl.col("goal") == "promote"))
    if rows.is_empty():
        return
    k = rows["k"].mode().min()
    rows = rows.filter(pl.col("k") == k)
    for subject in rows["subject"].unique(maintain_order=True):
        mine = rows.filter(pl.col("subject") == subject)
        trials = mine["trial"].unique(maintain_order=True).to_list()
        control = control_of(subject) if is_hardened(subject) else None
        if len(trials) > 1:
            yield from worst_case(
                samples, subject=subject, trials=trials, k=int(k), control=control,  # type: ignore[arg-type]
                protocol=protocol,
            )  # fmt: skip
        if control is not None:
            yield from chance_of_effects(
                samples, subject=subject, control=control, trials=trials, protocol=protocol
            )


def _histories(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    rows = samples.filter(pl.col("audit") == "history")
    for subject, trial in rows.select("subject", "trial").unique(maintain_order=True).iter_rows():
        for metric in _HISTORIES:
            yield measure(
                samples, subject=subject, audit="history", metric=metric, trial=trial,
                protocol=protocol,
            )  # fmt: skip


def _curves(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    rows = samples.filter(pl.col("audit") == "curve")
    keys = rows.select("subject", "trial", "goal", "site", "radius").unique(maintain_order=True)
    for subject, trial, goal, site, radius in keys.iter_rows():
        metrics = {"promote": ("er_after@10", "rank_after"), "degrade": ("ndcg@10",)}[goal]
        for metric in metrics:
            yield measure(
                samples, subject=subject, audit="curve", metric=metric,
                formula=metric.partition("@")[0] if goal == "promote" else metric, trial=trial,
                radius=radius, where={"goal": goal, "site": site}, protocol=protocol,
            )  # fmt: skip
