"""Hooks that drop or down-weight training rows before training, with a record of each.

Nothing is renumbered: users, items and all ids stay, so a test split made before still
fits (`dataclasses.replace(split, train=kept)`). Give them training events, not the whole.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data.dataset import Dataset
from hardrank.errors import DataError
from hardrank.files import write_text
from hardrank.types import Floats

__all__ = [
    "Detector",
    "Filtered",
    "down_weight",
    "drop_events",
    "drop_users",
    "filtered",
]

Mask = NDArray[np.bool_]
Numbers = NDArray[np.float64]
_RECORD = pl.Schema(
    {
        "action": pl.Utf8(),
        "user_id": pl.Utf8(),
        "item_id": pl.Utf8(),
        "time": pl.Int64(),
        "weight": pl.Float64(),
        "score": pl.Float64(),
    }
)


class Detector(Protocol):
    """Says which users look like fraudsters."""

    def __call__(self, dataset: Dataset) -> Floats:
        """(U,) higher is more suspicious, on a scale of its own; NaN for a user who was not
        judged, such as one without events."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Filtered:
    """What training may still read, and what it may not."""

    dataset: Dataset
    record: pl.DataFrame
    """One row for each event: `action` (`dropped` or `down-weighted`), `user_id`, `item_id`,
    `time`, `weight` (of the event now, 0 where dropped), `score` (the detector's, of its
    user). Dropped reviews are not listed; they go with their user."""

    def save(self, path: Path) -> None:
        """JSON lines, an event a line, empty fields left out; atomic."""
        rows = self.record.iter_rows(named=True)
        lines = ({k: v for k, v in row.items() if v is not None} for row in rows)
        write_text(path, "".join(json.dumps(n, ensure_ascii=False) + "\n" for n in lines))


def drop_users(dataset: Dataset, flagged: Mask | Sequence[str]) -> Filtered:
    """Without the events and reviews of those users, who stay in the table, as strangers.

    flagged: (U,) mask, or user ids. Raises `DataError` for an unknown id or another length.
    """
    return _without_users(dataset, _user_mask(dataset, flagged), None)


def drop_events(dataset: Dataset, flagged: Mask) -> Filtered:
    """Without those events. flagged: (E,) mask over `dataset.events`; reviews stay.

    Raises `DataError` for another length.
    """
    return _without(dataset, _checked(dataset, flagged, dataset.n_events, "event"), None)


def down_weight(dataset: Dataset, trust: Floats) -> Filtered:
    """Each event's weight times the trust in its user; events that come to 0 are dropped.

    trust: (U,) in [0, 1]. Models that read `weight` in events learn less from them; for
    sequence models, which count every event alike, see the objective `reweighted`. Raises
    `DataError` for another length or range.
    """
    of_users: Numbers = np.asarray(trust, dtype=np.float64)
    if of_users.shape != (dataset.n_users,) or not ((of_users >= 0) & (of_users <= 1)).all():
        raise DataError(f"expected {dataset.n_users} weights in [0, 1], one for each user")
    factors = of_users[dataset.events["user"].to_numpy()]
    events = dataset.events.with_columns(
        weight=(pl.col("weight") * pl.Series(factors)).cast(pl.Float32)
    )
    lighter = replace(dataset, events=events)
    record = _record(lighter, (factors < 1) & (factors > 0), "down-weighted", None)
    out = _without(lighter, (events["weight"] == 0).to_numpy(), None)
    changed = f"{record.height} events count less, as their users are trusted less."
    return Filtered(
        dataset=out.dataset.noted(changed) if record.height else out.dataset,
        record=pl.concat([out.record, record]),
    )


def filtered(
    dataset: Dataset,
    scores: Floats,
    *,
    share: float | None = None,
    threshold: float | None = None,
) -> Filtered:
    """Without the users whom a detector finds most suspicious.

    scores: (U,) of a `Detector`. Give one of share, in [0, 1]: so many of the judged users,
    rounded down, by falling score and of equal scores the first; or threshold: all with a
    higher score. Raises `DataError` for both or neither, or another length or range.
    """
    of_users: Numbers = np.asarray(scores, dtype=np.float64)
    if of_users.shape != (dataset.n_users,):
        raise DataError(f"expected {dataset.n_users} scores, one for each user")
    if (share is None) == (threshold is None):
        raise DataError("give a share or a threshold", remedy="one of the two")
    judged = ~np.isnan(of_users)
    if threshold is not None:
        return _without_users(dataset, judged & (of_users > threshold), of_users)
    assert share is not None
    if not 0 <= share <= 1:
        raise DataError(f"a share lies in [0, 1] (is {share})", field="share")
    order = np.argsort(np.where(judged, -of_users, np.inf), kind="stable")
    flagged = np.zeros(dataset.n_users, dtype=bool)
    flagged[order[: int(share * judged.sum() + 1e-9)]] = True
    return _without_users(dataset, flagged, of_users)


def _without_users(dataset: Dataset, flagged: Mask, scores: Numbers | None) -> Filtered:
    out = _without(dataset, flagged[dataset.events["user"].to_numpy()], scores)
    if dataset.reviews is None:
        return out
    kept = dataset.reviews.filter(pl.Series(~flagged[dataset.reviews["user"].to_numpy()]))
    return replace(out, dataset=replace(out.dataset, reviews=kept))


def _without(dataset: Dataset, gone: Mask, scores: Numbers | None) -> Filtered:
    record = _record(dataset, gone, "dropped", scores)
    if not record.height:
        return Filtered(dataset=dataset, record=record)
    users = record["user_id"].n_unique()
    kept = dataset.where(pl.Series(~gone)).noted(
        f"Filtering dropped {record.height} events of {users} users before training."
    )
    return Filtered(dataset=kept, record=record.with_columns(weight=pl.lit(0.0)))


def _record(dataset: Dataset, chosen: Mask, action: str, scores: Numbers | None) -> pl.DataFrame:
    events = dataset.events.filter(pl.Series(chosen, dtype=pl.Boolean))
    users = events["user"]
    made = pl.DataFrame(
        {
            "action": pl.Series([action] * events.height, dtype=pl.Utf8),
            "user_id": dataset.users["user_id"].gather(users),
            "item_id": dataset.items["item_id"].gather(events["item"]),
            "time": events["time"],
            "weight": events["weight"],
            "score": [None] * events.height if scores is None else scores[users.to_numpy()],
        },
        schema_overrides={"score": pl.Float64()},
    )
    return made.select(list(_RECORD)).cast(_RECORD)


def _user_mask(dataset: Dataset, flagged: Mask | Sequence[str]) -> Mask:
    if isinstance(flagged, np.ndarray):
        return _checked(dataset, flagged, dataset.n_users, "user")
    out = np.zeros(dataset.n_users, dtype=bool)
    for name in flagged:
        if name not in dataset.user_rows:
            raise DataError(f"{dataset.name}: no user '{name}'", remedy="use ids of the user table")
        out[dataset.user_rows[name]] = True
    return out


def _checked(dataset: Dataset, flagged: Mask, n: int, what: str) -> Mask:
    if flagged.dtype != np.bool_ or flagged.shape != (n,):
        raise DataError(f"{dataset.name}: expected a mask of {n}, one for each {what}")
    return flagged
