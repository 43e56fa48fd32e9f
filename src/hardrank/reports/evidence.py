"""What a run folder holds, read and refused where a report on it would mislead."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.errors import SchemaError
from hardrank.findings import Finding

__all__ = ["AS_TRAINED", "CONTROL", "HARDENED", "Evidence", "RunFacts", "load_evidence"]
__all__ += ["headlined", "refuse_lonely"]

CONTROL, HARDENED = "control", "hardened"
AS_TRAINED = ("base", "hidden")
"""Arms that are no part of the hardening stage."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """`run.json`: circumstance and text. Findings hold the numbers, this holds the rest."""

    name: str
    synthetic: bool = False
    """The data were generated, not observed: said at the top of every page."""
    data_card: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    """The resolved experiment, as TOML would spell it."""
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    protocol: str = ""
    durations: Mapping[str, float] = field(default_factory=dict)
    """Stage -> seconds."""
    host: Mapping[str, Any] = field(default_factory=dict)
    threats: tuple[str, ...] = ()
    """Each threat model in words: goal, knowledge, surface, budget."""
    fingerprint: str = ""
    """Digest of the data set."""
    started: str = ""
    """Date and time, ISO 8601."""
    model: str = ""
    """The model whose arms are compared; empty for the first that has a hardened arm."""

    @classmethod
    def load(cls, path: Path) -> "RunFacts":
        """Keys of newer versions are passed over. Raises `SchemaError` without `name`."""
        row = _json(path)
        known = {f.name for f in fields(cls)}
        if not isinstance(row, dict) or not isinstance(row.get("name"), str):
            raise SchemaError("no name", path=path, field="name", remedy="run the experiment again")
        kept = {k: v for k, v in row.items() if k in known and v is not None}
        for key in ("seeds", "threats"):
            value = kept.get(key, ())
            kept[key] = (value,) if isinstance(value, str) else tuple(value)
        return cls(**kept)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a report is made of."""

    findings: tuple[Finding, ...]
    samples: pl.DataFrame
    facts: RunFacts
    alias: str = ""
    """What the experiment calls the arm that the page calls `hardened`; empty for the same."""

    @property
    def model(self) -> str:
        return main_model(self.findings, self.facts.model)

    @property
    def has_hardened(self) -> bool:
        return any(f.subject == self.subject(HARDENED) for f in self.findings)

    @property
    def arms(self) -> tuple[str, ...]:
        """The control, then every hardened arm, whatever its name, in file order."""
        every = dict.fromkeys(
            f.subject.partition("/")[2]
            for f in self.findings
            if f.subject.partition("/")[0] == self.model
        )
        hardened = [arm for arm in every if arm and arm not in (*AS_TRAINED, CONTROL)]
        return (*([CONTROL] if CONTROL in every else []), *hardened)

    def shown(self, arm: str) -> str:
        """The arm as the experiment names it."""
        return self.alias if arm == HARDENED and self.alias else arm

    def subject(self, arm: str) -> str:
        return f"{self.model}/{arm}"

    def of(self, audit: str, **wanted: object) -> tuple[Finding, ...]:
        """Findings of one audit whose attributes equal `wanted`, in file order."""
        return select(self.findings, audit=audit, **wanted)

    def one(self, audit: str, **wanted: object) -> Finding | None:
        found = self.of(audit, **wanted)
        return found[0] if found else None

    def rows(self, audit: str) -> pl.DataFrame:
        if "audit" not in self.samples.columns:
            return self.samples.clear()
        return self.samples.filter(pl.col("audit") == audit)


def select(findings: Iterable[Finding], **wanted: object) -> tuple[Finding, ...]:
    return tuple(f for f in findings if all(getattr(f, k) == v for k, v in wanted.items()))


