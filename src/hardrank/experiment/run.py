"""`hardrank run`: the whole job from a file of data to a report and a bundle."""

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from hardrank.audits import samples as table
from hardrank.audits.catalogue import popularity_groups
from hardrank.audits.checks import check_samples, judge_findings
from hardrank.audits.checks import findings_of as gate_findings
from hardrank.bundle import save_bundle
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.card import card
from hardrank.data.splits import Split
from hardrank.experiment.arms import Trained, arms, bases, check_arms, hidden
from hardrank.experiment.attacked import attacked, clean, curves
from hardrank.experiment.circumstance import Clock, Result, host, versions
from hardrank.experiment.classify import run_classifier
from hardrank.experiment.classify_spec import ClassifierExperiment
from hardrank.experiment.covered import coverage
from hardrank.experiment.findings import findings_of
from hardrank.experiment.forge import pool_of
from hardrank.experiment.gates import checks
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.experiment.roles import is_hardened
from hardrank.experiment.spec import Experiment
from hardrank.files import write_json
from hardrank.reports import render

__all__ = ["Result", "run_experiment"]

_log = logging.getLogger("hardrank")


def run_experiment(experiment: Experiment | ClassifierExperiment, run: RunContext) -> Result:
    """Everything into `run.folder`. Run again, it resumes: a finished stage whose inputs are
    the same is not done again, an interrupted training goes on where it stood.

    Raises `HardrankError` for anything the user can mend.
    """
    assert run.folder is not None, "a run needs a folder"
    if isinstance(experiment, ClassifierExperiment):
        return run_classifier(experiment, run)
    check_arms(experiment)
    folder, clock, started = run.folder, Clock(), datetime.now(UTC)
    with clock.stage("reading the data"):
        source = dataset_of(experiment, folder)
        split = split_of(experiment, source)
    groups = popularity_groups(split.train.counts)
    _log.info("%s: %s; %s", source.name, _size(source), split.protocol)

    parts: list[pl.DataFrame] = []
    victims: list[Trained] = []
    beside: list[Trained] = []
    with clock.stage("training and ranking"):
        for base in bases(experiment, split, run):
            parts.append(clean(base, split.test, groups, source, run))
            _say(base, parts[-1])
            if base.label == experiment.model.kind:
                victims.append(base)
            if base.label in experiment.beside:
                beside.append(base)
    with clock.stage("ranking hidden items"):
        for model, cut in hidden(experiment, source, run):
            cold = np.isin(np.arange(source.n_items), cut.cold)
            names = np.where(cold, "cold", "warm").tolist()
            parts.append(clean(model, cut.test, names, source, run))
            _say(model, parts[-1])
    subjects: list[Trained] = []
    with clock.stage("hardening"):
        for base in victims:
            for arm in arms(experiment, base, split, run):
                parts.append(clean(arm, split.test, groups, source, run))
                _say(arm, parts[-1])
                subjects.append(arm)
    with clock.stage("text attacks"):
        for trial in experiment.trials:
            for arm in [*subjects, *beside]:
                parts.append(attacked(experiment, trial, arm, split, groups, run))
                _log.info("%s seed %d attacked", arm.subject, arm.seed)
    with clock.stage("robustness curves"):
        for curve in experiment.curves:
            for arm in subjects:
                parts.append(curves(experiment, curve, arm, split, groups, run))
    with clock.stage("findings and report"):
        return _write(experiment, parts, split, source, subjects, clock, started, run)


def _pools(subjects: list[Trained], split: Split, folder: Path) -> dict[tuple[str, int], set[str]]:
    found = {
        (s.subject, s.seed): pool_of(
            folder / "models" / s.label / f"{s.arm}-{s.seed}" / "training", split.train
        )
        for s in subjects
    }
    return {key: pool for key, pool in found.items() if pool is not None}


def _served(subjects: list[Trained], experiment: Experiment) -> Trained:
    """The first hardened arm, of the first seed; the control where nothing is hardened."""
    first = [s for s in subjects if s.seed == experiment.seeds[0]]
    return next((s for s in first if is_hardened(s.arm)), first[-1])


def _control(subjects: list[Trained], experiment: Experiment) -> Trained | None:
    """What the served arm is compared with, of the same seed; None where nothing is hardened."""
    served = _served(subjects, experiment)
    if not is_hardened(served.arm):
        return None
    return next(
        (s for s in subjects if (s.seed, s.label, s.arm) == (served.seed, served.label, "control")),
        None,
    )


def _write(
    experiment: Experiment,
    parts: list[pl.DataFrame],
    split: Split,
    source: Dataset,
    subjects: list[Trained],
    clock: Clock,
    started: datetime,
    run: RunContext,
) -> Result:
    folder = run.folder
    assert folder is not None
    protocol = f"{split.protocol}; full ranking over all unseen items; ties against the model"
    samples = table.gather(parts)
    findings = findings_of(experiment, samples, protocol)
    asked = checks(
        experiment, samples, findings, subjects, split, run, pools=_pools(subjects, split, folder)
    )
    covered, matrix = coverage(experiment, samples, asked)
    samples = table.gather([samples, check_samples(asked), covered])
    findings = judge_findings([*findings, *matrix, *gate_findings(asked)], asked)
    table.save(samples, folder / "samples.parquet")
    write_json(folder / "findings.json", [asdict(f) for f in findings])
    write_json(folder / "run.json", _facts(experiment, source, protocol, clock, started))
    report = render(folder)
    bundle = folder / "bundle"
    served, other = _served(subjects, experiment), _control(subjects, experiment)
    data = split.source or source
    save_bundle(
        bundle, served.spec, served.model, data, _about(experiment, served, source),
        report=report.read_text("utf-8"),
    )  # fmt: skip
    if other is not None:
        about = _about(experiment, other, source)
        save_bundle(folder / "control", other.spec, other.model, data, about)
    return Result(folder=folder, report=report, bundle=bundle, findings=findings)


def _facts(
    experiment: Experiment, source: Dataset, protocol: str, clock: Clock, started: datetime
) -> dict[str, Any]:
    """What the report says beside the numbers; see `hardrank.reports.evidence.RunFacts`."""
    return {
        "name": experiment.name,
        "model": experiment.model.kind,
        "synthetic": source.synthetic,
        "data_card": card(source),
        "config": TypeAdapter(Experiment).dump_python(experiment, mode="json", exclude_none=True),
        "versions": versions(),
        "seeds": list(experiment.seeds),
        "protocol": protocol,
        "durations": clock.rounded(),
        "host": host(),
        "threats": [trial.threat.describe() for trial in experiment.trials],
        "fingerprint": source.fingerprint,
        "started": started.isoformat(timespec="seconds"),
    }


def _about(experiment: Experiment, served: Trained, source: Dataset) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "arm": served.arm,
        "seed": served.seed,
        "synthetic": source.synthetic,
        "dataset": source.name,
        "fingerprint": source.fingerprint,
        "versions": versions(),
    }


def _size(data: Dataset) -> str:
    banner = " (synthetic)" if data.synthetic else ""
    return f"{data.n_users} users, {data.n_items} items, {data.n_events} events{banner}"


def _say(trained: Trained, samples: pl.DataFrame) -> None:
    ranks = samples["rank"].to_numpy()
    hits, gains = ranks <= 10, np.where(ranks <= 10, 1 / np.log2(ranks + 1), 0)
    _log.info(
        "%s seed %d: HR@10 %.4f, NDCG@10 %.4f", trained.subject, trained.seed, hits.mean(),
        gains.mean(),
    )  # fmt: skip
