"""Every detector on every poisoned log of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.audits import samples as table
from hardrank.audits.samples import samples
from hardrank.context import RunContext, derive
from hardrank.data import Dataset
from hardrank.experiment.poison_defences import Detectors
from hardrank.experiment.poison_logs import Poisoned
from hardrank.experiment.poison_spec import PoisonExperiment
from hardrank.experiment.stages import key_of
from hardrank.files import write_table
from hardrank.metrics.detection import auroc, average_precision, recall_at_fpr, roc_curve
from hardrank.threats.court import label

__all__ = ["FIGURES", "curves", "detection_samples", "met", "tested"]

FIGURES = ("auroc", "ap", "recall")
"""Audits `detection-auroc`, `detection-ap` and `detection-recall` (at 1 % false positives)."""
_FPR = 0.01
_SCORES = pl.Schema(
    {"detector": pl.Utf8(), "attack": pl.Utf8(), "target": pl.Utf8(), "seed": pl.Int64(),
     "fake": pl.Boolean(), "score": pl.Float32(), "inputs": pl.Utf8()}
)  # fmt: skip
_POINTS = 200
"""Of one curve, at most about so many."""


def detection_samples(
    experiment: PoisonExperiment,
    logs: Sequence[Poisoned],
    detectors: Detectors,
    families: Mapping[str, str],
    seed: int,
    run: RunContext,
) -> pl.DataFrame:
    """One sample for each detector, attack and target: how well fake users are told from real
    ones in that log. The scores themselves stay in `detection/` of the run's folder.

    A detector that learns never met the family of the attack it is asked about, nor the label
    of a real user it is scored on (`tested`). Users that a detector does not judge count as
    least suspicious.
    """
    assert run.folder is not None
    parts = []
    for spec in experiment.detectors:
        path = _path(run.folder, spec, seed)
        scores = _kept_scores(path, spec, logs, detectors, families, seed)
        parts.append(_figures(scores, label(spec), seed))
    return table.gather(parts)


def tested(log: Dataset, seed: int) -> NDArray[np.bool_]:
    """(U,) the half of the real users whose labels no detector learns from: figures are of
    them and of the fake users. By a hash of their ids, so the same ones in every log."""
    ids = log.users["user_id"].to_list()
    drawn = [derive(seed, "tested users", name) & 1 == 0 for name in ids]
    return np.asarray(drawn, dtype=np.bool_)


def curves(experiment: PoisonExperiment, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Detector -> points (share of real users flagged, share of fake ones) of its ROC curve
    over all logs of a run's folder; a detector that saw no fake user has none.

    Scores of two logs have no common scale: the curve is of ranks within each log.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for spec in experiment.detectors:
        parts = [pl.read_parquet(_path(folder, spec, seed)) for seed in experiment.seeds]
        place = (pl.col("score").rank() / pl.len()).over("attack", "target", "seed")
        rows = pl.concat(parts).select("fake", place=place)
        if rows["fake"].any() and not rows["fake"].all():
            false, true, _ = roc_curve(rows["place"].to_numpy(), rows["fake"].to_numpy())
            points = list(zip(false.tolist(), true.tolist(), strict=True))
            step = -(-len(points) // _POINTS)
            found[label(spec)] = [*points[:-1:step], points[-1]]
    return found


def met(detectors: Detectors) -> str:
    """Digest of the example logs that detectors learn from."""
    every = [(n, log) for n, logs in sorted(detectors.examples.items()) for log in logs]
    return key_of([(name, log.dataset.fingerprint) for name, log in every])[:16]


def _path(folder: Path, spec: Any, seed: int) -> Path:
    return folder / "detection" / f"{key_of(spec, seed)[:12]}.parquet"


def _kept_scores(
    path: Path,
    spec: Any,
    logs: Sequence[Poisoned],
    detectors: Detectors,
    families: Mapping[str, str],
    seed: int,
) -> pl.DataFrame:
    forged = [p for p in logs if p.match.profiles]
    learned = met(detectors) if hasattr(spec, "fit") else ""
    wanted = {(p.match.attack, p.match.target): key_of(p.log.fingerprint, learned) for p in forged}
    if path.is_file() and (kept := pl.read_parquet(path)).schema == _SCORES:
        have = kept.select("attack", "target", "inputs").unique(maintain_order=True).rows()
        if have == [(*which, inputs) for which, inputs in wanted.items()]:
            return kept
    parts = [pl.DataFrame(schema=_SCORES)]
    for p in forged:
        detector = detectors.without(spec, families[p.match.attack])
        given = np.asarray(detector(p.log), dtype=np.float64)
        inputs = wanted[p.match.attack, p.match.target]
        parts.append(_rows(label(spec), p, seed, given, inputs))
    made = pl.concat(parts)
    write_table(path, made)
    return made


def _rows(
    name: str, p: Poisoned, seed: int, given: NDArray[np.float64], inputs: str
) -> pl.DataFrame:
    fake = np.arange(p.log.n_users) >= p.log.n_users - p.match.profiles
    judged = (np.diff(p.log.offsets) > 0) & (fake | tested(p.log, seed))
    given, fake = given[judged], fake[judged]
    return pl.DataFrame(
        {
            "detector": [name] * len(given), "attack": [p.match.attack] * len(given),
            "target": [p.match.target] * len(given), "seed": [seed] * len(given),
            "fake": fake, "score": np.nan_to_num(given, nan=-np.inf),
            "inputs": [inputs] * len(given),
        },
        schema=_SCORES,
    )  # fmt: skip


def _figures(scores: pl.DataFrame, name: str, seed: int) -> pl.DataFrame:
    parts = []
    for (attack, target), rows in scores.group_by("attack", "target", maintain_order=True):
        given, fake = rows["score"].to_numpy(), rows["fake"].to_numpy()
        found = {"auroc": auroc(given, fake), "ap": average_precision(given, fake),
                 "recall": recall_at_fpr(given, fake, _FPR)}  # fmt: skip
        parts += [
            samples({"subject": name, "seed": seed, "audit": f"detection-{figure}",
                     "trial": str(attack), "sample": [str(target)], "value": [value]})
            for figure, value in found.items()
        ]  # fmt: skip
    return table.gather(parts)
