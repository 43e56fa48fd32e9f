"""From all samples of a classifier's run to its findings."""

from collections.abc import Iterator

import polars as pl

from hardrank.audits.measure import measure
from hardrank.experiment.classify_spec import ClassifierExperiment, FlipCurve
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.findings import Finding

__all__ = ["claimed", "claims", "classifier_findings"]

_QUALITY = {
    "accuracy": "accuracy@0.5",
    "auc": "auc",
    "f1": "f1@0.5",
    "precision": "precision@0.5",
    "recall": "recall@0.5",
    "ece": "ece",
}
"""Metric -> formula; precision, recall and F1 are of class 1."""
_ATTACKED = {
    "accuracy_after": "accuracy@0.5",
    "asr": "asr",
    "f1_after": "f1@0.5",
    "precision_after": "precision@0.5",
    "recall_after": "recall@0.5",
}


def classifier_findings(
    experiment: ClassifierExperiment, samples: pl.DataFrame, protocol: str
) -> list[Finding]:
    """Every number that the report shows, with its interval and formula.

    Audit `flip` is each curve at its `claim`: the same samples as the curve's."""
    return [
        *_quality(samples, protocol),
        *_prices(samples, protocol),
        *_flips(experiment, samples, protocol),
        *_curves(samples, protocol),
    ]


def claims(curve: FlipCurve) -> dict[str, str]:
    """Trial of the curve's samples -> trial of the finding at its claim. Noise is a control of
    the attacks, not one of them."""
    attacks = [curve.label(i) for i in curve.inners if i.kind not in ("gaussian", "uniform")]
    return {trial: claimed(trial, curve) for trial in attacks}


def claimed(trial: str, curve: FlipCurve) -> str:
    return f"{trial}({curve.site}, radius {curve.claim:g})"


def _quality(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    clean = samples.filter(pl.col("audit") == "utility")
    names = clean.sort("label")["group"].unique(maintain_order=True)
    for subject in clean["subject"].unique(maintain_order=True):
        for metric, formula in _QUALITY.items():
            yield measure(
                samples, subject=subject, audit="utility", metric=metric, formula=formula,
                protocol=protocol,
            )  # fmt: skip
        for name in names:  # accuracy among the texts of one class is that class's recall
            yield measure(
                samples, subject=subject, audit="utility", metric="accuracy",
                formula="accuracy@0.5", group=name, protocol=protocol,
            )  # fmt: skip


def _prices(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    clean = samples.filter(pl.col("audit") == "utility")
    for subject in clean["subject"].unique(maintain_order=True):
        if not is_hardened(subject):
            continue
        for group in ("all", *clean.sort("label")["group"].unique(maintain_order=True)):
            yield measure(
                samples, subject=subject, audit="utility", metric="price(accuracy)",
                formula="price(accuracy@0.5)", versus={"subject": control_of(subject)},
                group=group, protocol=protocol,
            )  # fmt: skip


def _flips(
    experiment: ClassifierExperiment, samples: pl.DataFrame, protocol: str
) -> Iterator[Finding]:
    rows = samples.filter(pl.col("audit") == "curve")
    for curve in experiment.curves:
        here = {"audit": "curve", "goal": "flip", "site": curve.site}
        for trial, claim in claims(curve).items():
            at = here | {"trial": trial, "radius": curve.claim}
            for subject in rows["subject"].unique(maintain_order=True):
                for metric, formula, radius in [
                    ("accuracy_before", "accuracy@0.5", 0.0),
                    *((m, f, curve.claim) for m, f in _ATTACKED.items()),
                ]:
                    yield measure(
                        samples, subject=subject, audit="flip", metric=metric, formula=formula,
                        trial=claim, where=at | {"radius": radius}, protocol=protocol,
                    )  # fmt: skip
                if is_hardened(subject):
                    yield measure(
                        samples, subject=subject, audit="flip", metric="defence_effect",
                        formula="defence_effect(asr)", versus={"subject": control_of(subject)},
                        trial=claim, where=at, protocol=protocol,
                    )  # fmt: skip


def _curves(samples: pl.DataFrame, protocol: str) -> Iterator[Finding]:
    rows = samples.filter(pl.col("audit") == "curve")
    keys = rows.select("subject", "trial", "site", "radius").unique(maintain_order=True)
    for subject, trial, site, radius in keys.iter_rows():
        for metric, formula in (("accuracy", "accuracy@0.5"), ("asr", "asr")):
            yield measure(
                samples, subject=subject, audit="curve", metric=metric, formula=formula,
                trial=trial, radius=radius, where={"goal": "flip", "site": site},
                protocol=protocol,
            )  # fmt: skip
