"""From all samples of a run to its findings."""

from collections.abc import Iterator

import polars as pl

from hardrank.audits.measure import measure
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
        *_prices(samples, protocol),
        *_promotion(samples, protocol),
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


def _prices(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    clean = samples.filter(pl.col("audit") == "utility")
    for subject in clean["subject"].unique(maintain_order=True):
        label, _, arm = subject.partition("/")
        if arm != "hardened":
            continue
        have = set(clean.filter(pl.col("subject") == subject)["group"].drop_nulls())
        for group in _GROUPS:
            if group == "all" or group in have:
                yield measure(
                    samples, subject=subject, audit="utility", metric="price(ndcg@10)",
                    versus={"subject": f"{label}/control"}, group=group, protocol=protocol,
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
        label, _, arm = subject.partition("/")
        if arm == "hardened":
            yield measure(
                samples, subject=subject, audit="promotion", metric="defence_effect",
                versus={"subject": f"{label}/control"}, trial=trial, protocol=protocol,
            )  # fmt: skip


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
