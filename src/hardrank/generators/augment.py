"""What a generator of interests is good for beside attack: more events for users with few, and
histories that were tampered with, to train on and to be tested by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.data import Dataset, Queries
from hardrank.data.dataset import EVENT_COLUMNS
from hardrank.errors import DataError
from hardrank.types import Ints, Share

__all__ = ["Place", "PopularProposer", "Proposer", "augmented", "edited", "with_edited_copies"]

Place = Literal["before-last", "first"]
"""Where generated events stand in a history: right before the last real one, or before all."""


class Proposer(Protocol):
    """Draws profiles for given histories, as `InterestGenerator.sample` does."""

    def sample(
        self,
        conditions: Queries,
        rng: np.random.Generator,
        *,
        length: int | None = None,
        keep: Share | None = None,
    ) -> list[Ints]:
        """One profile a condition, item rows, each once. keep None: `length` items drawn
        freely, best first; a share: the condition's different items in their order, of which
        at least that share stays."""
        ...


@dataclass(frozen=True, eq=False)
class PopularProposer:
    """The control of every generator: items by popularity, whoever it is for."""

    counts: Ints
    """(I,) events of each item in training; an item without any is never drawn."""

    def sample(
        self,
        conditions: Queries,
        rng: np.random.Generator,
        *,
        length: int | None = None,
        keep: Share | None = None,
    ) -> list[Ints]:
        """See `Proposer`. A free profile is shorter where too few items are left."""
        out = []
        with np.errstate(divide="ignore"):
            odds = np.log(self.counts.astype(np.float64))
        for q in range(len(conditions)):
            own = _once(conditions.history(q))
            drawn = odds + rng.gumbel(size=len(odds))
            if keep is None:
                out.append(_highest(drawn, len(own) if length is None else length))
                continue
            drawn[own] = -np.inf
            gone = len(own) - int(np.ceil(keep * len(own) - 1e-9))
            fresh = _highest(drawn, gone)
            made = own.copy()
            made[np.sort(rng.permutation(len(own))[: len(fresh)])] = fresh
            out.append(made)
        return out


def augmented(
    train: Dataset,
    proposer: Proposer,
    rng: np.random.Generator,
    *,
    fewer_than: int = 5,
    add: int = 5,
    weight: float = 0.5,
    place: Place = "before-last",
) -> Dataset:
    """Users with at least one and fewer than `fewer_than` events get `add` generated ones.

    The generator sees a user's training events and nothing else, so it can repeat no held-out
    event but by guessing it. No item is added that the user already has. weight: of a
    generated event, in (0, 1], for models that read weights. place: `before-last` keeps the
    newest event real, so that no sequence ends in an invention; generated events have the time
    of the real one before them (of the one after, where none is before), and the lower median
    of the user's ratings, if there are any.

    Fewer than `add` are added only where the catalogue holds no more. Raises `DataError` for
    numbers out of range.
    """
    if not 0 < weight <= 1 or add < 1 or fewer_than < 2:
        raise DataError(
            "augmentation: weight must lie in (0, 1], add be 1 or more, fewer_than 2 or more"
        )
    lengths = np.diff(train.offsets)
    users = np.flatnonzero((lengths > 0) & (lengths < fewer_than))
    if not len(users):
        return train.noted(f"No user has fewer than {fewer_than} events: none was generated.")
    conditions = train.histories().take(users)
    wanted = min(add + int(conditions.lengths.max()), train.n_items)
    found = proposer.sample(conditions, rng, length=wanted)
    rows = []
    for q, user in enumerate(users.tolist()):
        fresh = found[q][~np.isin(found[q], conditions.history(q))][:add]
        rows += _generated(train, user, fresh.tolist(), weight, place)
    return _merged(train, rows).noted(
        f"{len(rows)} generated events were added to {len(users)} users with fewer than "
        f"{fewer_than} events, with weight {weight}."
    )


def edited(
    queries: Queries,
    proposer: Proposer,
    rng: np.random.Generator,
    *,
    keep: Share,
    barred: Ints | None = None,
) -> Queries:
    """The same queries with at most a share of 1 - keep of each history's items replaced.

    What stays has its place; repeats of an item count once and go. barred: (Q,) an item for
    each query that may not come into its history (its held-out one, which would hide it from
    the ranking); the original event stays there instead.
    """
    found = proposer.sample(queries, rng, keep=keep)
    histories = []
    for q, made in enumerate(found):
        own = _once(queries.history(q))
        history = made[: len(own)].copy()
        if barred is not None:
            wrong = history == barred[q]
            history[wrong] = own[wrong]
        histories.append(history.tolist())
    return Queries.of(histories, queries.users.tolist(), queries.texts)


def with_edited_copies(
    train: Dataset,
    proposer: Proposer,
    rng: np.random.Generator,
    *,
    keep: Share,
    weight: float = 1.0,
) -> Dataset:
    """Beside each user of two events or more, a copy whose history was tampered with.

    The copy's last event is the user's own: what comes next is learned from the tampered
    history, too. Copies are users of their own at the end of the table, with ratings and times
    of the events they replace; no test history names them. Raises `DataError` for a weight
    outside (0, 1].
    """
    if not 0 < weight <= 1:
        raise DataError(f"a copy's weight lies in (0, 1] (is {weight})")
    firsts = [_firsts(train, user) for user in range(train.n_users)]
    users = [user for user, rows in enumerate(firsts) if len(rows) > 1]
    if not users:
        return train.noted("No user has two events: none was copied.")
    items = [train.event_items[firsts[u]] for u in users]
    last = np.array([history[-1] for history in items], dtype=np.int64)
    before = Queries.of([history[:-1].tolist() for history in items], users)
    made = edited(before, proposer, rng, keep=keep, barred=last)
    rows = np.concatenate([firsts[u] for u in users])
    sizes = [len(history) for history in items]
    histories = [np.append(made.history(q), last[q]) for q in range(len(users))]
    owners = train.n_users + np.repeat(np.arange(len(users)), sizes)
    events = train.events[rows].with_columns(
        user=pl.Series(owners, dtype=pl.Int32),
        item=pl.Series(np.concatenate(histories), dtype=pl.Int32),
        weight=(pl.col("weight") * weight).cast(pl.Float32),
    )
    names = pl.DataFrame({"user_id": _copies(train, len(users))})
    return replace(
        train,
        users=pl.concat([train.users, names], how="diagonal"),
        events=pl.concat([train.events, events]),
    ).noted(f"{len(users)} tampered copies of users were added for training.")


def _generated(
    train: Dataset, user: int, items: Sequence[int], weight: float, place: Place
) -> list[tuple[int, int, int | None, float | None, float, int]]:
    """Event rows, each with the row of the real event that it stands before."""
    start, end = int(train.offsets[user]), int(train.offsets[user + 1])
    at = end - 1 if place == "before-last" else start
    time = train.events["time"][max(at - 1, start)]
    ratings = train.events["rating"][start:end].drop_nulls().sort()
    rating = float(ratings[(len(ratings) - 1) // 2]) if len(ratings) else None
    return [(user, item, time, rating, weight, at) for item in items]


def _merged(
    train: Dataset, rows: list[tuple[int, int, int | None, float | None, float, int]]
) -> Dataset:
    made = pl.DataFrame(rows, schema={**EVENT_COLUMNS, "_at": pl.Int64()}, orient="row")
    real = train.events.with_row_index("_at").with_columns(pl.col("_at").cast(pl.Int64))
    both = pl.concat([made, real.select(made.columns)])  # generated ones first, where _at ties
    events = both.sort("_at", maintain_order=True).drop("_at")
    return replace(train, events=events.select(list(EVENT_COLUMNS)))


def _firsts(train: Dataset, user: int) -> Ints:
    """Rows of the user's first event with each item, oldest first."""
    start, end = int(train.offsets[user]), int(train.offsets[user + 1])
    _, first = np.unique(train.event_items[start:end], return_index=True)
    return np.asarray(start + np.sort(first), dtype=np.int64)


def _once(history: Ints) -> Ints:
    _, first = np.unique(history, return_index=True)
    return history[np.sort(first)]


def _highest(values: NDArray[np.float64], k: int) -> Ints:
    """At most k finite ones, highest first."""
    order = np.argsort(-values, kind="stable")[:k]
    return order[np.isfinite(values[order])].astype(np.int64)


def _copies(train: Dataset, count: int) -> list[str]:
    """Ids that nobody has."""
    taken, out, number = train.user_rows, list[str](), 0
    while len(out) < count:
        name = f"copy-{number}"
        number += 1
        if name not in taken:
            out.append(name)
    return out
