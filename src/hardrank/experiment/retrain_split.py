"""What of the merged log is trained on, what stops training, and what measures it."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.context import derive
from hardrank.data import Dataset, Holdout, Queries
from hardrank.errors import DataError
from hardrank.experiment.retrain_log import Merged
from hardrank.experiment.retrain_spec import Retraining
from hardrank.types import Ints

__all__ = ["Cut", "cut"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class Cut:
    """Three parts of one log; no held-out event is in `train`."""

    train: Dataset
    learned: Mask
    """(E,) events of the log that `train` has."""
    valid: Holdout
    test: Holdout
    """The newest events that the store brought, of newcomers and of others, the first of each
    user: neither the champion nor the challenger learned from them."""
    held: tuple[int, int]
    """Time and number of the first event that is held out."""


def cut(log: Merged, spec: Retraining) -> Cut:
    """Raises `DataError` when the champion has read all there is, or too little is new."""
    new = np.flatnonzero(log.fresh)
    if not len(new):
        raise DataError(
            "the store has no event that the champion has not read: there is nothing to learn",
            remedy="wait for events, or check `since` and `kinds`",
        )
    times = log.data.events["time"].to_numpy()
    order = new[np.lexsort((log.sequence[new], times[new]))]
    newest = _newest(order, log.newcomers[log.owners[order]], spec.held_out)
    first = newest.min()
    newest = order[newest]
    held: Mask = np.zeros(log.data.n_events, dtype=np.bool_)
    held[newest] = True
    places = np.arange(log.data.n_events) - log.data.offsets[log.owners]
    asked = np.flatnonzero(held & (places > 0))
    asked = asked[np.unique(log.owners[asked], return_index=True)[1]]
    if not len(asked):
        raise DataError(
            "none of the newest events is of a user with an earlier one: nothing measures quality",
            remedy="raise `held_out`, or wait for more events",
        )
    stops = _stops(log, held, spec)
    test = _holdout(log.data, asked, ~held)
    learned = ~held
    learned[stops] = False
    return Cut(
        train=log.data.where(pl.Series(learned)), learned=learned,
        valid=_holdout(log.data, stops, learned), test=test,
        held=(int(times[order[first]]), int(log.sequence[order[first]])),
    )  # fmt: skip


def _newest(order: Ints, came: Mask, share: float) -> Ints:
    """Places in `order` of the newest events of newcomers (came: (N,) whose they are) and of
    everybody else, the share of each: a flood of newcomers' events would else leave none of
    users known from before to measure quality on."""
    parts = [np.flatnonzero(came == group) for group in (False, True)]
    held = np.concatenate([part[len(part) - int(share * len(part)) :] for part in parts])
    return held if len(held) else np.asarray([len(order) - 1], dtype=np.int64)


def _stops(log: Merged, held: Mask, spec: Retraining) -> Ints:
    """The last event that is left of some users with three or more; none that a cap kept from
    the champion."""
    free = np.flatnonzero(~held & ~log.left)
    owners = log.owners[free]
    last = free[np.flatnonzero(np.diff(owners, append=-1))]
    many = np.bincount(owners, minlength=log.data.n_users) >= 3
    last = last[many[log.owners[last]]]
    rng = np.random.default_rng(derive(spec.seed, "stopping"))
    size = round(spec.valid * len(last))
    return np.sort(rng.choice(last, size=size, replace=False)).astype(np.int64)


def _holdout(data: Dataset, events: Ints, before: Mask) -> Holdout:
    """Each event asked for after the events of its user before it that `before` selects (a
    held-out event before another one is no history: whoever reads it has not seen it)."""
    owners = data.events["user"].to_numpy().astype(np.int64)[events]
    histories = []
    for event, owner in zip(events.tolist(), owners.tolist(), strict=True):
        past = np.arange(data.offsets[owner], event)
        histories.append(data.event_items[past[before[past]]].tolist())
    return Holdout(
        queries=Queries.of(histories, users=owners.tolist()), targets=data.event_items[events]
    )
