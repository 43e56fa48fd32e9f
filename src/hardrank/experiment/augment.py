"""`hardrank gan augment`: generated events for sparse users, tampered histories for all."""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import TypeAdapter

from hardrank.audits import samples as table
from hardrank.audits.catalogue import PROTOCOL
from hardrank.audits.utility import utility
from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout
from hardrank.data.leaks import Split, check_leaks
from hardrank.errors import DataError
from hardrank.experiment.augment_findings import (
    SPARSE,
    Verdict,
    augment_findings,
    tables,
    verdicts,
)
from hardrank.experiment.augment_logs import (
    ARMS,
    BEHAVIOUR_ARMS,
    RIVALS,
    ROLES,
    Proposers,
    behaviour_attack,
    log_of,
    thinned,
)
from hardrank.experiment.augment_negatives import NEGATIVE_ARMS, false_negatives, with_negatives
from hardrank.experiment.augment_spec import AugmentExperiment
from hardrank.experiment.circumstance import Clock, host, versions
from hardrank.experiment.reading import dataset_of
from hardrank.experiment.stages import kept_samples, key_of
from hardrank.files import write_json, write_text
from hardrank.findings import Finding
from hardrank.generators.augment import PopularProposer
from hardrank.models import BprMf, LightGcn, Model
from hardrank.recommender import ModelSpec, Recommender

__all__ = ["Augmentation", "run_augmentation"]

_log = logging.getLogger("hardrank")


@dataclass(frozen=True, eq=False, kw_only=True)
class Augmentation:
    """What the command leaves behind, in `folder`: `samples.parquet`, `findings.json`,
    `run.json` and `augmentation.md`."""

    folder: Path
    findings: list[Finding]
    verdicts: list[Verdict]


@dataclass(frozen=True, eq=False, kw_only=True)
class _World:
    experiment: AugmentExperiment
    split: Split
    attacked: Holdout
    """Test users whose histories are tampered with."""
    names: tuple[str, ...]
    sparse: tuple[str, ...]
    """(Q,) group of each test query."""
    run: RunContext


def run_augmentation(experiment: AugmentExperiment, run: RunContext) -> Augmentation:
    """Train every model with and without generated events, and measure. Run again with the
    same folder, it resumes: what was measured from the same inputs is not measured again.

    Raises `DataError` for a log without sparse users among those who are tested, and whatever
    source, split, generator and models raise.
    """
    assert run.folder is not None, "a run needs a folder"
    clock = Clock()
    with clock.stage("reading the data"):
        world = _world(experiment, run)
    parts: list[pl.DataFrame] = []
    for seed in experiment.seeds:
        with clock.stage("training generators"):
            proposers = _proposers(world, seed)
        with clock.stage("training models"):
            parts += _measured(world, proposers, seed)
    return _written(world, table.gather(parts), clock)


def _world(experiment: AugmentExperiment, run: RunContext) -> _World:
    assert run.folder is not None
    whole: Any = experiment  # has data, labels and cleaning, as others that are read so
    split = experiment.split.split(dataset_of(whole, run.folder))
    check_leaks(split)
    if experiment.thinned:
        rng = np.random.default_rng(derive(experiment.seeds[0], "thinned"))
        split = thinned(split, experiment.thinned, experiment.fewer_than - 1, rng)
    users = split.test.queries.users
    events = np.diff(split.train.offsets)[users]
    few = (users >= 0) & (events > 0) & (events < experiment.fewer_than)
    if not few.any() and experiment.behaviour is None and experiment.negatives is None:
        raise DataError(
            f"no test user has fewer than {experiment.fewer_than} training events",
            field="thinned", remedy="thin some users (thinned = 0.2) or raise fewer_than",
        )  # fmt: skip
    about = experiment.behaviour
    rng = np.random.default_rng(derive(experiment.seeds[0], "attacked"))
    most = about.users if about else 0
    return _World(
        experiment=experiment, split=split, run=run,
        attacked=split.test.take(np.sort(rng.permutation(len(split.test))[:most])),
        names=tuple(split.train.users["user_id"]),
        sparse=tuple(SPARSE if s else "other" for s in few),
    )  # fmt: skip


def _proposers(world: _World, seed: int) -> Proposers:
    experiment, train = world.experiment, world.split.train

    def fitted(name: str) -> Any:
        run = world.run.seeded(derive(seed, name)).at("generators", f"{name}-{seed}")
        return experiment.generator.fit(train, run)

    return Proposers(
        generator=fitted("generator"),
        random=PopularProposer(train.counts),
        attacker=fitted("attacker") if experiment.behaviour else None,
    )


