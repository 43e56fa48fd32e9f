"""What one configuration comes to on validation events, beside its control."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.audits import samples as table
from hardrank.audits.catalogue import popularity_groups
from hardrank.audits.measure import measure
from hardrank.context import RunContext, derive
from hardrank.data import Dataset, Holdout
from hardrank.data.splits import Split
from hardrank.errors import DataError
from hardrank.experiment.arms import Trained, arms, bases
from hardrank.experiment.attacked import attacked, clean, some
from hardrank.experiment.spec import Experiment, Trial
from hardrank.experiment.tune_cost import training_cost
from hardrank.experiment.tune_floors import floor_limit
from hardrank.experiment.tune_front import Limit
from hardrank.experiment.tune_spec import Tuning
from hardrank.experiment.tune_targets import aimed
from hardrank.files import write_json
from hardrank.findings import Finding

__all__ = ["EVERY_ATTACK", "Bench", "Measured", "samples_into"]

EVERY_ATTACK = "all attacks"
"""Trial of the findings over each target's strongest attack."""
_PROMOTION = ("er_gain", "asr", "queries", "words")
Numbers = Mapping[tuple[str, str, str, str], Finding]
"""(subject, trial, metric, group) -> finding."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measured:
    """One configuration on the bench."""

    clean: float | None
    robust: float | None
    cost: float | None
    limits: tuple[Limit, ...]
    findings: list[Finding]
    samples: pl.DataFrame
    """Of the configuration and of its control."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Bench:
    """The base, trained once for each seed, and validation users to measure on."""

    tuning: Tuning
    experiment: Experiment
    """The victim alone, with the seeds of the tuning."""
    source: Dataset
    split: Split
    groups: tuple[str, ...]
    bases: tuple[Trained, ...]
    trials: tuple[tuple[Trial, ...], ...]
    """For each base: the attacks, on targets that the audit does not attack."""
    run: RunContext

    @classmethod
    def of(cls, tuning: Tuning, source: Dataset, split: Split, run: RunContext) -> "Bench":
        """Trains the base, or takes it up where it is. Raises `DataError` where a group has
        no validation user, or too few items are left to attack."""
        asked = tuning.tune
        seeds = asked.seeds or tuning.experiment.seeds[:1]
        alone = replace(tuning.experiment, compare=(), beside=(), cold=None, curves=(), seeds=seeds)
        groups = popularity_groups(split.train.counts)
        have = {groups[t] for t in split.valid.targets}
        named = {*asked.groups, *(floor.group for floor in asked.floors)} - {"all"}
        for group in sorted(named - have):
            raise DataError(
                f"no validation event is of a {group} item", field="tune.groups",
                remedy=f"leave '{group}' out",
            )  # fmt: skip
        trials = tuple(aimed(tuning, split, seed) for seed in seeds)
        return cls(
            tuning=tuning, experiment=alone, source=source, split=split, groups=tuple(groups),
            bases=tuple(bases(alone, split, run)), trials=trials, run=run,
        )  # fmt: skip

    @property
    def labels(self) -> list[str]:
        """Of the attacks."""
        return [label for trial in self.trials[0] for label in trial.labels()]

    def users(self, seed: int) -> Holdout:
        """The validation users of a seed of training."""
        return some(self.split.valid, self.tuning.tune.users, derive(seed, "tuning"))

    def control(self) -> Measured:
        """Plain training: what every configuration is compared with."""
        return self._measured(replace(self.experiment, harden=None, arms=()))

    def candidate(self, experiment: Experiment) -> Measured:
        """Trains the first hardened arm of `experiment` from the base, then attacks it."""
        first = experiment.hardenings()[:1]
        return self._measured(replace(self.experiment, harden=None, arms=first))

    def _measured(self, experiment: Experiment) -> Measured:
        parts: list[pl.DataFrame] = []
        subjects: list[Trained] = []
        for base, trials in zip(self.bases, self.trials, strict=True):
            # With the tuning's own trials: training on forged texts leaves their targets out.
            made = arms(replace(experiment, trials=trials), base, self.split, self.run)
            for arm in made:
                parts += self._samples(experiment, arm, trials)
            subjects.append(made[-1])
        samples, subject = table.gather(parts), subjects[0].subject
        findings = _findings(samples, subjects[0], self.labels, self.tuning.tune.groups)
        numbers = {(f.subject, f.trial, f.metric, f.group): f for f in findings}
        cost = self._cost(subjects)
        return Measured(
            clean=numbers[subject, "clean", "ndcg@10", "all"].value,
            robust=numbers[subject, EVERY_ATTACK, "worst(er_gain)", "all"].value,
            cost=cost, limits=tuple(self._limits(numbers, samples, subjects, cost)),
            findings=findings, samples=samples,
        )  # fmt: skip

    def _samples(
        self, experiment: Experiment, arm: Trained, trials: Sequence[Trial]
    ) -> list[pl.DataFrame]:
        """The seed of everything drawn here is another one than the audit's."""
        apart, valid = replace(arm, seed=derive(arm.seed, "tuning")), self.users(arm.seed)
        split = replace(self.split, test=valid)
        parts = [clean(apart, valid, self.groups, self.source, self.run)]
        for trial in trials:
            parts.append(attacked(experiment, trial, apart, split, self.groups, self.run))
        return parts

    def _cost(self, subjects: Sequence[Trained]) -> float | None:
        assert self.run.folder is not None
        first = subjects[0]
        return training_cost(self.run.folder, first.label, first.arm, [s.seed for s in subjects])

    def _limits(
        self,
        numbers: Numbers,
        samples: pl.DataFrame,
        subjects: Sequence[Trained],
        cost: float | None,
    ) -> list[Limit]:
        """None for the control itself."""
        tune, first = self.tuning.tune, subjects[0]
        if first.arm == "control":
            return []
        users = [(s, self.users(s.seed)) for s in subjects]
        limits = [self._price(numbers, first, group) for group in tune.groups]
        limits += [floor_limit(floor, samples, users) for floor in tune.floors]
        if tune.cost is not None:
            limits.append(Limit(name="cost", value=cost, most=tune.cost))
        return limits

    def _price(self, numbers: Numbers, subject: Trained, group: str) -> Limit:
        """Where the control's number is 0 there is nothing to lose."""
        lost = numbers[subject.subject, "clean", "price(ndcg@10)", group]
        value = lost.high if self.tuning.tune.sure else lost.value
        if numbers[f"{subject.label}/control", "clean", "ndcg@10", group].value == 0:
            value = 0.0
        name = "price of ndcg@10" + ("" if group == "all" else f", {group}")
        return Limit(name=name, value=value, most=self.tuning.price)


