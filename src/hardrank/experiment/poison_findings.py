"""From the samples of poisoned logs to findings."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from hardrank.audits.measure import measure
from hardrank.audits.samples import gather
from hardrank.audits.significance import noninferiority
from hardrank.experiment.poison_detection import FIGURES
from hardrank.experiment.poison_spec import PoisonExperiment
from hardrank.experiment.roles import control_of, is_hardened
from hardrank.findings import Finding
from hardrank.threats.court import label

Parts = Mapping[str, pl.DataFrame]
"""Audit -> its samples."""
NOTHING = gather([])
__all__ = ["ADAPTIVE", "poison_findings"]

ADAPTIVE = " (adaptive)"
"""Ends the label of an attack that knows the defence."""
_DISGUISE = ("ratings", "popularity", "js", "length", "overlap")
_MARGIN = 0.02


def poison_findings(
    experiment: PoisonExperiment, samples: pl.DataFrame, protocol: str
) -> list[Finding]:
    """Every number of the report, with its interval and formula."""
    by_audit = samples.partition_by("audit", as_dict=True, maintain_order=True)
    parts = {str(audit): rows for (audit,), rows in by_audit.items()}
    return [
        *_quality(parts, protocol),
        *_exposures(experiment, parts, protocol),
        *_compared(experiment, parts, protocol),
        *_worst(experiment, parts, protocol),
        *_detection(parts, protocol),
        *_disguises(parts, protocol),
    ]


def _measured(parts: Parts, *, audit: str, **about: Any) -> Finding:
    """`measure` over the rows of one audit: most of them are of another one."""
    rows = parts.get(about.get("where", {}).get("audit", audit), NOTHING)
    return measure(rows, audit=audit, **about)


def _quality(parts: Parts, protocol: str) -> Iterator[Finding]:
    clean = parts["utility"]
    for subject in clean["subject"].unique(maintain_order=True):
        have = set(clean.filter(pl.col("subject") == subject)["group"].drop_nulls())
        for group in ("all", *sorted(have)):
            for metric in ("hr@10", "ndcg@10"):
                yield _measured(
                    parts, subject=subject, audit="utility", metric=metric, group=group,
                    protocol=protocol,
                )  # fmt: skip
            if is_hardened(subject):
                yield _measured(
                    parts, subject=subject, audit="utility", metric="price(ndcg@10)",
                    versus={"subject": control_of(subject)}, group=group, protocol=protocol,
                )  # fmt: skip
        if is_hardened(subject):
            yield noninferiority(
                parts["utility"], subject=subject, control=control_of(subject), margin=_MARGIN,
                protocol=protocol,
            )  # fmt: skip


def _trials(parts: Parts, audit: str) -> Iterator[tuple[str, str]]:
    rows = parts.get(audit, NOTHING).filter(pl.col("trial") != "clean")
    yield from rows.select("subject", "trial").unique(maintain_order=True).iter_rows()


def _exposures(experiment: PoisonExperiment, parts: Parts, protocol: str) -> Iterator[Finding]:
    k_last, won = experiment.ks[-1], _won(experiment)
    for subject, trial in _trials(parts, "promotion"):
        about: dict[str, Any] = {"subject": subject, "trial": trial, "protocol": protocol}
        for k in experiment.ks:
            for formula in ("er_before", "er_after", "er_gain"):
                yield _measured(
                    parts, audit="promotion", metric=f"{formula}@{k}", formula=formula,
                    where={"k": k}, **about,
                )  # fmt: skip
            yield _measured(
                parts, audit="target-ndcg", metric=f"target_ndcg@{k}", formula="value",
                where={"k": k}, **about,
            )  # fmt: skip
        last = {"k": k_last}
        for metric, formula in (("asr", "asr"), ("rank_before", "rank_before"),
                                ("rank_after", "rank_after"), ("shift", "value"),
                                ("seconds", "seconds"), ("events", "events")):  # fmt: skip
            yield _measured(
                parts, audit="promotion", metric=metric, formula=formula, where=last, **about
            )
        yield _measured(
            parts, audit="relative-shift", metric="relative_shift", formula="value", **about
        )
        yield _measured(
            parts, audit="poisoned", metric="drop(ndcg@10)", formula="drop(value)",
            versus={"trial": "clean"}, **about,
        )  # fmt: skip
        if is_hardened(subject) and not trial.endswith(ADAPTIVE):
            yield _measured(
                parts, audit="promotion", metric=f"defence_effect@{k_last}",
                formula="defence_effect" if won == "er_gain" else f"defence_effect({won})",
                where=last, versus={"subject": control_of(subject)}, **about,
            )  # fmt: skip


def _won(experiment: PoisonExperiment) -> str:
    """What an attacker is after: exposure gained, or lost."""
    return "er_loss" if experiment.threat.goal.kind == "demote" else "er_gain"


def _compared(experiment: PoisonExperiment, parts: Parts, protocol: str) -> Iterator[Finding]:
    """Each attack on the control against the simple ones, paired by target and seed."""
    known = {label(a) for a in experiment.attacks}
    for subject, trial in _trials(parts, "promotion"):
        if is_hardened(subject) or trial in experiment.baselines:
            continue
        for base in (b for b in experiment.baselines if b in known):
            yield _measured(
                parts, subject=subject, audit="promotion", trial=trial,
                metric=f"difference@{experiment.ks[-1]}({base})",
                formula=f"difference({_won(experiment)})",
                where={"k": experiment.ks[-1]}, versus={"trial": base}, protocol=protocol,
            )  # fmt: skip


def _worst(experiment: PoisonExperiment, parts: Parts, protocol: str) -> Iterator[Finding]:
    """An attacker who picks the strongest attack for each target, against each arm; one who
    knows a defence may pick among the adaptive attacks, too. The strongest demotion is the one
    that leaves least exposure."""
    k, won = experiment.ks[-1], _won(experiment)
    fold = "least" if won == "er_loss" else "worst"
    pairs = list(_trials(parts, "promotion"))
    for subject in dict.fromkeys(s for s, _ in pairs):
        mine = [t for s, t in pairs if s == subject]
        plain = [t for t in mine if not t.endswith(ADAPTIVE)]
        for name, trials in (("all attacks", plain), ("all attacks and adaptive", mine)):
            if name != "all attacks" and len(mine) == len(plain):
                continue
            where = {"audit": "promotion", "trial": trials, "k": k}
            about: dict[str, Any] = {"subject": subject, "audit": "worst-case", "trial": name,
                                     "protocol": protocol}  # fmt: skip
            for formula in ("er_after", "er_gain"):
                yield _measured(
                    parts, metric=f"{formula}@{k}", formula=f"{fold}({formula})", where=where,
                    **about,
                )  # fmt: skip
            if is_hardened(subject):
                yield _measured(
                    parts, metric=f"defence_effect@{k}", where=where,
                    formula=f"defence_effect(worst({won}))",
                    versus={"subject": control_of(subject), "trial": plain}, **about,
                )  # fmt: skip


def _detection(parts: Parts, protocol: str) -> Iterator[Finding]:
    for figure in FIGURES:
        audit = f"detection-{figure}"
        for subject, trial in _trials(parts, audit):
            yield _measured(
                parts, subject=subject, audit=audit, metric=figure, formula="value",
                trial=trial, protocol=protocol,
            )  # fmt: skip


def _disguises(parts: Parts, protocol: str) -> Iterator[Finding]:
    for name in _DISGUISE:
        audit = f"disguise-{name}"
        for subject, trial in _trials(parts, audit):
            yield _measured(
                parts, subject=subject, audit=audit, metric=name, formula="value",
                trial=trial, protocol=protocol,
            )  # fmt: skip