def _measured(world: _World, proposers: Proposers, seed: int) -> Iterator[pl.DataFrame]:
    experiment, folder = world.experiment, world.run.folder
    assert folder is not None
    for arm in _arms(experiment):
        log = log_of(arm, world.split.train, experiment, proposers, seed)
        for label, written in experiment.labelled().items():
            model = with_negatives(written, arm, experiment)
            if model is None:
                continue
            key = key_of(
                "augment-1", model, log.fingerprint, world.split.train.fingerprint,
                world.split.test.fingerprint, seed, experiment.fewer_than, experiment.behaviour,
                experiment.generator, *((arm, "negatives") if experiment.negatives else ()),
            )  # fmt: skip

            def make(model: Model = model, log: Dataset = log, arm: str = arm,
                     label: str = label) -> pl.DataFrame:  # fmt: skip
                run, subject = world.run.seeded(seed), f"{label}/{arm}"
                if arm != NEGATIVE_ARMS[0]:  # which finds its generator in the folder
                    run = replace(run, folder=None)
                spec: ModelSpec = model
                fitted = spec.fit(log, run, valid=world.split.valid)
                parts = [_asked(world, fitted, subject, proposers, seed)]
                compared = experiment.negatives and arm in ("control", *NEGATIVE_ARMS)
                if compared and isinstance(model, BprMf | LightGcn):
                    made = false_negatives(
                        fitted, model.negatives, log, world.split.test, subject=subject,
                        seed=seed, run=run, names=world.names,
                    )  # fmt: skip
                    parts.append(made)
                return table.gather(parts)

            yield kept_samples(folder / "measured" / f"{label}-{arm}-{seed}", key, make)
            _log.info("%s/%s seed %d", label, arm, seed)


def _arms(experiment: AugmentExperiment) -> tuple[str, ...]:
    behaviour = BEHAVIOUR_ARMS if experiment.behaviour else ()
    return (*ARMS, *behaviour, *(NEGATIVE_ARMS if experiment.negatives else ()))


def _asked(
    world: _World, fitted: Recommender, subject: str, proposers: Proposers, seed: int
) -> pl.DataFrame:
    """Clean quality of all test users, and under attack of those who are attacked."""
    test, names = world.split.test, world.names
    clean = utility(fitted, test, subject=subject, seed=seed, names=names)
    parts = [clean.with_columns(group=pl.Series(world.sparse, dtype=pl.Utf8))]
    about = world.experiment.behaviour
    if about is None or subject.rpartition("/")[2] in ARMS[1:]:
        return table.gather(parts)
    assert proposers.attacker is not None
    before = utility(fitted, world.attacked, subject=subject, seed=seed, names=names)
    parts.append(before.with_columns(audit=pl.lit("behaviour"), events=pl.lit(0, dtype=pl.Int64)))
    trials = {"interest-edits": proposers.attacker, "random-edits": proposers.random}
    for trial, proposer in trials.items():
        rng = np.random.default_rng(derive(seed, "behaviour", trial))  # the same for every arm
        made = behaviour_attack(
            fitted, world.attacked, proposer, rng, about=about, subject=subject, seed=seed,
            trial=trial, names=names,
        )  # fmt: skip
        parts.append(made)
    return table.gather(parts)


def _roles(experiment: AugmentExperiment) -> dict[str, str]:
    """What generated items are to training, of each arm."""
    roles = ROLES | {rival: ROLES[arm] for arm, rival in RIVALS.items()}
    return {arm: roles[arm] for arm in _arms(experiment)}


def _written(world: _World, made: pl.DataFrame, clock: Clock) -> Augmentation:
    folder, experiment = world.run.folder, world.experiment
    assert folder is not None
    protocol = f"{world.split.protocol}; {PROTOCOL}"
    findings = augment_findings(made, protocol)
    answers = verdicts(findings)
    table.save(made, folder / "samples.parquet")
    write_json(folder / "findings.json", [asdict(f) for f in findings])
    config = TypeAdapter(AugmentExperiment).dump_python(experiment, mode="json", exclude_none=True)
    write_json(
        folder / "run.json",
        {
            "name": experiment.name, "config": config, "seeds": list(experiment.seeds),
            "protocol": protocol, "durations": clock.rounded(), "host": host(),
            "versions": versions(), "verdicts": [asdict(v) for v in answers],
            "roles": _roles(experiment),
        },
    )  # fmt: skip
    write_text(folder / "augmentation.md", tables(findings, answers))
    return Augmentation(folder=folder, findings=findings, verdicts=answers)
