"""What hardening costs in training time, from the logs of a run."""

import json
from collections.abc import Iterable
from pathlib import Path

__all__ = ["training_cost", "training_seconds"]


def training_cost(run: Path, label: str, arm: str, seeds: Iterable[int]) -> float | None:
    """Seconds of an arm's training over those of its control, all seeds together; None for a
    base, which is trained in another stage, and where nobody wrote them."""
    if arm == "base":
        return None
    wanted = tuple(seeds)
    own = sum(training_seconds(run, label, arm, seed) for seed in wanted)
    plain = sum(training_seconds(run, label, "control", seed) for seed in wanted)
    return own / plain if own and plain else None


def training_seconds(run: Path, label: str, arm: str, seed: int) -> float:
    """Of the latest training of that arm in the run folder; 0 without a log."""
    folder = run / "models" / label / f"{arm}-{seed}" / "training"
    logs = sorted(folder.glob("*/training.json"), key=lambda p: p.stat().st_mtime)
    if not logs:
        return 0.0
    history = json.loads(logs[-1].read_text("utf-8"))["history"]
    return float(sum(row.get("seconds", 0.0) for row in history))
