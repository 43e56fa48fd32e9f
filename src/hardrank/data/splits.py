"""Splits by time: leave-one-out, one global cut, and items hidden from training."""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import polars as pl
from annotated_types import Ge, Gt, Lt
from numpy.typing import NDArray
from pydantic import Field

from hardrank.context import derive
from hardrank.data.dataset import Dataset
from hardrank.data.leaks import Split, check_leaks
from hardrank.data.queries import Holdout, Queries
from hardrank.errors import DataError
from hardrank.types import Ints, Natural, Share, spec

__all__ = [
    "GlobalTemporal",
    "LeaveOneOut",
    "Split",
    "Splitter",
    "check_leaks",
    "cold_split",
    "hide_items",
]

Dedupe = Literal["first", "none"]
Mask = NDArray[np.bool_]


@spec
class LeaveOneOut:
    """Last event of each user is the test, the second-last the validation target.

    The test history is everything before it, validation event included; the validation
    history is the user's training events. Events with equal times keep the order of the
    file.
    """

    kind: Literal["leave-one-out"] = "leave-one-out"
    min_events: Annotated[int, Ge(3)] = 3
    """Users with fewer events stay wholly in training."""
    dedupe: Dedupe = "first"
    """`first` keeps a user's first event with each item, before anything is cut: a target
    that was seen before could never be ranked. `none` keeps repeats for training and
    leaves out held-out events whose item was seen before."""

    def split(self, dataset: Dataset) -> Split:
        """Raises `DataError` when no user has enough events."""
        data = _prepared(dataset, self.dedupe)
        users = data.events["user"].to_numpy().astype(np.int64)
        lengths = np.diff(data.offsets)
        left = data.offsets[1:][users] - np.arange(data.n_events)  # 1 for the last event
        kept = lengths[users] >= self.min_events
        if not kept.any():
            raise DataError(
                f"{data.name}: no user has {self.min_events} events or more",
                remedy="lower min_events or bring more events",
            )
        short = int(((lengths < self.min_events) & (lengths > 0)).sum())
        train = data.where(pl.Series(~kept | (left > 2))).noted(
            f"Leave-one-out: {short} users with fewer than {self.min_events} events"
            " stay wholly in training."
        )
        return Split(
            train=train,
            valid=_holdout(data, np.flatnonzero(kept & (left == 2))),
            test=_holdout(data, np.flatnonzero(kept & (left == 1))),
            protocol=f"leave-one-out (users with {self.min_events} events or more; {self._says})",
            source=data,
        )

    @property
    def _says(self) -> str:
        return _DEDUPE[self.dedupe]


@spec
class GlobalTemporal:
    """Two cuts in time for everyone: train before the first, validate between, test after.

    The cuts are quantiles of all event times. A target's history is all the user's events
    before it, also those after a cut, so that only training is cut, as it would be for a
    model that is trained at a point of time and then serves.
    """

    kind: Literal["global-temporal"] = "global-temporal"
    valid_share: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Share of all events between the two cuts."""
    test_share: Annotated[float, Gt(0), Lt(1)] = 0.1
    """Share of all events after the second cut."""
    targets: Literal["first", "all"] = "first"
    """Of a user's events in the window that touch an item new to the user: the first, or all."""
    min_history: Natural = 1
    """Held-out events with fewer events before them are left out."""
    dedupe: Dedupe = "first"
    """As in `leave-one-out`."""

    def split(self, dataset: Dataset) -> Split:
        """Raises `DataError` when an event has no time or a part would be empty."""
        data = _prepared(dataset, self.dedupe)
        times = _times(data)
        first, second = self._cuts(data, times)
        between, after = (times >= first) & (times < second), times >= second
        share = f"{self.valid_share:g} valid and {self.test_share:g} test by time"
        return Split(
            train=data.where(pl.Series(times < first)).noted(
                f"Global-temporal: training ends before unix time {first}, test begins at {second}."
            ),
            valid=_holdout(data, self._chosen(data, between)),
            test=_holdout(data, self._chosen(data, after)),
            protocol=f"global-temporal ({share}; {self.targets} unseen item per user; "
            f"{_DEDUPE[self.dedupe]})",
            source=data,
            cut=first,
        )

    def _cuts(self, data: Dataset, times: Ints) -> tuple[int, int]:
        ends = (1 - self.valid_share - self.test_share, 1 - self.test_share)
        if ends[0] <= 0:
            raise DataError(
                "valid_share and test_share leave nothing to train on",
                field="valid_share",
                remedy="let them sum to less than 1",
            )
        low, high = (int(t) for t in np.quantile(times, ends, method="higher"))
        if not times.min() < low < high:
            raise DataError(
                f"{data.name}: too few distinct times to cut in three",
                field="time",
                remedy="use leave-one-out",
            )
        return low, high

    def _chosen(self, data: Dataset, window: Mask) -> Ints:
        """Event rows held out in the window."""
        within = np.arange(data.n_events) - np.repeat(data.offsets[:-1], np.diff(data.offsets))
        rows = np.flatnonzero(window & _new(data) & (within >= self.min_history))
        if self.targets == "all":
            return rows
        return rows[np.unique(data.events["user"].to_numpy()[rows], return_index=True)[1]]


