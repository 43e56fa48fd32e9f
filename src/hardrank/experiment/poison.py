"""`hardrank attack poison`: forge users, train the victims again, ask the real ones."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from hardrank.audits import samples as table
from hardrank.audits.checks import check_samples, judge_findings
from hardrank.audits.checks import findings_of as gate_findings
from hardrank.audits.poisoning import disguise
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.card import card
from hardrank.detection.examples import LabelledLog, labelled
from hardrank.experiment.circumstance import Clock, Result, host, versions
from hardrank.experiment.poison_bench import Bench, World
from hardrank.experiment.poison_checks import poison_checks
from hardrank.experiment.poison_covered import poison_coverage
from hardrank.experiment.poison_defences import Detectors
from hardrank.experiment.poison_detection import curves, detection_samples, met, tested
from hardrank.experiment.poison_findings import poison_findings
from hardrank.experiment.poison_logs import Poisoned, example_targets, play_all, targets_of
from hardrank.experiment.poison_profiles import portraits
from hardrank.experiment.poison_spec import PoisonExperiment, family
from hardrank.experiment.poison_variants import variants_of
from hardrank.experiment.poison_victims import Arm
from hardrank.experiment.poison_warm import said
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.experiment.stages import key_of
from hardrank.files import write_json
from hardrank.reports.words import listed
from hardrank.threats.court import label
from hardrank.types import Floats

__all__ = ["run_poisoning"]

_log = logging.getLogger("hardrank")


def run_poisoning(experiment: PoisonExperiment, run: RunContext) -> Result:
    """Everything into `run.folder`. Run again, it resumes: a patch that was written and a cell
    that was measured from the same inputs are not made again.

    Raises `HardrankError` for anything the user can mend.
    """
    assert run.folder is not None, "a run needs a folder"
    clock, started = Clock(), datetime.now(UTC)
    with clock.stage("reading the data"):
        source = dataset_of(experiment, run.folder)
        split = split_of(experiment, source)
        world = World(
            experiment=experiment, source=source, split=split, run=run,
            aims=targets_of(experiment, split.train),
        )  # fmt: skip
    _log.info("%s; targets: %s", split.protocol, ", ".join(world.aims))
    parts: list[pl.DataFrame] = []
    every: list[Poisoned] = []
    for seed in experiment.seeds:
        with clock.stage("writing fake users"):
            logs = play_all(
                experiment, experiment.attacks, split.train, world.aims, seed=seed,
                run=run.seeded(seed), folder="attacks",
            )  # fmt: skip
            parts.append(_disguises(world, logs, seed))
            every += logs
        with clock.stage("detecting"):
            detectors = _detectors(world, seed)
            parts.append(detection_samples(experiment, logs, detectors, world.families, seed, run))
        with clock.stage("training victims"):
            for arm in world.arms:
                parts += _measured(world, arm, logs, detectors, seed)
    with clock.stage("findings and report"):
        write_json(run.folder / "profiles.json", portraits(every, split.train.n_users))
        write_json(run.folder / "roc.json", curves(experiment, run.folder))
        return _write(world, parts, clock, started)


def _disguises(world: World, logs: Sequence[Poisoned], seed: int) -> pl.DataFrame:
    real = world.split.train.n_users
    return table.gather(
        disguise(p.log, real, seed=seed, trial=p.match.attack, target=p.match.target)
        for p in logs
        if p.match.profiles
    )


def _detectors(world: World, seed: int) -> Detectors:
    """With example logs where some detector learns, for other targets than those attacked."""
    experiment, run = world.experiment, world.run.seeded(seed)
    specs = [*experiment.detectors, *(d.detector for d in experiment.defences if d.detector)]
    train = world.split.train
    known = ~tested(train, seed)[train.events["user"].to_numpy()]
    trusted = train.where(pl.Series(known))
    if not any(hasattr(s, "fit") for s in specs):
        return Detectors(examples={}, trusted=trusted, run=run)
    aims = example_targets(experiment, train, seed)
    examples: dict[str, list[LabelledLog]] = {}
    for attack in experiment.attacks:
        for p in play_all(
            experiment, [attack], train, aims, seed=derive(seed, "examples") % 2**31, run=run,
            folder="examples",
        ):  # fmt: skip
            if not p.match.profiles:
                continue
            for patch in (p.match.patch, *variants_of(p, train, experiment.variants, seed)):
                log = labelled(train, patch, family(attack), target=p.match.target, seed=seed)
                log = log.hiding(tested(log.dataset, seed))
                examples.setdefault(family(attack), []).append(log)
    return Detectors(examples=examples, trusted=trusted, run=run)


def _measured(
    world: World, arm: Arm, logs: Sequence[Poisoned], detectors: Detectors, seed: int
) -> Iterator[pl.DataFrame]:
    """Samples of one arm of one seed: clean, then each attack, then the adaptive ones."""
    bench = Bench(world=world, arm=arm, detectors=detectors, seed=seed)
    yield bench.clean_samples()
    for trial in dict.fromkeys(p.match.attack for p in logs):
        mine = [p for p in logs if p.match.attack == trial]
        yield bench.attacked(trial, mine, world.families[trial])
        _log.info("%s seed %d: %s", arm.subject, seed, trial)
    for attack in arm.defence.adaptive if arm.defence else ():
        mine = _adapted(world, arm, attack, detectors, seed)
        yield bench.attacked(f"{label(attack)} (adaptive)", mine, "")


def _adapted(
    world: World, arm: Arm, attack: Any, detectors: Detectors, seed: int
) -> list[Poisoned]:
    """What an attacker writes who has the arm's detector, if it has one."""
    assert arm.defence is not None
    spec = arm.defence.detector

    def known(dataset: Dataset) -> Floats:
        """The very detector of the arm, fitted only if an attack asks it."""
        return detectors.without(spec)(dataset)

    learned = met(detectors) if hasattr(spec, "fit") else ""
    return play_all(
        world.experiment, [attack], world.split.train, world.aims, seed=seed,
        run=world.run.seeded(seed), folder=f"adaptive-{arm.defence.name}",
        detector=known if spec else None, known=f"+{key_of(spec, learned)[:16]}" if spec else "",
    )  # fmt: skip


