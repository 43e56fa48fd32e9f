"""Users whom the store brought are judged before anything learns from them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Dataset
from hardrank.detection.supervised import ranked
from hardrank.errors import DataError
from hardrank.experiment.detect import detector_of
from hardrank.experiment.poison_defences import threshold
from hardrank.experiment.retrain_log import Merged
from hardrank.experiment.retrain_spec import NO_SCREEN, Screen

__all__ = ["Screened", "screened"]

_REASONS = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class Screened:
    """The log without flagged users."""

    log: Merged
    flagged: pl.DataFrame
    """`user_id`, `score`, `events` (of the store), `known` (the log had events of this user),
    `reason`; highest score first."""
    judged: int
    """Users with an event of the store."""
    border: float
    """Score above which a user is flagged; infinite where nobody judges."""


def screened(log: Merged, screen: Screen) -> Screened:
    """Keep out what flagged users brought: of a user whom the champion's log knows the store's
    events alone, of another one everything.

    Raises `DataError` where a third of all users would be flagged: then the detector finds no
    border here, and nothing it says is worth anything.
    """
    brought = log.sequence > 0
    suspects = log.users(brought)
    nobody = np.zeros(log.data.n_users, dtype=np.bool_)
    if screen.detector == NO_SCREEN or not suspects.any():
        return _without(log, nobody, np.zeros(len(nobody)), np.inf, int(suspects.sum()), "")
    detector = detector_of(screen.detector)
    seen = _alike(log)
    scores = np.asarray(detector(seen), dtype=np.float32).astype(np.float64)
    border = _border(detector, seen.where(pl.Series(~brought)), screen)
    known = np.asarray(log.data.users["user_id"].is_in(list(screen.admit)))
    above = (np.nan_to_num(scores, nan=-np.inf) > border) & suspects & ~known
    if above.sum() * 3 >= log.data.n_users:
        raise DataError(
            f"{above.sum()} of {log.data.n_users} users would be flagged: the detector finds no "
            "border in this log",
            remedy="choose another detector, or a smaller share `flagged`",
        )
    return _without(
        log,
        above,
        scores,
        border,
        int(suspects.sum()),
        Path(screen.detector).name,
        _features(seen, above),
    )


def _alike(log: Merged) -> Dataset:
    """The log as a detector sees it: times and ratings count only where both parts have them,
    or having none would tell the two apart."""
    data, brought = log.data, log.sequence > 0
    events = data.events
    for column in ("time", "rating"):
        lacking = events[column].is_null().to_numpy()
        parts = [lacking[part] for part in (brought, ~brought) if part.any()]
        if any(part.all() for part in parts):
            events = events.with_columns(pl.lit(None, dtype=events[column].dtype).alias(column))
    return replace(data, events=events)


def _border(detector: Any, clean: Dataset, screen: Screen) -> float:
    own = getattr(detector, "threshold", None)
    if own is not None and np.isfinite(own):
        return float(own)
    return threshold(detector, clean, screen.flagged)


def _features(data: Dataset, flagged: NDArray[np.bool_]) -> list[str]:
    """What is least like everybody of each flagged user."""
    if not flagged.any():
        return []
    names, x = ranked(data)
    found = x[flagged]
    order = np.argsort(-np.abs(found - 0.5), axis=1, kind="stable")[:, :_REASONS]
    return [
        ", ".join(f"{names[f]} (rank {row[f]:.3f})" for f in first)
        for row, first in zip(found, order, strict=True)
    ]


def _without(
    log: Merged,
    flagged: NDArray[np.bool_],
    scores: NDArray[np.float64],
    border: float,
    judged: int,
    who: str,
    features: list[str] | None = None,
) -> Screened:
    brought, owners = log.sequence > 0, log.owners
    known = log.users(~brought)
    rows = np.flatnonzero(flagged)
    table = pl.DataFrame(
        {
            "user_id": log.data.users["user_id"].gather(rows),
            "score": scores[rows],
            "events": np.bincount(owners[brought], minlength=len(flagged))[rows],
            "known": known[rows],
            "reason": [f"{who} above {border:.4g}: {f}" for f in features or []],
        },
        schema_overrides={"reason": pl.Utf8()},
    )
    kept = ~(flagged[owners] & brought)
    return Screened(
        log=log.where(kept, ~flagged | known), flagged=table.sort("score", descending=True),
        judged=judged, border=border,
    )  # fmt: skip
