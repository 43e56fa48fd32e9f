"""What the folder of a poisoning run says, as the parts of its page ask for it."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hardrank.errors import SchemaError
from hardrank.findings import Finding
from hardrank.reports.evidence import CONTROL, load_findings
from hardrank.reports.labels import Label, label_html, labels
from hardrank.reports.markup import Html, join
from hardrank.reports.standing import Standing, standing

__all__ = ["ADAPTIVE", "Poisoning", "read_poisoning"]

ADAPTIVE = " (adaptive)"
"""Ends the label of an attack that knows the defence."""


@dataclass(frozen=True, kw_only=True)
class Poisoning:
    """What a run's folder says."""

    findings: tuple[Finding, ...]
    facts: dict[str, Any]
    portraits: dict[str, Any]
    rocs: dict[str, list[tuple[float, float]]]
    """Detector -> (false positives, recall) over all attacks."""

    @cached_property
    def k(self) -> int:
        return int(self.facts["config"]["ks"][-1])

    @cached_property
    def demote(self) -> bool:
        return bool(self.facts["config"]["threat"]["goal"]["kind"] == "demote")

    @cached_property
    def subjects(self) -> list[str]:
        return list(dict.fromkeys(f.subject for f in self.findings if f.audit == "utility"))

    @cached_property
    def victims(self) -> list[str]:
        return list(dict.fromkeys(s.partition("/")[0] for s in self.subjects))

    @cached_property
    def arms(self) -> list[str]:
        """Names of the defences."""
        names = (s.partition("/")[2] for s in self.subjects)
        return [a for a in dict.fromkeys(names) if a != CONTROL]

    @cached_property
    def strongest_first(self) -> list[str]:
        """Attacks by the exposure that they reach on the controls, mean over victims."""
        reached: dict[str, list[float]] = {}
        for f in self.of(audit="promotion", metric=f"er_after@{self.k}"):
            if not f.trial.endswith(ADAPTIVE):
                mine = reached.setdefault(f.trial, [])
                if f.subject.endswith(f"/{CONTROL}") and f.value is not None:
                    mine.append(f.value)
        sign = 1 if self.demote else -1
        return sorted(reached, key=lambda t: sign * _mean(reached[t]) if reached[t] else 2.0)

    @cached_property
    def labels(self) -> dict[str, Label]:
        """Attack or detector -> how the page calls it."""
        beside = ("clean", "all attacks", "all attacks and adaptive")
        detectors = (f.subject for f in self.findings if f.audit.startswith("detection-"))
        trials = (f.trial for f in self.findings if f.trial not in beside)
        return labels(dict.fromkeys((*trials, *detectors, *self.portraits.get("attacks", ()))))

    def drawn(self, trial: str) -> str:
        """In a chart."""
        return self.labels[trial].text if trial in self.labels else trial

    def called(self, trial: str) -> str:
        """In a sentence."""
        return self.labels[trial].spoken if trial in self.labels else trial

    def shown(self, trial: str) -> Html:
        """In a table."""
        return label_html(self.labels[trial]) if trial in self.labels else join(trial)

    def standing(self, subject: str) -> Standing:
        """What the checks say of one arm of one victim."""
        return standing(self.findings, subject)

    def of(self, **wanted: Any) -> list[Finding]:
        return [f for f in self.findings if all(getattr(f, n) == v for n, v in wanted.items())]

    def one(self, **wanted: Any) -> Finding | None:
        return next(iter(self.of(**wanted)), None)

    def strongest(self, subject: str) -> Finding | None:
        """Exposure after the attack that moves it farthest."""
        rows = self.of(subject=subject, audit="promotion", metric=f"er_after@{self.k}")
        known = [(f.value, n) for n, f in enumerate(rows) if f.value is not None]
        if not known:
            return None
        return rows[(min if self.demote else max)(known)[1]]

    def before(self, after: Finding) -> float | None:
        found = self.one(subject=after.subject, audit="promotion", trial=after.trial,
                         metric=f"er_before@{self.k}")  # fmt: skip
        return found.value if found else None


def read_poisoning(folder: Path) -> Poisoning:
    """From `findings.json`, `run.json`, `profiles.json` and `roc.json`.

    Raises `SchemaError` where `findings.json` holds none.
    """
    findings = load_findings(folder / "findings.json")
    if not findings:
        raise SchemaError("holds no finding", path=folder / "findings.json")
    facts, portraits, rocs = (
        json.loads((folder / f"{name}.json").read_text("utf-8"))
        for name in ("run", "profiles", "roc")
    )
    return Poisoning(findings=findings, facts=facts, portraits=portraits, rocs=rocs)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
