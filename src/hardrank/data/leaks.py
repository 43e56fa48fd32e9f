"""What a splitter gives, and the referee that catches a split which lets the future in."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hardrank.data.dataset import Dataset
from hardrank.data.queries import Holdout
from hardrank.errors import LeakError
from hardrank.types import Ints

__all__ = ["Split", "check_leaks"]

_REMEDY = "split again with one of hardrank's splitters"


@dataclass(frozen=True, eq=False, kw_only=True)
class Split:
    """One dataset cut in three. `train` keeps all users and the whole catalogue (row numbers
    are those of the dataset that was split) with the training events alone."""

    train: Dataset
    valid: Holdout
    """Early stopping and tuning look here."""
    test: Holdout
    """Read once, for the report."""
    protocol: str
    """How it was cut, in words: printed beside every number."""
    cold: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Item rows whose events were hidden from training and from all histories."""
    source: Dataset | None = None
    """What was cut: the order of events against which leaks are checked. Not for training."""
    cut: int | None = None
    """Unix seconds; no training event is at or after it. None where the cut is per user."""


def check_leaks(split: Split) -> None:
    """Raises `LeakError`, which names user, item and reason, when a held-out pair is among
    the training events, a history holds its own target, an event at or after the held-out
    one is in the user's history or training events, a training event is at or after the
    global cut, a cold item is trained on or stands in a history, or validation and test
    hold out the same pair. Order is checked against `split.source` (its rows, then its
    times); without a source, only what needs no order is checked.
    """
    trained = _keys(split.train, split.train.events["user"].to_numpy(), split.train.event_items)
    held = {name: _held(split.train, part) for name, part in _parts(split)}
    for name, part in _parts(split):
        _complain(
            split.train,
            held[name][np.isin(held[name], trained)],
            f"the held-out {name} pair is also a training event",
        )
        owners = part.queries.owners
        own = part.queries.items == part.targets[owners]
        _complain(
            split.train,
            held[name][np.unique(owners[own])],
            f"the {name} history contains its own target",
        )
    _complain(
        split.train,
        held["valid"][np.isin(held["valid"], held["test"])],
        "the pair is held out for validation and for test",
    )
    _check_cold(split, trained)
    _check_cut(split, trained)
    if split.source is not None:
        _check_order(split, split.source, trained, held)


def _parts(split: Split) -> Iterator[tuple[str, Holdout]]:
    yield "valid", split.valid
    yield "test", split.test


def _keys(data: Dataset, users: NDArray[np.integer], items: Ints) -> Ints:
    """One number for each (user, item) pair."""
    return users.astype(np.int64) * data.n_items + items


def _held(data: Dataset, part: Holdout) -> Ints:
    return _keys(data, part.queries.users, part.targets)


def _complain(data: Dataset, keys: Ints, reason: str) -> None:
    if not len(keys):
        return
    user, item = divmod(int(keys[0]), data.n_items)
    who = data.users["user_id"][user] if 0 <= user < data.n_users else "nobody"
    more = f" ({len(keys)} such pairs)" if len(keys) > 1 else ""
    raise LeakError(
        f"user '{who}', item '{data.items['item_id'][item]}': {reason}{more}", remedy=_REMEDY
    )


def _check_cold(split: Split, trained: Ints) -> None:
    cold = np.zeros(split.train.n_items, dtype=bool)
    cold[split.cold] = True
    _complain(
        split.train, trained[cold[split.train.event_items]], "the cold item has training events"
    )
    for name, part in _parts(split):
        history = part.queries.items
        keys = _keys(split.train, part.queries.users[part.queries.owners], history)
        _complain(split.train, keys[cold[history]], f"the cold item stands in a {name} history")


def _check_cut(split: Split, trained: Ints) -> None:
    if split.cut is not None:
        late = (split.train.events["time"] >= split.cut).fill_null(True).to_numpy()
        _complain(
            split.train,
            trained[late],
            f"the training event is at or after the cut (unix time {split.cut})",
        )


def _check_order(split: Split, source: Dataset, trained: Ints, held: dict[str, Ints]) -> None:
    everything = _keys(source, source.events["user"].to_numpy(), source.event_items)
    pairs, rows = np.unique(everything, return_index=True)  # rows: first event of each pair
    times = source.events["time"].to_numpy().astype(np.float64)  # null becomes nan
    for name, part in _parts(split):
        target = _rows(split.train, pairs, rows, held[name], f"the {name} pair is no known event")
        owners = part.queries.owners
        seen = _keys(source, part.queries.users[owners], part.queries.items)
        at = _rows(split.train, pairs, rows, seen, f"the {name} history holds an unknown event")
        late = (at >= target[owners]) | (times[at] > times[target[owners]])
        _complain(
            split.train,
            seen[late],
            f"the {name} history holds an event that is later than its target",
        )
        # one user may have many held-out events: the earliest is the one to be kept from
        first = np.full(source.n_users, source.n_events)
        np.minimum.at(first, part.queries.users, target)
        users = split.train.events["user"].to_numpy()
        row = _rows(split.train, pairs, rows, trained, "the training event is no known event")
        bound = np.append(times, np.nan)[first[users]]
        own = split.train.events["time"].to_numpy().astype(np.float64)
        _complain(
            split.train,
            trained[(row >= first[users]) | (own > bound)],
            f"the training event is later than the user's held-out {name} event",
        )


def _rows(data: Dataset, pairs: Ints, rows: Ints, keys: Ints, reason: str) -> Ints:
    """Source row of the first event of each pair."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64)
    at = np.minimum(np.searchsorted(pairs, keys), len(pairs) - 1)
    _complain(data, keys[pairs[at] != keys], reason)
    return rows[at]
