"""Rules that end hardening early, in a real training (S0-12)."""

import json
from dataclasses import replace
from pathlib import Path

from hardrank.context import RunContext
from hardrank.data.sources.marketplace import Marketplace
from hardrank.data.splits import LeaveOneOut
from hardrank.hardening import Adversarial, QualityFloor, StopAtRobustError
from hardrank.models import Sasrec
from hardrank.perturbations import FGM
from hardrank.training import Training

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
