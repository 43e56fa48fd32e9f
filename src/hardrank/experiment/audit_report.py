"""From the samples of an audit to its findings, and what the report says beside them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import polars as pl
from pydantic import TypeAdapter

from hardrank.audits.checks import Check
from hardrank.audits.measure import measure
from hardrank.audits.quality import ranks_for_somebody
from hardrank.data import Dataset
from hardrank.data.card import card
from hardrank.experiment.audit_scene import Scene, label_of
from hardrank.experiment.audit_spec import PROMOTION, QUALITY, Audit
from hardrank.experiment.circumstance import Clock, host, versions
from hardrank.findings import Finding
from hardrank.victims import Connection

__all__ = ["audit_checks", "audit_facts", "audit_findings"]

_GROUPS = ("all", "head", "mid", "tail", "cold")
_LOOKED_AT = 128
"""Queries that the check of the victim's own quality looks at."""


def audit_checks(scene: Scene) -> list[Check]:
    """Whether the numbers mean anything: the victim ranks, and it was one and the same
    throughout. Asks the victim its probe once more."""
    made = ranks_for_somebody(
        scene.victim, scene.holdout.queries, subject=scene.subject, most=_LOOKED_AT
    )
    concerns = {"audit": ("utility", "promotion")}
    if scene.connection is not None:
        for name, passed, reason in _asked_of(scene.connection):
            made.append(
                Check(
                    gate="sanity",
                    name=name,
                    subject=scene.subject,
                    passed=passed,
                    reason=reason,
                    concerns=concerns,
                )
            )
    return made


def _asked_of(there: Connection) -> Iterator[tuple[str, bool | None, str]]:
    """Name, answer and reason of each check; a check that does not fail hides nothing."""
    seen, moved = there.seen, there.changed()
    spread = f"two answers to the same question differ by up to {seen.difference:g}"
    if seen.steady:
        yield "answers_alike_twice", True, spread
    else:
        mean = f"{spread}; each number is the mean of {there.victim.line.repeats} answers"
        yield "answers_alike_twice", None, mean
    if seen.reads_text:
        yield "reads_item_text", True, "other texts under the same item ids change its scores"
    else:
        why = "other texts under the same item ids change no score: does it read what it is sent?"
        yield "reads_item_text", None, why
    if moved is None:
        yield "answers_alike_at_the_end", None, f"{spread}, so no change could be told"
    elif moved == 0:
        yield "answers_alike_at_the_end", True, "the probe was answered alike before and after"
    else:
        why = f"after the audit the probe was answered otherwise, by up to {moved:g}; run again"
        yield "answers_alike_at_the_end", False, why


def audit_findings(samples: pl.DataFrame, subject: str, protocol: str) -> Iterator[Finding]:
    """Clean quality, overall and by popularity, then each attack."""
    clean = samples.filter(pl.col("audit") == "utility")
    have = {"all", *clean["group"].drop_nulls()}
    for group in (g for g in _GROUPS if g in have):
        for metric in QUALITY:
            yield measure(
                samples, subject=subject, audit="utility", metric=metric, group=group,
                protocol=protocol,
            )  # fmt: skip
    played = samples.filter(pl.col("audit") == "promotion")
    for trial, k in played.select("trial", "k").unique(maintain_order=True).iter_rows():
        for formula in PROMOTION:
            yield measure(
                samples, subject=subject, audit="promotion", formula=formula, trial=trial,
                metric=f"{formula}@{k}" if formula.startswith("er_") else formula,
                where={"k": k}, protocol=protocol,
            )  # fmt: skip


def audit_facts(
    scene: Scene, source: Dataset, protocol: str, clock: Clock, started: datetime
) -> dict[str, Any]:
    """`run.json`; see `hardrank.reports.evidence.RunFacts`."""
    audit, there = scene.audit, scene.connection
    about = there.describe() if there else f"Victim: the bundle {label_of(audit)}."
    counts = {f"victim, {name}": n for name, n in there.counts().items()} if there else {}
    return {
        "name": audit.name,
        "model": label_of(audit),
        "synthetic": source.synthetic,
        "data_card": card(source),
        "config": TypeAdapter(Audit).dump_python(audit, mode="json", exclude_none=True),
        "versions": versions(),
        "seeds": list(audit.seeds),
        "protocol": f"{about} Measured on {len(scene.holdout)} users: {protocol}",
        "durations": clock.rounded(),
        "host": host() | counts,
        "threats": [trial.threat.describe() for trial in audit.trials],
        "fingerprint": source.fingerprint,
        "started": started.isoformat(timespec="seconds"),
    }
