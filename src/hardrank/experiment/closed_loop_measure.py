"""What a round of a closed loop trains and measures, on validation events."""

from collections.abc import Iterator, Sequence
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
from hardrank.experiment.arm_spec import Arm
from hardrank.experiment.arms import Trained, arms, bases
from hardrank.experiment.attacked import attacked, clean, some
from hardrank.experiment.closed_loop_plan import Number
from hardrank.experiment.closed_loop_spec import ClosedLoop
from hardrank.experiment.closed_loop_targets import FINAL, round_trials
from hardrank.experiment.spec import Experiment, Trial
from hardrank.experiment.tune_cost import training_cost
from hardrank.experiment.tune_front import Limit
from hardrank.files import write_json
from hardrank.findings import Finding

__all__ = ["LoopBench", "Measures", "measures_into"]

Models = Sequence[Trained]
"""One for each seed of training."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Measures:
    """Findings of some models with the samples they came from."""

    findings: list[Finding]
    samples: pl.DataFrame

    def each(self, metric: str, subject: str) -> dict[str, Number]:
        """Attack's label -> the number with its interval, by name as a read log has them."""
        return {
            f.trial: (f.value, f.low, f.high)
            for f in sorted(self.findings, key=lambda f: f.trial)
            if f.metric == metric and f.subject == subject and f.audit == "promotion"
        }

    def quality(self, metric: str, subject: str) -> dict[str, Number]:
        """Group -> the number with its interval."""
        return {
            f.group: (f.value, f.low, f.high)
            for f in self.findings
            if f.metric == metric and f.subject == subject and f.audit == "utility"
        }


@dataclass(frozen=True, eq=False, kw_only=True)
class LoopBench:
    """The base, trained once for each seed, and validation users to measure on."""

    closed: ClosedLoop
    experiment: Experiment
    """The victim alone, with the seeds of the loop."""
    source: Dataset
    split: Split
    groups: tuple[str, ...]
    bases: tuple[Trained, ...]
    run: RunContext

    @classmethod
    def of(cls, closed: ClosedLoop, source: Dataset, split: Split, run: RunContext) -> "LoopBench":
        """Trains the base, or takes it up where it is. Raises `DataError` where a group has
        no validation user."""
        alone = replace(
            closed.experiment, compare=(), beside=(), cold=None, curves=(), harden=None, arms=(),
            seeds=closed.seeds,
        )  # fmt: skip
        groups = popularity_groups(split.train.counts)
        have = {groups[t] for t in split.valid.targets}
        for group in sorted(set(closed.loop.groups) - {"all"} - have):
            raise DataError(
                f"no validation event is of a {group} item", field="loop.groups",
                remedy=f"leave '{group}' out",
            )  # fmt: skip
        return cls(
            closed=closed, experiment=alone, source=source, split=split, groups=tuple(groups),
            bases=tuple(bases(alone, split, run)), run=run,
        )  # fmt: skip

    def users(self, seed: int) -> Holdout:
        """The validation users of a seed of training: the same in every round."""
        return some(self.split.valid, self.closed.loop.users, derive(seed, "loop"))

    def trials(self, seed: int, number: int) -> tuple[Trial, ...]:
        return round_trials(self.closed, self.split, seed, number)

    def targets(self, number: int) -> tuple[tuple[str, ...], ...]:
        """Ids for each seed."""
        return tuple(
            tuple(dict.fromkeys(i for t in self.trials(seed, number) for i in t.threat.goal.items))  # type: ignore[union-attr]
            for seed in self.closed.seeds
        )

    def models(self, arm: Arm | None, number: int) -> list[Trained]:
        """The control, or an arm as round `number` trained it. Its training texts are of no
        item that this round or the confirmation attacks."""
        made = []
        for base in self.bases:
            final = [
                replace(trial, name=f"{trial.name} confirmed".strip())
                for trial in self.trials(base.seed, FINAL)
            ]
            asked = replace(
                self.experiment, arms=() if arm is None else (arm,),
                trials=(*self.trials(base.seed, number), *final),
            )  # fmt: skip
            made.append(arms(asked, base, self.split, self.run)[-1])
        return made

    def attack(self, control: Models, subjects: Sequence[Models], number: int) -> Measures:
        """Clean quality of the control and of each subject, and what the attacks of round
        `number` do to each subject: fresh targets and draws, the same for all."""
        others = [models for models in subjects if models[0].arm != control[0].arm]
        parts = [self._clean(model) for models in (control, *others) for model in models]
        parts += [p for models in subjects for m in models for p in self._attacked(m, number)]
        samples = table.gather(parts)
        findings = [f for models in (control, *others) for f in self._quality(samples, models[0])]
        findings += [f for models in subjects for f in self._gains(samples, models[0])]
        return Measures(findings=findings, samples=samples)

    def limits(self, measures: Measures, model: Trained) -> tuple[Limit, ...]:
        """The price in each group. Where the control's number is 0 there is nothing to lose."""
        found = []
        control = measures.quality("ndcg@10", f"{model.label}/control")
        lost = measures.quality("price(ndcg@10)", model.subject)
        for group in dict.fromkeys(self.closed.loop.groups):
            value = 0.0 if control[group][0] == 0 else lost[group][0]
            name = "price of ndcg@10" + ("" if group == "all" else f", {group}")
            found.append(Limit(name=name, value=value, most=self.closed.price))
        return tuple(found)

    def cost(self, models: Models) -> float | None:
        assert self.run.folder is not None
        first = models[0]
        return training_cost(self.run.folder, first.label, first.arm, [m.seed for m in models])

    def _clean(self, model: Trained) -> pl.DataFrame:
        """The seed of everything drawn here is another one than the audit's."""
        apart = replace(model, seed=derive(model.seed, "loop"))
        return clean(apart, self.users(model.seed), self.groups, self.source, self.run)

    def _attacked(self, model: Trained, number: int) -> list[pl.DataFrame]:
        drawn = replace(model, seed=derive(model.seed, "loop", number))
        split = replace(self.split, test=self.users(model.seed))
        return [
            attacked(self.experiment, trial, drawn, split, self.groups, self.run)
            for trial in self.trials(model.seed, number)
        ]

    def _quality(self, samples: pl.DataFrame, model: Trained) -> Iterator[Finding]:
        versus = {"subject": f"{model.label}/control"}
        for group in dict.fromkeys(("all", *self.closed.loop.groups)):
            about: dict[str, Any] = {"subject": model.subject, "audit": "utility", "group": group}
            yield measure(samples, metric="ndcg@10", **about)
            if model.arm != "control":
                yield measure(samples, metric="price(ndcg@10)", versus=versus, **about)

    def _gains(self, samples: pl.DataFrame, model: Trained) -> Iterator[Finding]:
        about: dict[str, Any] = {"subject": model.subject, "audit": "promotion"}
        for trial in self.closed.attacks:
            for metric in ("er_gain", "asr"):
                yield measure(samples, metric=metric, trial=trial, **about)


def measures_into(folder: Path, measures: Measures) -> None:
    """Samples and findings, so that every number can be computed again."""
    table.save(measures.samples, folder / "samples.parquet")
    write_json(folder / "findings.json", [asdict(f) for f in measures.findings])