def main_model(findings: Iterable[Finding], stated: str = "") -> str:
    """The compared model: the stated one if it was audited, else the first hardened one,
    else the first control."""
    subjects = [f.subject for f in findings]
    if stated in {subject.partition("/")[0] for subject in subjects}:
        return stated
    for arm in (HARDENED, CONTROL, ""):
        for subject in subjects:
            model, _, last = subject.partition("/")
            if last == arm or not arm:
                return model
    return ""


def load_evidence(folder: Path) -> Evidence:
    """Read `findings.json`, `samples.parquet` and `run.json`.

    Without samples there are no plots of targets and no worst cases. Raises `SchemaError`
    if another file is missing or wrong, and if a hardened model stands without its control
    (`refuse_lonely`).
    """
    path = folder / "findings.json"
    findings = tuple(_finding(row, path, n) for n, row in enumerate(_rows(_json(path), path), 1))
    refuse_lonely(findings, path)
    samples = folder / "samples.parquet"
    table = pl.read_parquet(samples) if samples.is_file() else pl.DataFrame()
    facts = RunFacts.load(folder / "run.json")
    return headlined(Evidence(findings=findings, samples=table, facts=facts))


def headlined(evidence: Evidence) -> Evidence:
    """With several hardened arms of free names, one of them (the first) is what the page sets
    beside the control throughout, as `hardened`; the others stand in the tables of all arms."""
    arms = [arm for arm in evidence.arms if arm != CONTROL]
    if not arms or HARDENED in arms:
        return evidence
    old, new = evidence.subject(arms[0]), evidence.subject(HARDENED)
    findings = tuple(replace(f, subject=new) if f.subject == old else f for f in evidence.findings)
    samples = evidence.samples
    if "subject" in samples.columns:
        samples = samples.with_columns(pl.col("subject").replace({old: new}))
    return replace(evidence, findings=findings, samples=samples, alias=arms[0])


def refuse_lonely(findings: Iterable[Finding], path: Path | str = "findings.json") -> None:
    """Raises `SchemaError` where a hardened arm was audited in a way its control was not.

    A defence is a comparison; without the same trial on a model that had the same data,
    steps and seeds but no adversary, its numbers mean nothing.
    """
    seen = {(f.subject, f.audit, f.trial) for f in findings}
    models = {s.rpartition("/")[0] for s, _, _ in seen if s.endswith(f"/{CONTROL}")}
    for subject, audit, trial in sorted(seen):
        model, _, arm = subject.rpartition("/")
        if arm in (CONTROL, *AS_TRAINED) or audit in ("gate", "coverage"):
            continue
        if arm != HARDENED and model not in models:
            continue  # no arm of a hardening stage
        if (f"{model}/{CONTROL}", audit, trial) not in seen:
            raise SchemaError(
                f"'{subject}' has {audit} findings for '{trial}' but '{model}/{CONTROL}' has none",
                path=path,
                field="subject",
                remedy="a defence is not reported without its control arm: audit that too",
            )


def load_findings(path: Path) -> tuple[Finding, ...]:
    """Raises `SchemaError` where the file is not there or holds something else."""
    return tuple(_finding(row, path, n) for n, row in enumerate(_rows(_json(path), path), 1))


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SchemaError(
            "no such file", path=path, remedy="name the folder of a finished run"
        ) from error
    except ValueError as error:
        raise SchemaError(
            f"not JSON ({error})", path=path, remedy="run the experiment again"
        ) from error


def _rows(value: Any, path: Path) -> list[Any]:
    rows = value.get("findings") if isinstance(value, dict) else value
    if not isinstance(rows, list):
        raise SchemaError("not a list of findings", path=path, remedy="run the experiment again")
    return rows


def _finding(row: Any, path: Path, number: int) -> Finding:
    try:
        made = dict(row)
        for key in ("seeds", "per_seed"):
            made[key] = tuple(made.get(key, ()))
        return Finding(**made)
    except (TypeError, ValueError) as error:
        raise SchemaError(
            f"finding {number} is wrong ({error})", path=path, remedy="run the experiment again"
        ) from error