Splitter = Annotated[LeaveOneOut | GlobalTemporal, Field(discriminator="kind")]

_DEDUPE: dict[Dedupe, str] = {
    "first": "repeats of an item by a user removed, first kept",
    "none": "repeats kept, held-out items are new to the user",
}


def hide_items(dataset: Dataset, share: Share, seed: int) -> tuple[Dataset, Ints]:
    """The dataset without any event of a random share of its items, and those item rows
    (sorted). The catalogue keeps them, so that item rows stay what they are."""
    rng = np.random.default_rng(derive(seed, "cold items"))
    n = round(share * dataset.n_items)
    cold = np.sort(rng.choice(dataset.n_items, size=n, replace=False)).astype(np.int64)
    hidden = _mask(dataset, cold)
    return dataset.where(pl.Series(~hidden[dataset.event_items])), cold


def cold_split(
    dataset: Dataset, splitter: LeaveOneOut | GlobalTemporal, share: Share, seed: int
) -> Split:
    """A split in which a random share of the items is new at test time.

    Their events leave training and all histories (a history may become empty). Validation
    loses the held-out events that touch them; test keeps every user, so that warm and cold
    targets are measured side by side: cold ones are `np.isin(test.targets, split.cold)`.
    """
    split = splitter.split(dataset)
    train, cold = hide_items(split.train, share, seed)
    hidden = _mask(dataset, cold)
    gone = split.train.n_events - train.n_events
    return replace(
        split,
        train=train.noted(f"{len(cold)} items hidden from training with their {gone} events."),
        valid=_without(split.valid, hidden).take(np.flatnonzero(~hidden[split.valid.targets])),
        test=_without(split.test, hidden),
        protocol=f"{split.protocol}; {share:.0%} of items hidden from training (seed {seed})",
        cold=cold,
    )


def _prepared(dataset: Dataset, dedupe: Dedupe) -> Dataset:
    """In order of user, time, file; each pair once if so asked."""
    data = dataset
    if not data.events["time"].null_count():
        data = replace(data, events=data.events.sort("user", "time", maintain_order=True))
    if dedupe == "none":
        return data
    out = data.where(pl.Series(_new(data)))
    gone = data.n_events - out.n_events
    return out.noted(f"{gone} repeated user-item events removed, first kept.") if gone else out


def _new(data: Dataset) -> Mask:
    """(events,): True for a user's first event with an item."""
    keys = data.events["user"].to_numpy().astype(np.int64) * data.n_items + data.event_items
    out = np.zeros(len(keys), dtype=bool)
    out[np.unique(keys, return_index=True)[1]] = True
    return out


def _times(data: Dataset) -> Ints:
    if data.n_events == 0 or data.events["time"].null_count():
        raise DataError(
            f"{data.name}: a global-temporal split needs the time of every event",
            field="time",
            remedy="use leave-one-out, or drop events without a time",
        )
    return data.events["time"].to_numpy()


def _holdout(data: Dataset, rows: Ints) -> Holdout:
    """Hold out the events at `rows`, each with all the user's events before it; those whose
    item stands in that history are left out."""
    rows = rows[_new(data)[rows]]
    users = data.events["user"].to_numpy()[rows].astype(np.int64)
    starts = data.offsets[users]
    lengths = rows - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    flat = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, lengths)
    queries = Queries(offsets=offsets, items=data.event_items[flat], users=users)
    return Holdout(queries=queries, targets=data.event_items[rows])


def _mask(data: Dataset, items: Ints) -> Mask:
    out = np.zeros(data.n_items, dtype=bool)
    out[items] = True
    return out


def _without(part: Holdout, hidden: Mask) -> Holdout:
    """The same held-out events with hidden items taken out of the histories."""
    queries = part.queries
    keep = ~hidden[queries.items]
    offsets = np.concatenate([[0], np.cumsum(keep)])[queries.offsets].astype(np.int64)
    kept = Queries(offsets=offsets, items=queries.items[keep], users=queries.users)
    return Holdout(queries=kept, targets=part.targets)
