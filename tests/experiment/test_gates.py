"""The gates of a run: planted frauds fail the gate that is there for them."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from hardrank.attacks import Copycat, RandomWords
from hardrank.audits import samples as table
from hardrank.audits.catalogue import popularity_groups
from hardrank.audits.checks import Check, judge_findings
from hardrank.context import RunContext
from hardrank.data import Queries, Slate
from hardrank.data.sources import Marketplace
from hardrank.data.splits import LeaveOneOut, Split
from hardrank.experiment.arms import Trained
from hardrank.experiment.attacked import attacked, chosen_targets, clean, curves, some
from hardrank.experiment.covered import coverage
from hardrank.experiment.findings import findings_of
from hardrank.experiment.gates import checks
from hardrank.experiment.spec import Curve, Experiment, Gates, Trial
from hardrank.models import Popularity, Sasrec, Tfidf
from hardrank.perturbations import FGM, PGD, Gaussian
from hardrank.recommender import LossSurface, Recommender, best, mask_seen
from hardrank.threats import Budget, Promote, ThreatModel
from hardrank.training import Training
from hardrank.types import Ranks, Scores

THREAT = ThreatModel(
    goal=Promote(items="unpopular:2"), knowledge="ranks",
    budget=Budget(words=2, queries=6, whole_text=True),
)  # fmt: skip
BASIC = Experiment(
    name="gates",
    data=Marketplace(users=80, items=60, median_events=6),
    model=Sasrec(size=8, length=8, training=Training(epochs=3, batch_size=64)),
    trials=(Trial(threat=THREAT, attacks=(Copycat(candidates=3),)),),
    gates=Gates(users=20, panel=16),
)
CURVE = Curve(
    inners=(PGD(steps=3), FGM(), Gaussian()), radii=(0.05, 0.1, 0.2, 0.5, 1.0), unbounded=20.0
)


@cache
def split() -> Split:
    return LeaveOneOut().split(BASIC.data.load())


@dataclass(frozen=True, eq=False)
class Constant:
    """Every item scores 1 for everybody: nothing to promote, nothing to attack."""

    items: pl.DataFrame
    weights: dict[str, Any] = field(default_factory=dict)
    sites = ("item-vectors",)

    def score(self, queries: Queries, slate: Slate) -> Scores:
        return np.ones((len(queries), len(slate)), dtype=np.float32)

    def top(self, queries: Queries, k: int) -> Ranks:
        slate = Slate(items=np.arange(self.items.height))
        return best(mask_seen(self.score(queries, slate), queries), k)

    def on(self, items: pl.DataFrame) -> "Constant":
        return replace(self, items=items)

    def arrays(self) -> dict[str, Any]:
        return self.weights

    def surface(
        self, site: Any, goal: Any, queries: Any, items: Any, texts: Any = (), *, loss: Any = None
    ) -> Any:
        like = torch.ones(len(items), 4)
        return LossSurface(loss=lambda delta: 0 * delta.sum(1), like=like, scale=2.0)

    def perturbed_scores(
        self, site: Any, goal: Any, queries: Queries, items: Any, delta: Any
    ) -> Scores:
        return np.ones((len(queries), len(items)), dtype=np.float32)


def subject(arm: str, model: Recommender, **changes: Any) -> Trained:
    about: dict[str, Any] = {"spec": BASIC.model, "seed": 0, "data": "the data"}
    return Trained(label="sasrec", arm=arm, model=model, **(about | changes))


def steps(folder: Path, arm: str, count: int, seed: int = 0) -> None:
    path = folder / "models" / "sasrec" / f"{arm}-{seed}" / "training" / "abc" / "training.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"steps": count}))


def audit(
    experiment: Experiment, subjects: list[Trained], folder: Path
) -> tuple[list[Check], pl.DataFrame, list[Any]]:
    """Everything that a run does after training."""
    run, cut = RunContext(folder=folder), split()
    groups = popularity_groups(cut.train.counts)
    parts = [clean(s, cut.test, groups, cut.train, run) for s in subjects]
    for trial in experiment.trials:
        parts += [attacked(experiment, trial, s, cut, groups, run) for s in subjects]
    for curve in experiment.curves:
        parts += [curves(experiment, curve, s, cut, groups, run) for s in subjects]
    samples = table.gather(parts)
    findings = findings_of(experiment, samples, "protocol")
    asked = checks(experiment, samples, findings, subjects, cut, run)
    return asked, samples, judge_findings(findings, asked)


def answers(asked: list[Check], arm: str) -> dict[str, bool | None]:
    return {c.name: c.passed for c in asked if c.subject == f"sasrec/{arm}" and c.group == "all"}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recommender]:
    yield BASIC.model.fit(split().train, RunContext(), valid=split().valid)


@pytest.mark.slow
def test_a_constant_model_fails_the_quality_gate(honest: Recommender, tmp_path: Path) -> None:
    """Nobody can promote anything in it, and it is not called robust: it fails gate 1 on its
    own and against the control, gate 4 on its gradients, and its findings are not reliable."""
    for arm in ("control", "hardened"):
        steps(tmp_path, arm, 3)
    experiment = replace(BASIC, curves=(CURVE,))
    constant = subject("hardened", Constant(split().train.items))
    asked, _, findings = audit(experiment, [subject("control", honest), constant], tmp_path)
    found = answers(asked, "hardened")
    assert found["tells_items_apart"] is False
    assert found["quality_floor"] is False
    assert found["gradients_not_zero"] is False
    assert found["unbounded_attack_wins"] is False
    assert found["control_arm"] is True
    claims = [
        f for f in findings if f.subject == "sasrec/hardened" and f.audit in ("promotion", "curve")
    ]
    assert claims and not any(f.reliable for f in claims)
    assert all("tells items apart" in f.reason for f in claims)
    assert answers(asked, "control")["tells_items_apart"] is True
    assert any(f.reliable for f in findings if f.subject == "sasrec/control")


@pytest.mark.slow
def test_an_honest_model_passes(honest: Recommender, tmp_path: Path) -> None:
    """The same model as both arms costs nothing, tells users apart and has true gradients."""
    for arm in ("control", "hardened"):
        steps(tmp_path, arm, 3)
    experiment = replace(BASIC, curves=(CURVE, replace(CURVE, goal="degrade",
                                                       site="history-vectors")))  # fmt: skip
    subjects = [subject(arm, honest) for arm in ("control", "hardened")]
    asked, samples, _ = audit(experiment, subjects, tmp_path)
    found = answers(asked, "hardened")
    for name in (
        "tells_items_apart", "quality_floor", "control_arm", "unseen_attack", "adaptive_attack",
        "deterministic", "gradients_finite", "loss_rises_along_gradient",
        "zero_perturbation_is_clean", "unbounded_attack_wins",
    ):  # fmt: skip
        assert found[name] is True, name
    pairs = {(c.goal, c.site) for c in asked if c.name == "gradients_finite"}
    assert pairs == {("promote", "item-vectors"), ("degrade", "history-vectors")}
    curve = samples.filter(pl.col("audit") == "curve")
    assert curve.filter(pl.col("goal") == "degrade")["sample"].n_unique() == 20


def cheap(experiment: Experiment, subjects: list[Trained], folder: Path) -> dict[str, Any]:
    """Checks of the hardened arm by name, with reasons, no curves."""
    asked, _, _ = audit(experiment, subjects, folder)
    return {c.name: c for c in asked if c.subject == "sasrec/hardened" and c.group == "all"}


def test_a_hardened_arm_without_control_is_no_claim(tmp_path: Path) -> None:
    steps(tmp_path, "hardened", 3)
    model = Tfidf().fit(split().train, RunContext())
    found = cheap(BASIC, [subject("hardened", model)], tmp_path)
    assert found["control_arm"].passed is False
    assert found["control_arm"].reason == "there is no control arm"


@pytest.mark.parametrize(
    ("changes", "count", "reason"),
    [
        ({}, 3, ""),
        ({}, 6, "steps differ"),
        ({"data": "more data"}, 3, "data differ"),
        ({"spec": Sasrec(size=16)}, 3, "model differ"),
        ({"seed": 1}, 3, "seeds differ"),
    ],
)
def test_a_control_that_differs_is_none(
    changes: dict[str, Any], count: int, reason: str, tmp_path: Path
) -> None:
    """S0: one value may differ, the adversary."""
    steps(tmp_path, "control", count, changes.get("seed", 0))
    steps(tmp_path, "hardened", 3)
    model = Tfidf().fit(split().train, RunContext())
    subjects = [subject("control", model, **changes), subject("hardened", model)]
    found = cheap(BASIC, subjects, tmp_path)["control_arm"]
    assert found.passed is (not reason) and reason in found.reason


def test_an_attack_that_hardening_has_seen_is_no_evidence(tmp_path: Path) -> None:
    for arm in ("control", "hardened"):
        steps(tmp_path, arm, 3)
    model = Tfidf().fit(split().train, RunContext())
    subjects = [subject(arm, model) for arm in ("control", "hardened")]
    unseen = cheap(BASIC, subjects, tmp_path)
    assert unseen["unseen_attack"].passed is True and unseen["adaptive_attack"].passed is True
    trained_on = replace(BASIC, trials=(replace(BASIC.trials[0], seen=True),))
    assert cheap(trained_on, subjects, tmp_path)["unseen_attack"].passed is False
    blind = Trial(threat=THREAT, attacks=(RandomWords(vocabulary=5),))
    assert cheap(replace(BASIC, trials=(blind,)), subjects, tmp_path)["adaptive_attack"].passed is (
        None
    )


def test_hardened_arms_of_any_name_are_held_against_the_control(tmp_path: Path) -> None:
    """Each has its own claims, price, effect and p; base, hidden and control have none."""
    arms = ("control", "pgd", "copies")
    for arm in arms:
        steps(tmp_path, arm, 3)
    model = Tfidf().fit(split().train, RunContext())
    asked, samples, findings = audit(BASIC, [subject(arm, model) for arm in arms], tmp_path)
    claimed = {c.subject for c in asked if c.name == "control_arm"}
    assert claimed == {"sasrec/pgd", "sasrec/copies"}
    for metric in ("price(ndcg@10)", "p_noninferior@0.03", "defence_effect", "p_value"):
        assert {f.subject for f in findings if f.metric == metric} == claimed, metric
    assert all(f.versus["subject"] == "sasrec/control" for f in findings if f.versus)
    table_, matrix = coverage(BASIC, samples, asked)
    assert {f.subject for f in matrix} == {f"sasrec/{arm}" for arm in arms}
    assert table_["audit"].unique().to_list() == ["coverage"]


def test_the_same_targets_and_users_for_every_arm() -> None:
    model = Popularity().fit(split().train, RunContext())
    control, hardened, other = (
        subject("control", model), subject("hardened", model), subject("control", model, seed=1)
    )  # fmt: skip
    wanted = chosen_targets(BASIC, control, split())
    assert wanted == chosen_targets(BASIC, hardened, split()) and len(wanted) == 2
    assert wanted != chosen_targets(BASIC, other, split())
    test = split().test
    picked = some(test, 20, 0)
    assert len(picked) == 20
    assert np.array_equal(picked.targets, some(test, 20, 0).targets)
    assert not np.array_equal(picked.queries.users, some(test, 20, 1).queries.users)
    assert some(test, None, 0) is test and some(test, 10**6, 0) is test
    assert all(np.diff(picked.queries.users) > 0)


def test_findings_of_nothing_are_none(tmp_path: Path) -> None:
    """Quality alone: no promotion, no price, no curve; every group that is there."""
    model = Popularity().fit(split().train, RunContext())
    groups = popularity_groups(split().train.counts)
    samples = clean(
        subject("base", model), split().test, groups, split().train, RunContext(folder=tmp_path)
    )
    found = findings_of(BASIC, samples, "protocol")
    assert {f.audit for f in found} == {"utility"}
    assert {f.group for f in found} == {"all", *samples["group"].unique()}
    assert {f.metric for f in found} == {"hr@10", "ndcg@10", "mrr"}
    assert all(asdict(f)["protocol"] == "protocol" for f in found)