def _write(world: World, parts: Sequence[pl.DataFrame], clock: Clock, started: datetime) -> Result:
    from hardrank.reports.poisoning import poisoning_page

    folder, experiment = world.run.folder, world.experiment
    assert folder is not None
    made = table.gather(parts)
    protocol = _protocol(world)
    covered, cells, stated = poison_coverage(experiment, made)
    asked = [*poison_checks(experiment, made, world.split), *stated]
    made = table.gather([made, check_samples(asked), covered])
    found = [*poison_findings(experiment, made, protocol), *cells]
    findings = [replace(f, protocol=_protocol(world, f.subject)) for f in found]
    findings = judge_findings([*findings, *gate_findings(asked)], asked)
    table.save(made, folder / "samples.parquet")
    write_json(folder / "findings.json", [asdict(f) for f in findings])
    write_json(folder / "run.json", _facts(world, protocol, clock, started))
    report: Path = poisoning_page(folder)
    return Result(folder=folder, report=report, bundle=None, findings=findings)


def _protocol(world: World, subject: str = "") -> str:
    """Of one victim's numbers, or of all."""
    return (
        f"{world.split.protocol}; {_training(world, subject.partition('/')[0])}; exposure over "
        "real users who never touched the target; full ranking over all unseen items; ties "
        "against the model"
    )


def _training(world: World, label: str) -> str:
    """How that victim is trained; how each is, without a victim of that label."""
    victims = world.experiment.victims()
    ways: dict[str, list[str]] = {}
    for name, model in victims.items():
        ways.setdefault(said(world.experiment.warm, model), []).append(name)
    if len(ways) == 1:
        return f"each victim is {next(iter(ways))}"
    if label in victims:
        return f"{label} is {said(world.experiment.warm, victims[label])}"
    return "; ".join(f"{listed(names)} {_is(names)} {way}" for way, names in ways.items())


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _facts(world: World, protocol: str, clock: Clock, started: datetime) -> dict[str, Any]:
    experiment = world.experiment
    adapter = TypeAdapter(PoisonExperiment)
    return {
        "name": experiment.name,
        "model": ", ".join(experiment.victims()),
        "synthetic": world.source.synthetic,
        "data_card": card(world.source),
        "config": adapter.dump_python(experiment, mode="json", exclude_none=True),
        "versions": versions(),
        "seeds": list(experiment.seeds),
        "protocol": protocol,
        "durations": clock.rounded(),
        "host": host(),
        "threats": [experiment.threat.describe()],
        "targets": list(world.aims),
        "real_users": int((np.diff(world.split.train.offsets) > 0).sum()),
        "fingerprint": world.source.fingerprint,
        "started": started.isoformat(timespec="seconds"),
    }
