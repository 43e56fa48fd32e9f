"""`hardrank attack poison`: forge users, train the victims again, ask the real ones."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import TypeAdapter

from hardrank.audits import samples as table
from hardrank.audits.poisoning import (
    Seen,
    disguise,
    exposed,
    quality_under_attack,
    strangers,
)
from hardrank.audits.samples import samples
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.data.card import card
from hardrank.data.splits import Split
from hardrank.detection.examples import LabelledLog, labelled
from hardrank.experiment.circumstance import Clock, Result, host, versions
from hardrank.experiment.poison_defences import Detectors, defended
from hardrank.experiment.poison_detection import detection_samples, tested
from hardrank.experiment.poison_findings import poison_findings
from hardrank.experiment.poison_logs import Poisoned, example_targets, play_all, targets_of
from hardrank.experiment.poison_profiles import portraits
from hardrank.experiment.poison_spec import PoisonExperiment, family
from hardrank.experiment.poison_victims import Arm, arms_of, seen_by
from hardrank.experiment.reading import dataset_of, split_of
from hardrank.experiment.stages import kept_samples, key_of
from hardrank.files import write_json
from hardrank.metrics.popularity import popularity_groups
from hardrank.threats.court import label
from hardrank.types import Ints

__all__ = ["run_poisoning"]

_log = logging.getLogger("hardrank")


@dataclass(frozen=True, eq=False, kw_only=True)
class _World:
    """What is the same for every seed."""

    experiment: PoisonExperiment
    source: Dataset
    split: Split
    aims: tuple[str, ...]
    run: RunContext

    @cached_property
    def rows(self) -> Ints:
        return np.array([self.source.item_rows[a] for a in self.aims], dtype=np.int64)

    @cached_property
    def eligible(self) -> NDArray[np.bool_]:
        return strangers(self.split.test, self.source, self.rows)

    @cached_property
    def groups(self) -> list[str]:
        return popularity_groups(self.split.train.counts)

    @cached_property
    def arms(self) -> list[Arm]:
        return arms_of(self.experiment.victims(), self.experiment.defences)

    @cached_property
    def families(self) -> dict[str, str]:
        return {label(a): family(a) for a in self.experiment.attacks}


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
        world = _World(
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
        return _write(world, parts, clock, started)


def _disguises(world: _World, logs: Sequence[Poisoned], seed: int) -> pl.DataFrame:
    real = world.split.train.n_users
    return table.gather(
        disguise(p.log, real, seed=seed, trial=p.match.attack, target=p.match.target)
        for p in logs
        if p.match.profiles
    )


def _detectors(world: _World, seed: int) -> Detectors:
    """With example logs where some detector learns, for other targets than those attacked."""
    experiment, run = world.experiment, world.run.seeded(seed)
    specs = [*experiment.detectors, *(d.detector for d in experiment.defences if d.detector)]
    if not any(hasattr(s, "fit") for s in specs):
        return Detectors(examples={}, run=run)
    train = world.split.train
    aims = example_targets(experiment, train, seed)
    examples: dict[str, list[LabelledLog]] = {}
    for attack in experiment.attacks:
        for p in play_all(
            experiment, [attack], train, aims, seed=derive(seed, "examples") % 2**31, run=run,
            folder="examples",
        ):  # fmt: skip
            log = labelled(train, p.match.patch, family(attack), target=p.match.target, seed=seed)
            examples.setdefault(family(attack), []).append(log.hiding(tested(log.dataset, seed)))
    return Detectors(examples=examples, run=run)


def _measured(
    world: _World, arm: Arm, logs: Sequence[Poisoned], detectors: Detectors, seed: int
) -> Iterator[pl.DataFrame]:
    """Samples of one arm of one seed: clean, then each attack, then the adaptive ones."""
    bench = _Bench(world=world, arm=arm, detectors=detectors, seed=seed)
    yield bench.clean_samples()
    for trial in dict.fromkeys(p.match.attack for p in logs):
        mine = [p for p in logs if p.match.attack == trial]
        yield bench.attacked(trial, mine, world.families[trial])
        _log.info("%s seed %d: %s", arm.subject, seed, trial)
    if arm.defence and arm.defence.adaptive and arm.defence.detector:
        detector = detectors.without(arm.defence.detector)
        for attack in arm.defence.adaptive:
            mine = play_all(
                world.experiment, [attack], world.split.train, world.aims, seed=seed,
                run=world.run.seeded(seed), folder=f"adaptive-{arm.defence.name}",
                detector=detector, known=f"+{arm.defence.name}",
            )  # fmt: skip
            yield bench.attacked(f"{label(attack)} (adaptive)", mine, "")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Bench:
    """One arm of one seed."""

    world: _World
    arm: Arm
    detectors: Detectors
    seed: int

    @cached_property
    def before(self) -> Seen:
        """What the arm shows when nobody attacks: its defence works on the clean log, too."""
        return self._seen(self.world.split.train, self.world.rows, "")

    def clean_samples(self) -> pl.DataFrame:
        return self._kept("clean", (), self._clean)

    def attacked(self, trial: str, logs: Sequence[Poisoned], unseen: str) -> pl.DataFrame:
        """Samples of one attack on all targets. unseen: the family that the detector of the
        defence did not meet."""
        patches = tuple(key_of(p.log.fingerprint) for p in logs)
        return self._kept(
            f"attack-{key_of(trial)[:12]}", (trial, unseen, patches),
            lambda: self._attacked(trial, logs, unseen),
        )  # fmt: skip

    def _clean(self) -> pl.DataFrame:
        w, holdout = self.world, self.world.split.test
        names = w.source.users["user_id"].to_list()
        about: dict[str, Any] = {"subject": self.arm.subject, "seed": self.seed, "trial": "clean"}
        users = [names[u] for u in holdout.queries.users.tolist()]
        return table.gather([
            samples({**about, "audit": "utility", "sample": users,
                     "group": [w.groups[t] for t in holdout.targets.tolist()],
                     "rank": self.before.held_out}),
            quality_under_attack([self.before], holdout, names=names, **about),
        ])  # fmt: skip

    def _attacked(self, trial: str, logs: Sequence[Poisoned], unseen: str) -> pl.DataFrame:
        w = self.world
        about: dict[str, Any] = {"subject": self.arm.subject, "seed": self.seed, "trial": trial}
        parts, all_seen = [], []
        for p in logs:
            column = w.aims.index(p.match.target)
            one = w.rows[column : column + 1]
            after = self._seen(p.log, one, unseen)
            all_seen.append(after)
            parts.append(exposed(
                _column(self.before, column), after, w.eligible[:, column : column + 1],
                targets=[p.match.target], goal=w.experiment.threat.goal.kind,
                ks=w.experiment.ks, success_exposure=w.experiment.success,
                groups=[w.groups[int(one[0])]], cost=(p.match.events, p.match.seconds), **about,
            ))  # fmt: skip
        if all_seen:
            names = w.source.users["user_id"].to_list()
            parts.append(quality_under_attack(all_seen, w.split.test, names=names, **about))
        return table.gather(parts)

    def _seen(self, log: Dataset, rows: Ints, unseen: str) -> Seen:
        defence = self.arm.defence
        if defence is not None and defence.detector is not None:
            detector = self.detectors.without(defence.detector, unseen)
            log, _ = defended(defence, detector, self.world.split.train, log)
        return seen_by(self.arm, log, self.world.split, rows, seed=self.seed, run=self.world.run)

    def _kept(self, name: str, parts: tuple[object, ...], make: Any) -> pl.DataFrame:
        w, run = self.world, self.world.run
        assert run.folder is not None
        folder = run.folder / "stages" / self.arm.label / self._name / str(self.seed) / name
        examples = tuple(
            (n, key_of(log.dataset.fingerprint))
            for n, logs in sorted(self.detectors.examples.items()) for log in logs
        ) if self.arm.defence and self.arm.defence.detector else ()  # fmt: skip
        key = key_of(
            parts, self.arm.spec, self.arm.defence, w.split.train.fingerprint,
            w.split.test.fingerprint, w.aims, w.experiment.ks, w.experiment.success, self.seed,
            examples,
        )  # fmt: skip
        return kept_samples(folder, key, make)

    @property
    def _name(self) -> str:
        return self.arm.defence.name if self.arm.defence else "control"


def _column(seen: Seen, column: int) -> Seen:
    part = slice(column, column + 1)
    return Seen(ranks=seen.ranks[:, part], scores=seen.scores[:, part], spread=seen.spread,
                held_out=seen.held_out)  # fmt: skip


def _write(world: _World, parts: Sequence[pl.DataFrame], clock: Clock, started: datetime) -> Result:
    from hardrank.reports.poisoning import poisoning_page

    folder, experiment = world.run.folder, world.experiment
    assert folder is not None
    made = table.gather(parts)
    protocol = _protocol(world)
    findings = poison_findings(experiment, made, protocol)
    table.save(made, folder / "samples.parquet")
    write_json(folder / "findings.json", [asdict(f) for f in findings])
    write_json(folder / "run.json", _facts(world, protocol, clock, started))
    report: Path = poisoning_page(folder)
    return Result(folder=folder, report=report, bundle=None, findings=findings)


def _protocol(world: _World) -> str:
    return (
        f"{world.split.protocol}; each victim is trained anew on each poisoned log; exposure "
        "over real users who never touched the target; full ranking over all unseen items; "
        "ties against the model"
    )


def _facts(world: _World, protocol: str, clock: Clock, started: datetime) -> dict[str, Any]:
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
        "fingerprint": world.source.fingerprint,
        "started": started.isoformat(timespec="seconds"),
    }
