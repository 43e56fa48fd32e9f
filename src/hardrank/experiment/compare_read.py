"""Finished runs as a comparison reads them, and in what they differ."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import TypeAdapter, ValidationError

from hardrank.audits import samples as table
from hardrank.audits.measure import measure
from hardrank.audits.verify import TOLERANCE, read_findings
from hardrank.errors import DataError
from hardrank.experiment.spec import Trial
from hardrank.findings import Finding
from hardrank.reports.evidence import RunFacts

__all__ = ["FinishedRun", "differences", "read_run", "read_runs"]

_TRIALS: TypeAdapter[tuple[Trial, ...]] = TypeAdapter(tuple[Trial, ...])
Key = tuple[str, str, str, str, str]


@dataclass(frozen=True, eq=False, kw_only=True)
class FinishedRun:
    """The folder of a `hardrank run`, whose numbers are the samples'."""

    name: str
    """Unique among the runs compared."""
    folder: Path
    facts: RunFacts
    samples: pl.DataFrame
    findings: Mapping[Key, Finding]
    """(subject, audit, metric, trial, group) -> what the run itself says."""

    @cached_property
    def subjects(self) -> list[str]:
        """Models that were ranked with, in the order of the run; without the twins from which
        items were hidden."""
        ranked = self.samples.filter(pl.col("audit") == "utility")["subject"]
        every = ranked.unique(maintain_order=True).to_list()
        return [s for s in every if not s.endswith("/hidden")]

    @cached_property
    def attacks(self) -> list[str]:
        """Labels of the attacks that rewrote item texts."""
        return list(self.ks)

    @cached_property
    def ks(self) -> dict[str, int]:
        """Label of an attack -> length of the lists that it wants to be in."""
        rows = self.samples.filter(pl.col("audit") == "promotion")
        return dict(rows.select("trial", "k").unique(maintain_order=True).iter_rows())

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """The attacks that were asked for. Raises `DataError` for those of another version."""
        try:
            return _TRIALS.validate_python(self.facts.config.get("trials", ()))
        except ValidationError as error:
            raise DataError(
                "holds an attack that this version cannot read", path=self.folder / "run.json",
                field="config.trials", remedy="run the experiment again with this version",
            ) from error  # fmt: skip

    @cached_property
    def threats(self) -> dict[str, str]:
        """Label of an attack -> its threat model in words."""
        return {label: t.threat.describe() for t in self.trials for label in t.labels()}

    def has(self, subject: str, group: str) -> bool:
        """Whether clean quality of the subject was measured on users of that group."""
        mine = (pl.col("subject") == subject) & (pl.col("audit") == "utility")
        inside = pl.lit(True) if group == "all" else pl.col("group") == group
        return self.samples.filter(mine & inside).height > 0

    def targets(self, attack: str) -> dict[int, frozenset[str]]:
        """Seed -> items that an attack aimed at."""
        mine = (pl.col("audit") == "promotion") & (pl.col("trial") == attack)
        grouped = self.samples.filter(mine).group_by("seed").agg(pl.col("sample").unique())
        return {int(seed): frozenset(items) for seed, items in grouped.iter_rows()}

    def measure(self, subject: str, audit: str, metric: str, **more: Any) -> Finding:
        """Computed from the samples; reliable only where the run's own finding is.

        Raises `DataError` where the run says another number than its samples do."""
        found = measure(self.samples, subject=subject, audit=audit, metric=metric, **more)
        said = self.findings.get((subject, audit, metric, found.trial, found.group))
        if said is None:
            return found
        for part in ("value", "low", "high"):
            one, other = getattr(said, part), getattr(found, part)
            same = one is other if None in (one, other) else abs(one - other) <= TOLERANCE
            if not same:
                raise DataError(
                    f"{subject} {found.trial} {metric}: {part} is {one}, the samples say {other}",
                    path=self.folder / "findings.json",
                    remedy="run the experiment again; `hardrank report verify` lists all of it",
                )
        return replace(found, reliable=said.reliable, reason=said.reason or found.reason)


def read_runs(folders: Sequence[Path]) -> list[FinishedRun]:
    """Each with a name of its own. Raises `DataError` for what is not a finished run."""
    runs = [read_run(folder) for folder in folders]
    for names in (
        [f"{run.name} ({run.folder.name})" for run in runs],
        [str(run.folder) for run in runs],
    ):
        taken = [run.name for run in runs]
        runs = [
            replace(run, name=name) if taken.count(run.name) > 1 else run
            for run, name in zip(runs, names, strict=True)
        ]
    return runs


def read_run(folder: Path) -> FinishedRun:
    """Raises `DataError` for a folder that is not a finished run of a recommender."""
    for name in ("run.json", "findings.json", "samples.parquet"):
        if not (folder / name).is_file():
            raise DataError(
                "no such file", path=folder / name, remedy="give the folder of a finished run"
            )
    facts = RunFacts.load(folder / "run.json")
    samples = table.load(folder / "samples.parquet")
    if "classifier" in facts.config or not (samples["audit"] == "utility").any():
        raise DataError(
            "no clean ranking quality was measured", path=folder,
            remedy="runs of recommenders are compared, classifiers are not",
        )  # fmt: skip
    findings = {
        (f.subject, f.audit, f.metric, f.trial, f.group): f
        for f in read_findings(folder / "findings.json")
        if f.audit in ("utility", "promotion")
    }
    return FinishedRun(
        name=facts.name, folder=folder, facts=facts, samples=samples, findings=findings
    )


def differences(runs: Sequence[FinishedRun]) -> list[str]:
    """What keeps the numbers of runs from standing in one table, in words; [] if nothing."""
    found = [said for one, other in itertools.combinations(runs, 2) for said in _apart(one, other)]
    return list(dict.fromkeys(found))


def _apart(one: FinishedRun, other: FinishedRun) -> list[str]:
    said = []
    for name, what in (("fingerprint", "dataset fingerprint"), ("protocol", "protocol")):
        values = [getattr(run.facts, name) or "not stated" for run in (one, other)]
        if values[0] != values[1]:
            shown = [v[:12] if name == "fingerprint" else v for v in values]
            said.append(f"{what}: '{one.name}' has {shown[0]}, '{other.name}' has {shown[1]}")
    if not set(one.facts.seeds) & set(other.facts.seeds):
        said.append(
            f"seeds: '{one.name}' has {_listed(one.facts.seeds)}, "
            f"'{other.name}' has {_listed(other.facts.seeds)}; none in common"
        )
    for attack in one.attacks:
        if attack in other.attacks:
            said += _attack_apart(attack, one, other)
    return said


def _attack_apart(attack: str, one: FinishedRun, other: FinishedRun) -> list[str]:
    ks = one.ks[attack], other.ks[attack]
    if ks[0] != ks[1]:
        return [f"k of {attack}: '{one.name}' has {ks[0]}, '{other.name}' has {ks[1]}"]
    threats = one.threats.get(attack), other.threats.get(attack)
    if threats[0] != threats[1]:
        pair = f"'{one.name}': {threats[0]} '{other.name}': {threats[1]}"
        return [f"threat model of {attack}: {pair}"]
    mine, theirs = one.targets(attack), other.targets(attack)
    for seed in sorted(set(mine) & set(theirs)):
        if mine[seed] != theirs[seed]:
            return [
                f"targets of {attack}: of seed {seed}, '{one.name}' and '{other.name}' share "
                f"{len(mine[seed] & theirs[seed])} of {len(mine[seed] | theirs[seed])}"
            ]
    return []


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds)) or "none"
