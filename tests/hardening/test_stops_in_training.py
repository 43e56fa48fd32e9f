"""What hardening measures at each epoch, and the rules that end it early (S0-12, S0-19)."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardrank.context import RunContext
from hardrank.data import Slate
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut
from hardrank.errors import Unsupported
from hardrank.hardening import (
    Adversarial,
    CatastrophicOverfitting,
    GeneralisedCrossEntropy,
    QualityFloor,
    StopAtRobustError,
)
from hardrank.models import Sasrec
from hardrank.models.judge import Judge, judge_of
from hardrank.models.sequence.robust import robust_row
from hardrank.perturbations import FGM, FGSM, PGD, RFGSM, Gaussian, Inner, Momentum
from hardrank.recommender import mask_seen
from hardrank.training import Plain, Training

SPEC = Sasrec(size=16, heads=1, length=20, training=Training(epochs=3, batch_size=300, patience=0))
OBJECTIVE = Adversarial(inner=FGM(), radius=0.05)


def log_of(folder: Path, objective: Adversarial) -> dict[str, object]:
    split = LeaveOneOut().split(Marketplace(users=120, items=80, seed=3).load())
    run = RunContext(seed=0, folder=folder)
    SPEC.fit(split.train, run, valid=split.valid, objective=objective)
    (path,) = folder.glob("*/training.json")
    return dict(json.loads(path.read_text("utf-8")))


def test_target_one_stops_after_the_first_epoch_and_says_why(tmp_path: Path) -> None:
    log = log_of(tmp_path, replace(OBJECTIVE, stop=(StopAtRobustError(target=1.0),)))
    assert log["epoch"] == 1
    assert "robust error" in str(log["finished"])
    (row,) = log["history"]  # type: ignore[misc]
    assert 0 < row["robust_error"] <= 1


def test_target_zero_runs_to_the_cap(tmp_path: Path) -> None:
    log = log_of(tmp_path, replace(OBJECTIVE, stop=(StopAtRobustError(target=0.0),)))
    assert (log["epoch"], log["finished"]) == (3, "all epochs done")


def test_the_quality_floor_acts_on_a_fall_and_only_then() -> None:
    floor = QualityFloor(loss=0.1)
    rows = [{"epoch": n, "loss": 1.0, "ndcg@10": v} for n, v in ((1, 0.2), (2, 0.19), (3, 0.17))]
    assert floor.check([]) is None
    assert floor.check(rows[:2]) is None
    assert "below the floor" in str(floor.check(rows))


WORLD = LeaveOneOut().split(Marketplace(users=120, items=80, seed=3).load())


def history_of(folder: Path, objective: Any, **options: Any) -> list[dict[str, float]]:
    spec = replace(SPEC, training=replace(SPEC.training, **options))
    run = RunContext(seed=0, folder=folder)
    spec.fit(WORLD.train, run, valid=WORLD.valid, objective=objective)
    (path,) = folder.glob("*/training.json")
    found: list[dict[str, float]] = json.loads(path.read_text("utf-8"))["history"]
    return found


SERIES = ("error", "loss", "ndcg@10", "auc")


def test_each_epoch_has_the_clean_and_the_attacked_series(tmp_path: Path) -> None:
    """S0-19: one row an epoch with loss, accuracy (1 - error), NDCG and AUC of both; and the
    loss under attack ends below its start."""
    rows = history_of(
        tmp_path, Adversarial(inner=PGD(steps=3), radius=0.2, site="history-vectors"), epochs=8
    )
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    for row in rows:
        for name in SERIES:
            clean, robust = row[f"clean_{name}"], row[f"robust_{name}"]
            assert np.isfinite([clean, robust]).all()
        assert row["robust_loss"] > row["clean_loss"]
        assert 0 <= row["clean_auc"] <= 1
        assert "single_step_error" not in row
    assert rows[-1]["robust_loss"] < rows[0]["robust_loss"]
    (path,) = tmp_path.glob("*/training.json")
    best = json.loads(path.read_text("utf-8"))["best_value"]
    assert best == max(row["ndcg@10"] for row in rows), "the clean metric is still the first"


def test_the_series_are_the_models_own_ranks() -> None:
    """By hand, at radius 0: both series are the ranks of the model as it serves."""
    model = SPEC.fit(WORLD.train, RunContext(seed=0))
    found = robust_row(Judge(inner=PGD(), radius=0.0), model, WORLD.valid, 0)
    ranks, below = [], []
    for q in range(len(WORLD.valid)):
        one = WORLD.valid.take(np.array([q]))
        if one.queries.lengths[0] == 0:
            continue
        scores = mask_seen(model.score(one.queries, Slate(items=np.arange(80))), one.queries)[0]
        target = scores[one.targets[0]]
        unseen = np.isfinite(scores)
        ranks.append(int((~(scores < target)).sum()))
        below.append((unseen & (scores < target)).sum() / (unseen.sum() - 1))
    gains = [1 / np.log2(r + 1) if r <= 10 else 0.0 for r in ranks]
    for series in ("clean", "robust"):
        assert found[f"{series}_error"] == pytest.approx(np.mean([r > 10 for r in ranks]))
        assert found[f"{series}_ndcg@10"] == pytest.approx(np.mean(gains))
        assert found[f"{series}_auc"] == pytest.approx(np.mean(below), abs=1e-3)


def test_plain_training_is_not_slowed_by_an_attack(tmp_path: Path) -> None:
    rows = history_of(tmp_path, Plain())
    assert all(set(row) == {"epoch", "loss", "ndcg@10", "seconds"} for row in rows)


OTHER = GeneralisedCrossEntropy()
"""Hardens without an attack of its own."""


@pytest.mark.parametrize("objective", [None, OTHER, Adversarial(inner=FGM(), radius=0.1)])
def test_the_most_robust_epoch_can_be_kept_by_any_objective(tmp_path: Path, objective: Any) -> None:
    """S1-61: also where training itself has no attack."""
    rows = history_of(tmp_path, objective, keep="robust", epochs=2)
    (path,) = tmp_path.glob("*/training.json")
    log = json.loads(path.read_text("utf-8"))
    errors = [row["robust_error"] for row in rows]
    assert log["kept_epoch"] == 1 + int(np.argmin(errors)) == log["robust"]["best_epoch"]
    assert log["robust"]["gap"] == errors[-1] - min(errors)


def test_robust_validation_needs_somebody_to_attack() -> None:
    spec = replace(SPEC, training=replace(SPEC.training, keep="robust"))
    with pytest.raises(Unsupported, match="needs validation data"):
        spec.fit(WORLD.train, RunContext(seed=0))


@pytest.mark.parametrize("weak", [FGSM(), RFGSM(norm="token-l2"), FGM(), Gaussian(norm="linf")])
def test_what_a_model_can_defeat_alone_does_not_judge_it(weak: Inner) -> None:
    """Wong et al., section 5: judged by many steps, in the same norm and radius."""
    judge = judge_of(Adversarial(inner=weak, radius=0.3), wanted=False)
    single = None if isinstance(weak, Gaussian) else weak
    assert judge == Judge(inner=PGD(norm=weak.norm), radius=0.3, single=single)


def test_a_strong_attack_judges_its_own_training() -> None:
    strong = Momentum(steps=4)
    assert judge_of(Adversarial(inner=strong, radius=0.3), wanted=False) == Judge(
        inner=strong, radius=0.3
    )
    assert judge_of(None, wanted=False) is None
    assert judge_of(Plain(), wanted=False) is None
    assert judge_of(None, wanted=True) == judge_of(OTHER, wanted=False)
    assert judge_of(None, wanted=True) == Judge(inner=PGD(steps=10), radius=0.05)


def test_single_step_training_reports_its_own_step_beside_many(tmp_path: Path) -> None:
    """S1-61: a rule that watches both may be set, and only there."""
    objective = Adversarial(
        inner=FGSM(), radius=0.1, site="history-vectors", stop=(CatastrophicOverfitting(),)
    )
    rows = history_of(tmp_path, objective)
    assert len(rows) == 3
    assert all(0 <= row["single_step_error"] <= 1 for row in rows)
    with pytest.raises(Unsupported, match="remove the rule"):
        history_of(tmp_path / "many", replace(objective, inner=PGD(steps=2)))
