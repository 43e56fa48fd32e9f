"""Eight ways to look robust, each planted in a real model and caught by name (S1-10, S1-11).

The door is the one that a run goes through: `experiment.gates.checks` over attacks and curves
that were really mounted on the planted model.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.attacks import Copycat, GreedyWords
from hardrank.audits import samples as table
from hardrank.audits.catalogue import popularity_groups
from hardrank.audits.checks import Check, judge_findings
from hardrank.audits.leaks import targets_not_in_training_pool
from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.data.sources import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.experiment.arms import Trained
from hardrank.experiment.attacked import attacked, chosen_targets, clean, curves
from hardrank.experiment.findings import findings_of
from hardrank.experiment.gates import checks
from hardrank.experiment.spec import Curve, Experiment, Gates, Trial
from hardrank.findings import Finding
from hardrank.hardening import Adversarial
from hardrank.models import TextSequence
from hardrank.perturbations import FGM, PGD, Gaussian
from hardrank.recommender import LossSurface, Recommender, best, mask_seen
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.training import Plain, Training
from hardrank.types import Ranks, Scores

pytestmark = pytest.mark.slow

TRAINING = Training(epochs=12, batch_size=64, patience=0, precision="float32")
THREAT = ThreatModel(
    goal=Promote(items="unpopular:8"), knowledge="scores",
    budget=Budget(words=3, queries=40, whole_text=True),
)  # fmt: skip
INNERS = (PGD(steps=20), FGM(), Gaussian())
RADII = (0.05, 0.1, 0.3, 0.6, 1.0)
EXPERIMENT = Experiment(
    name="cheats",
    data=Marketplace(users=120, items=60, median_events=6),
    model=TextSequence(size=16, length=10, whiten=16, max_tokens=16, training=TRAINING),
    harden=Adversarial(inner=FGM(), radius=0.05, weight=0.5),
    finetune=replace(TRAINING, epochs=2, keep="last"),
    trials=(Trial(threat=THREAT, attacks=(Copycat(candidates=10), GreedyWords())),),
    curves=(
        Curve(inners=INNERS, radii=RADII, unbounded=30.0),
        Curve(goal="degrade", site="history-vectors", inners=INNERS, radii=RADII, unbounded=None),
    ),
    gates=Gates(users=40, panel=24, price=0.9, success=0.05),
)


class Wrapped:
    """A real model in a coat: what is not named here is the model's own."""

    def __init__(self, model: Recommender) -> None:
        self.model: Any = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def top(self, queries: Queries, k: int) -> Ranks:
        slate = Slate(items=np.arange(self.items.height))
        return best(mask_seen(np.array(self.score(queries, slate)), queries), k)

    def score(self, queries: Queries, slate: Slate) -> Scores:
        return np.asarray(self.model.score(queries, slate))

    def moved(self, like: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        """What the model makes of a perturbation."""
        return delta

    def surface(self, site: Any, goal: Any, queries: Any, items: Any, texts: Any = (), *,
                loss: Any = None) -> LossSurface:  # fmt: skip
        plain = self.model.surface(site, goal, queries, items, texts, loss=loss)
        return replace(plain, loss=lambda delta: plain.loss(self.moved(plain.like, delta)))

    def perturbed_scores(self, site: Any, goal: Any, queries: Any, items: Any, delta: Any) -> Any:
        like = self.model.surface(site, goal, queries, items).like
        moved = self.moved(like, delta).detach()
        return self.model.perturbed_scores(site, goal, queries, items, moved)


class Constant(Wrapped):
    def score(self, queries: Queries, slate: Slate) -> Scores:
        return np.ones((len(queries), len(slate)), dtype=np.float32)

    def surface(self, *args: Any, **more: Any) -> LossSurface:
        return replace(self.model.surface(*args, **more), loss=lambda d: 0 * d.flatten(1).sum(1))

    def perturbed_scores(self, site: Any, goal: Any, queries: Any, items: Any, delta: Any) -> Any:
        return np.ones((len(queries), self.items.height if goal == "degrade" else len(items)))


class Quantised(Wrapped):
    """Vectors pass through a staircase: no gradient, and small noise changes nothing."""

    def moved(self, like: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        step = 0.5 * float(like.abs().mean())
        return torch.round((like + delta) / step) * step - torch.round(like / step) * step


class Random(Wrapped):
    """Fresh noise in every answer."""

    def __init__(self, model: Recommender) -> None:
        super().__init__(model)
        self.noise = np.random.default_rng(0)
        self.generator = torch.Generator().manual_seed(0)

    def score(self, queries: Queries, slate: Slate) -> Scores:
        plain = super().score(queries, slate)
        return (plain + self.noise.normal(0, 0.5, plain.shape)).astype(np.float32)

    def moved(self, like: torch.Tensor, delta: torch.Tensor) -> torch.Tensor:
        size = 0.2 * float(like.abs().mean())
        return delta + size * torch.randn(delta.shape, generator=self.generator)


@dataclass(frozen=True, eq=False)
class Arms:
    split: Split
    control: Recommender
    hardened: Recommender
    kept: dict[str, pl.DataFrame] = field(default_factory=dict)
    """What was measured on the control, which is the same for every test."""


@pytest.fixture(scope="module")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arms]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARDRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        split, spec = LeaveOneOut().split(EXPERIMENT.data.load()), EXPERIMENT.model
        run = RunContext()
        base = spec.fit(split.train, run, valid=split.valid)
        again = replace(spec, training=EXPERIMENT.finetune)  # type: ignore[type-var]
        control, hardened = (
            again.fit(split.train, run, valid=split.valid, objective=objective, start=base)
            for objective in (Plain(), EXPERIMENT.harden)
        )
        yield Arms(split, control, hardened)


def audited(
    arms: Arms,
    folder: Path,
    *,
    hardened: Any = None,
    experiment: Experiment = EXPERIMENT,
    split: Split | None = None,
    pools: Any = None,
) -> tuple[list[Check], list[Finding]]:
    """Everything that a run does after training, on the control and a planted hardened arm."""
    run, cut = RunContext(folder=folder), arms.split
    groups = popularity_groups(cut.train.counts)
    subjects = []
    for arm, model in (("control", arms.control), ("hardened", hardened or arms.hardened)):
        log = folder / f"models/text-sequence/{arm}-0/training/a/training.json"
        log.parent.mkdir(parents=True)
        log.write_text(json.dumps({"steps": 9}))
        subjects.append(
            Trained(label="text-sequence", arm=arm, seed=0, spec=EXPERIMENT.model, model=model,
                    data="d")
        )  # fmt: skip
    parts = [clean(s, cut.test, groups, cut.train, run) for s in subjects]
    for what, stage in [*((t, attacked) for t in experiment.trials),
                        *((c, curves) for c in experiment.curves)]:  # fmt: skip
        for subject in subjects:
            key = f"{subject.arm} {what!r}" if subject.model is arms.control else ""
            part = arms.kept.get(key)
            if part is None:
                part = stage(experiment, what, subject, cut, groups, run)  # type: ignore[arg-type]
            parts.append(arms.kept.setdefault(key, part) if key else part)
    samples = table.gather(parts)
    findings = findings_of(experiment, samples, "protocol")
    asked = checks(experiment, samples, findings, subjects, split or cut, run, pools=pools)
    return asked, judge_findings(findings, asked)


def caught(asked: list[Check], arm: str = "hardened") -> set[str]:
    """Names of the checks that failed."""
    return {c.name for c in asked if c.passed is False and c.subject.endswith(f"/{arm}")}


def doubted(findings: list[Finding], audit: str, trial: str = "") -> list[Finding]:
    return [
        f for f in findings
        if f.subject == "text-sequence/hardened" and f.audit == audit and trial in f.trial
    ]  # fmt: skip


def test_the_honest_model_raises_none_of_them(arms: Arms, tmp_path: Path) -> None:
    asked, findings = audited(
        arms, tmp_path, pools={("text-sequence/hardened", 0): {"someone-else"}}
    )
    assert {(c.subject, c.name, c.reason) for c in asked if c.passed is False} == set()
    assert all(f.reliable for f in findings)
    passed = {c.name for c in asked if c.passed and c.subject.endswith("/hardened")}
    assert passed >= {
        "tells_items_apart", "tells_queries_apart", "scores_not_saturated", "scores_deterministic",
        "learns_nothing_while_serving", "deterministic", "gradients_not_zero",
        "loss_rises_along_gradient", "stronger_attack_wins_more", "unbounded_attack_wins",
        "iterations_converge", "restarts_converge", "best_iterate_kept",
        "random_search_finds_nothing_more", "gradient_beats_random_directions",
        "white_box_beats_transfer", "transfer_beats_random", "attack_works_undefended",
        "errors_counted", "split_without_leaks", "coverage_stated", "unseen_attack",
        "adaptive_attack", "text_confirmation", "control_arm", "targets_not_in_training_pool",
    }  # fmt: skip


def test_a_constant_model(arms: Arms, tmp_path: Path) -> None:
    asked, findings = audited(arms, tmp_path, hardened=Constant(arms.hardened))
    assert {"tells_items_apart", "gradients_not_zero", "unbounded_attack_wins"} <= caught(asked)
    assert not any(f.reliable for f in doubted(findings, "promotion"))
    assert all("ranks nothing" in f.remedy for f in doubted(findings, "promotion"))


def test_saturated_scores(arms: Arms, tmp_path: Path) -> None:
    """Scores times 10,000: the softmax is flat for all but one item."""
    arrays = dict(arms.hardened.arrays())
    for name in ("network/transformer.norm.weight", "network/transformer.norm.bias"):
        arrays[name] = arrays[name] * 1e4
    loud = EXPERIMENT.model.restore(arrays, arms.hardened.items, RunContext())
    asked, findings = audited(arms, tmp_path, hardened=loud)
    assert {"scores_not_saturated", "gradients_not_zero"} <= caught(asked)
    assert not any(f.reliable for f in doubted(findings, "curve"))
    assert any("raw scores" in f.remedy for f in doubted(findings, "promotion"))


def test_gradients_shattered_by_quantisation(arms: Arms, tmp_path: Path) -> None:
    asked, findings = audited(arms, tmp_path, hardened=Quantised(arms.hardened))
    assert {
        "gradients_not_zero", "loss_rises_along_gradient", "white_box_beats_transfer",
        "gradient_beats_random_directions", "stronger_attack_wins_more", "unbounded_attack_wins",
    } <= caught(asked)  # fmt: skip
    assert not any(f.reliable for f in doubted(findings, "curve"))
    assert all("straight-through" in f.remedy for f in doubted(findings, "curve"))


def test_a_random_defence(arms: Arms, tmp_path: Path) -> None:
    asked, _ = audited(arms, tmp_path, hardened=Random(arms.hardened))
    assert {"deterministic", "scores_deterministic"} <= caught(asked)
    said = next(c for c in asked if c.name == "scores_deterministic" and c.passed is False)
    assert "expectation over its randomness" in said.reason
    assert "16 draws" in said.advice


def test_a_defence_trained_on_the_evaluation_attack(arms: Arms, tmp_path: Path) -> None:
    """Both families were met in training; the targets were, too."""
    seen = replace(EXPERIMENT, trials=(replace(EXPERIMENT.trials[0], seen=True),))
    first = Trained(label="m", arm="x", seed=0, spec=None, model=arms.control, data="")  # type: ignore[arg-type]
    pool = chosen_targets(seen, first, arms.split)[:2]
    asked, findings = audited(
        arms, tmp_path, experiment=seen, pools={("text-sequence/hardened", 0): pool}
    )
    assert caught(asked) == {"unseen_attack", "targets_not_in_training_pool"}
    assert not any(f.reliable for f in doubted(findings, "promotion"))
    assert caught(asked, "control") == set()
    reasons = {c.name: c.reason for c in asked if c.passed is False}
    assert "copycat(candidates=10) (copying)" in reasons["unseen_attack"]
    assert reasons["targets_not_in_training_pool"].startswith("2 of 8 targets")


def test_a_leaky_split(arms: Arms, tmp_path: Path) -> None:
    assert arms.split.source is not None
    leaky = replace(arms.split, train=arms.split.source)
    asked, findings = audited(arms, tmp_path, split=leaky)
    assert caught(asked) == {"split_without_leaks"} == caught(asked, "control")
    assert not any(f.reliable for f in doubted(findings, "utility"))
    assert all("Split again" in f.remedy for f in doubted(findings, "utility"))


def test_an_attack_that_does_nothing(arms: Arms, tmp_path: Path) -> None:
    """No word may be changed: it fails on the undefended control already. Only what it says is
    marked; the copycat's figures stand."""
    idle = replace(THREAT, budget=Budget(words=0, queries=5))
    trial = Trial(threat=idle, attacks=(GreedyWords(),), name="idle")
    asked, findings = audited(
        arms, tmp_path, experiment=replace(EXPERIMENT, trials=(EXPERIMENT.trials[0], trial))
    )
    assert caught(asked) == {"attack_works_undefended"}
    failed = next(c for c in asked if c.passed is False)
    assert failed.reason == "it edits no text on the undefended control"
    assert not any(f.reliable for f in doubted(findings, "promotion", "idle"))
    assert all(f.reliable for f in doubted(findings, "promotion", "copycat"))


def test_a_broken_pgd(arms: Arms, tmp_path: Path) -> None:
    """Twenty steps of a thousandth of the radius: it never arrives."""
    weak = tuple(
        replace(curve, inners=(PGD(steps=20, step_size=0.001), *INNERS[1:]))
        for curve in EXPERIMENT.curves
    )
    asked, findings = audited(arms, tmp_path, experiment=replace(EXPERIMENT, curves=weak))
    assert {"iterations_converge", "stronger_attack_wins_more"} <= caught(asked)
    assert {"iterations_converge", "stronger_attack_wins_more"} <= caught(asked, "control")
    assert not any(f.reliable for f in doubted(findings, "curve"))
    assert all("twice the steps" in f.remedy for f in doubted(findings, "curve"))
    assert all(f.reliable for f in doubted(findings, "promotion"))


def test_the_pool_is_held_against_the_targets() -> None:
    found = targets_not_in_training_pool(["a", "b"], {"b", "c"}, subject="m/x", seed=3)
    assert (found.passed, found.statistic, found.seed) == (False, 0.5, 3)
    assert found.reason == "1 of 2 targets were attacked in training: 'b'"
    assert targets_not_in_training_pool(["a"], set(), subject="m/x").passed is True
