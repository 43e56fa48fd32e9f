"""One arm of one seed of a poisoning run: what it shows on the clean log and on each other."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.audits import samples as table
from hardrank.audits.poisoning import Seen, exposed, look, quality_under_attack, strangers
from hardrank.audits.samples import samples
from hardrank.audits.utility import utility
from hardrank.context import RunContext
from hardrank.data import Dataset
from hardrank.data.splits import Split
from hardrank.experiment.poison_defences import Detectors, befriended, capped, defended
from hardrank.experiment.poison_logs import Poisoned
from hardrank.experiment.poison_spec import Defence, PoisonExperiment, family
from hardrank.experiment.poison_victims import Arm, arms_of, trained, trained_on
from hardrank.experiment.poison_warm import Warm
from hardrank.experiment.stages import kept_model, kept_samples, key_of
from hardrank.metrics.popularity import popularity_groups
from hardrank.recommender import Recommender
from hardrank.threats.court import label
from hardrank.types import Ints

__all__ = ["Bench", "World"]


@dataclass(frozen=True, eq=False, kw_only=True)
class World:
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """One arm of one seed."""

    world: World
    arm: Arm
    detectors: Detectors
    seed: int

    @cached_property
    def clean(self) -> Recommender:
        """The victim that nobody attacks; its defence works on the clean log, too."""
        return self._trained(self.world.split.train, "")

    @cached_property
    def before(self) -> Seen:
        """What it shows."""
        return look(self.clean, self.world.split.test, self.world.rows)

    def clean_samples(self) -> pl.DataFrame:
        """Audit `utility` of test events, and audit `validation` of validation events."""
        return self._kept("clean", ("with validation",), self._clean)

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
            utility(self.clean, w.split.valid, names=names, **about).with_columns(
                audit=pl.lit("validation")
            ),
            quality_under_attack([self.before], holdout, names=names, **about),
        ])  # fmt: skip

    def _attacked(self, trial: str, logs: Sequence[Poisoned], unseen: str) -> pl.DataFrame:
        w = self.world
        about: dict[str, Any] = {"subject": self.arm.subject, "seed": self.seed, "trial": trial}
        parts, all_seen = [], []
        for p in logs:
            column = w.aims.index(p.match.target)
            one = w.rows[column : column + 1]
            if p.match.error:
                parts.append(self._refused(p, trial))
                continue
            after = look(self._trained(p.log, unseen), w.split.test, one)
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

    def _refused(self, p: Poisoned, trial: str) -> pl.DataFrame:
        """Of an attack that could not be mounted: that it was tried, and why it was not."""
        return table.gather(
            samples({"subject": self.arm.subject, "seed": self.seed, "audit": "promotion",
                     "trial": trial, "sample": [p.match.target], "k": k, "site": "profiles",
                     "goal": self.world.experiment.threat.goal.kind, "error": p.match.error})
            for k in self.world.experiment.ks
        )  # fmt: skip

    def _trained(self, log: Dataset, unseen: str) -> Recommender:
        w, read = self.world, self._read(log, unseen)
        if self._warm is None:
            return trained(self.arm, read, w.split, seed=self.seed, run=w.run)
        return trained_on(
            self.arm, self._first, self._before, read, w.split, epochs=self._warm.epochs,
            seed=self.seed, run=w.run,
        )  # fmt: skip

    def _read(self, log: Dataset, unseen: str) -> Dataset:
        """What training reads of a log: flagged users gone, rushes cut, friendly users come."""
        defence = self.arm.defence
        if defence is None:
            return log
        if defence.detector is not None:
            detector = self.detectors.remembered(defence.detector, unseen)
            log, _ = defended(defence, detector, self.world.split.train, log)
        log = capped(defence, self.world.split.train, log, seed=self.seed)
        return befriended(defence, log, seed=self.seed)

    @cached_property
    def _before(self) -> Dataset:
        """The clean log, as the arm reads it."""
        return self._read(self.world.split.train, "")

    @cached_property
    def _first(self) -> Recommender:
        """What a victim that goes on goes on from."""
        w, log, spec = self.world, self._before, self.arm.spec
        key = key_of(
            spec, self._defence, log.fingerprint, w.split.valid.fingerprint, self.seed
        )  # fmt: skip
        return kept_model(
            self._folder / "begun", key, spec, log.items, w.run,
            lambda: trained(self.arm, log, w.split, seed=self.seed, run=w.run),
        )  # fmt: skip

    @property
    def _warm(self) -> Warm | None:
        warm = self.world.experiment.warm
        return warm if warm is not None and warm.takes(self.arm.spec) else None

    @property
    def _folder(self) -> Path:
        run = self.world.run
        assert run.folder is not None
        return run.folder / "stages" / self.arm.label / self._name / str(self.seed)

    def _kept(self, name: str, parts: tuple[object, ...], make: Any) -> pl.DataFrame:
        w = self.world
        examples = tuple(
            (n, key_of(log.dataset.fingerprint))
            for n, logs in sorted(self.detectors.examples.items()) for log in logs
        ) if self.arm.defence and self.arm.defence.detector else ()  # fmt: skip
        key = key_of(
            parts, self.arm.spec, self._defence, w.split.train.fingerprint,
            w.split.test.fingerprint, w.aims, w.experiment.ks, w.experiment.success, self.seed,
            examples, *([self._warm.epochs] if self._warm else []),
        )  # fmt: skip
        return kept_samples(self._folder / name, key, make)

    @property
    def _defence(self) -> Defence | None:
        """What training depends on: which adaptive attacks are tried is another matter."""
        return replace(self.arm.defence, adaptive=()) if self.arm.defence else None

    @property
    def _name(self) -> str:
        return self.arm.defence.name if self.arm.defence else "control"


def _column(seen: Seen, column: int) -> Seen:
    part = slice(column, column + 1)
    return Seen(ranks=seen.ranks[:, part], scores=seen.scores[:, part], spread=seen.spread,
                held_out=seen.held_out)  # fmt: skip