def samples_into(folder: Path, measured: Measured) -> None:
    """Samples and findings of a point, so that every number can be computed again."""
    table.save(measured.samples, folder / "samples.parquet")
    write_json(folder / "findings.json", [asdict(f) for f in measured.findings])


def _findings(
    samples: pl.DataFrame, last: Trained, labels: list[str], groups: Sequence[str]
) -> list[Finding]:
    """Of the control, and of the configuration where `last` is one."""
    control, made = f"{last.label}/control", []
    for subject in dict.fromkeys((control, last.subject)):
        for group in dict.fromkeys(("all", *groups)):
            about: dict[str, Any] = {"subject": subject, "audit": "utility", "group": group}
            made.append(measure(samples, metric="ndcg@10", **about))
            if subject != control:
                versus = {"subject": control}
                made.append(measure(samples, metric="price(ndcg@10)", versus=versus, **about))
        made.append(measure(samples, subject=subject, audit="utility", metric="hr@10"))
        about = {"subject": subject, "audit": "promotion"}
        for trial in labels:
            made += [measure(samples, metric=m, trial=trial, **about) for m in _PROMOTION]
        where = {"trial": labels}
        made.append(
            measure(samples, metric="worst(er_gain)", trial=EVERY_ATTACK, where=where, **about)
        )
    return made
