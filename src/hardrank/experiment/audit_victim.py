"""`hardrank audit`: somebody's recommender, attacked as it stands, to a report and a verdict."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from hardrank.audits import samples as table
from hardrank.audits.catalogue import PROTOCOL
from hardrank.audits.checks import check_samples, findings_of, judge_findings
from hardrank.audits.judge import CharacterJudge
from hardrank.audits.promotion import promotion
from hardrank.audits.utility import utility
from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Patch, render
from hardrank.data.splits import Split, check_leaks
from hardrank.errors import DataError
from hardrank.experiment.audit_report import audit_checks, audit_facts, audit_findings
from hardrank.experiment.audit_scene import Scene, label_of, scene
from hardrank.experiment.audit_spec import Audit
from hardrank.experiment.circumstance import Clock
from hardrank.experiment.reading import dataset_of
from hardrank.experiment.spec import Trial
from hardrank.experiment.stages import kept_samples, key_of
from hardrank.experiment.thresholds import Ruling, rule
from hardrank.files import write_json
from hardrank.findings import Finding
from hardrank.recommender import Recommender
from hardrank.reports import render as rendered
from hardrank.threats import (
    Match,
    ThreatModel,
    digest_victim,
    mount_all,
    played_label,
    sample_panel,
    targets,
)

__all__ = ["AuditResult", "label_of", "run_audit"]

_log = logging.getLogger("hardrank")
_LEVELS = ("ranks", "scores", "gradients")


@dataclass(frozen=True, eq=False, kw_only=True)
class AuditResult:
    """What an audit leaves behind."""

    folder: Path
    report: Path
    findings: list[Finding]
    rulings: list[Ruling]

    @property
    def failed(self) -> bool:
        """Whether a threshold of `fail_if` holds, or could not be measured."""
        return any(ruling.fails for ruling in self.rulings)


def run_audit(audit: Audit, run: RunContext, *, beside: Sequence[Path] = ()) -> AuditResult:
    """Everything into `run.folder`. Run again, it resumes: finished matches are not played
    again, and the victim is not asked again for what it answered.

    beside: folders from which a callable may be imported. Raises `HardrankError` for anything
    the user can mend.
    """
    folder = run.folder
    assert folder is not None, "an audit needs a folder"
    clock, started = Clock(), datetime.now(UTC)
    with clock.stage("reading the data"):
        source = dataset_of(audit, folder)
        split = audit.split.split(source)
        check_leaks(split)
        games = [(t, seed, _targets(t, seed, split)) for t, seed in _games(audit)]
    with scene(audit, split, folder, run, beside) as made:
        with clock.stage("clean quality"):
            parts = [_clean(made)]
        with clock.stage("attacks"):
            parts += [_attacked(made, trial, wanted, seed) for trial, seed, wanted in games]
        with clock.stage("findings and report"):
            return _write(made, parts, source, clock, started)


def _games(audit: Audit) -> Iterator[tuple[Trial, int]]:
    return ((trial, seed) for seed in audit.seeds for trial in audit.trials)


def _targets(trial: Trial, seed: int, split: Split) -> tuple[str, ...]:
    """Raises `DataError` that lists all ids that are not in the catalogue."""
    goal, train = trial.threat.goal, split.train
    named = getattr(goal, "items", ())
    if not isinstance(named, str):
        unknown = [i for i in named if i not in train.item_rows]
        if unknown:
            raise DataError(
                f"{train.name}: {len(unknown)} of {len(named)} targets are not in the catalogue: "
                f"{', '.join(unknown[:20])}", remedy="check goal.items",
            )  # fmt: skip
    return targets(goal, train, np.random.default_rng(derive(seed, "targets", repr(goal))))


def _clean(scene: Scene) -> pl.DataFrame:
    key = key_of(
        "utility", digest_victim(scene.victim), scene.holdout.fingerprint, scene.subject,
        tuple(scene.groups),
    )  # fmt: skip
    return kept_samples(
        scene.folder / "stages" / "utility", key,
        lambda: utility(
            scene.victim, scene.holdout, subject=scene.subject, seed=scene.audit.seeds[0],
            groups=scene.groups, names=scene.split.train.users["user_id"].to_list(),
        ),
    )  # fmt: skip


def _attacked(scene: Scene, trial: Trial, wanted: tuple[str, ...], seed: int) -> pl.DataFrame:
    """Samples of one trial: each attack on each target, judged on every user of the audit."""
    audit, train = scene.audit, scene.split.train
    judge = CharacterJudge.fit(render(train.items, (trial.threat.field,)))
    key = key_of(
        trial, audit.panel, audit.success, digest_victim(scene.victim), wanted, seed,
        scene.holdout.fingerprint, scene.subject, train.fingerprint,
    )  # fmt: skip

    def play() -> pl.DataFrame:
        return promotion(
            scene.victim, _matches(scene, trial, wanted, seed, judge), scene.holdout.queries,
            subject=scene.subject, seed=seed, k=getattr(trial.threat.goal, "k", 10),
            success_exposure=audit.success, judge=judge, groups=scene.groups, note=trial.note,
        )  # fmt: skip

    folder = scene.folder / "stages" / f"trial-{key_of(trial)[:8]}" / str(seed)
    made = kept_samples(folder, key, play)
    _log.info("seed %d: %s; %s", seed, ", ".join(trial.labels()), _already(made))
    return made


def _already(samples: pl.DataFrame) -> str:
    there = samples.filter(pl.col("excluded"))["sample"].n_unique()
    total = samples["sample"].n_unique()
    return f"{there} of {total} targets met the goal before any attack and count as no success"


def _matches(
    scene: Scene, trial: Trial, wanted: tuple[str, ...], seed: int, judge: CharacterJudge
) -> tuple[Match, ...]:
    """Through the referee; unless the victim cannot show what the threat grants."""
    refusal = _refusal(scene.victim, trial.threat)
    if refusal:
        return tuple(
            Match(
                attack=played_label(attack, trial.threat), threat=trial.threat, target=target,
                patch=Patch(), seed=seed,
                victim=digest_victim(scene.victim)[:16], error=refusal,
            )
            for attack in trial.attacks
            for target in wanted
        )  # fmt: skip
    generator = np.random.default_rng(derive(seed, "panel"))
    panel = sample_panel(scene.holdout.queries, scene.audit.panel, generator)
    return mount_all(
        trial.attacks, trial.threat, scene.victim, scene.split.train, panel=panel,
        targets=wanted, seed=seed, judge=judge, run=scene.run,
        log=scene.folder / "matches" / f"victim-{seed}.jsonl",
    )  # fmt: skip


def _refusal(victim: Recommender, threat: ThreatModel) -> str:
    """Why nothing can be mounted; empty where it can."""
    granted = getattr(victim, "grants", "gradients")
    if _LEVELS.index(threat.knowledge) <= _LEVELS.index(granted):
        return ""
    return (
        f"the threat grants {threat.knowledge}, the victim answers {granted} alone; "
        f"set knowledge = '{granted}'"
    )


def _write(
    scene: Scene, parts: list[pl.DataFrame], source: Dataset, clock: Clock, started: datetime
) -> AuditResult:
    protocol, folder = f"{scene.split.protocol}; {PROTOCOL}", scene.folder
    samples = table.gather(parts)
    checks = audit_checks(scene)
    measured = [*audit_findings(samples, scene.subject, protocol), *findings_of(checks)]
    findings = judge_findings(measured, checks)
    rulings = rule(scene.audit.thresholds, findings)
    table.save(table.gather([samples, check_samples(checks)]), folder / "samples.parquet")
    write_json(folder / "findings.json", [asdict(f) for f in findings])
    write_json(folder / "thresholds.json", [asdict(r) for r in rulings])
    write_json(folder / "run.json", audit_facts(scene, source, protocol, clock, started))
    return AuditResult(folder=folder, report=rendered(folder), findings=findings, rulings=rulings)
