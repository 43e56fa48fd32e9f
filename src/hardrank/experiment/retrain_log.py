"""The log of a retraining: what the champion learned from, and what the store brought since."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardrank.bundle import Bundle
from hardrank.data import EVENT_COLUMNS, Dataset
from hardrank.errors import DataError
from hardrank.experiment.retrain_spec import Retraining
from hardrank.serve.catalogue import Catalogue
from hardrank.types import Ints

if TYPE_CHECKING:
    from hardrank.serve.records import EventRow, ItemRow
    from hardrank.serve.store import Store

__all__ = ["Merged", "brought", "catalogue", "earlier", "known_of", "merged", "read_events"]

Mask = NDArray[np.bool_]
_PAGE = 10_000
_FIELDS = ("user_id", "item_id", "time", "rating", "weight", "sequence")
_COLUMNS: dict[str, pl.DataType] = {
    "user_id": pl.Utf8(), "item_id": pl.Utf8(), "time": pl.Int64(), "rating": pl.Float32(),
    "weight": pl.Float32(), "sequence": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Merged:
    """One log of both. Each user has each item once, by the first event."""

    data: Dataset
    sequence: Ints
    """(E,) the store's number of each event; 0 for one of the champion's log."""
    known: int
    """Number up to which the champion has read the store."""
    strangers: frozenset[str]
    """Users of the store whom the champion did not learn from, whatever it read: a retraining
    that kept somebody out has read all that they did."""
    held: tuple[int, int] | None = None
    """Time and number of the first event that the champion's own retraining held out to measure
    quality: from there on it read and learned nothing. None where it held nothing out."""
    left_out: frozenset[int] = frozenset()
    """Numbers of events that the champion read, and a cap kept from its training."""
    dropped: int
    """Events of the store on items that are in no catalogue."""

    @property
    def owners(self) -> Ints:
        """(E,) whose event it is."""
        return self.data.events["user"].to_numpy().astype(np.int64)

    @property
    def new(self) -> Mask:
        """(E,) events that the champion was not trained on: `fresh` ones, and those that its own
        retraining held out or cut. Were these old, whoever comes just before a retraining would
        be an old account to the next one, and nobody would look at what it pushes."""
        if self.held is None:
            return self.fresh | self.left
        times = self.data.events["time"].fill_null(-1).to_numpy()
        late = (times > self.held[0]) | ((times == self.held[0]) & (self.sequence >= self.held[1]))
        new: Mask = self.fresh | self.left | ((self.sequence > 0) & late)
        return new

    @property
    def left(self) -> Mask:
        """(E,) events that a cap kept from the champion."""
        left: Mask = np.isin(self.sequence, sorted(self.left_out))
        return left

    @property
    def doubtful(self) -> Mask:
        """(E,) what newcomers did since the champion was trained, and what a cap kept from it,
        though its account be an old one by now."""
        doubtful: Mask = self.left | (self.new & self.newcomers[self.owners])
        return doubtful

    @property
    def fresh(self) -> Mask:
        """(E,) events that the champion has not read, or read and kept out."""
        strange = self.data.users["user_id"].is_in(list(self.strangers)).to_numpy()
        fresh: Mask = (self.sequence > self.known) | ((self.sequence > 0) & strange[self.owners])
        return fresh

    @property
    def newcomers(self) -> Mask:
        """(U,) new accounts, and those that were warmed up: most of their events the champion was
        not trained on, a share beyond halfway from the usual one to all of them. The usual one
        is the median of accounts that the champion learned from: near 0 the day after it was
        trained, and high for everybody where it is old."""
        owners, size = self.owners, self.data.n_users
        events = np.bincount(owners, minlength=size)
        share = np.bincount(owners[self.new], minlength=size) / np.maximum(events, 1)
        known = (events > 0) & (share < 1)
        usual = float(np.median(share[known])) if known.any() else 0.0
        newcomers: Mask = share > (1 + usual) / 2
        return newcomers

    def users(self, events: Mask) -> Mask:
        """(U,) who has one of those events."""
        out: Mask = np.zeros(self.data.n_users, dtype=np.bool_)
        out[self.owners[events]] = True
        return out

    def where(self, events: Mask, users: Mask | None = None) -> "Merged":
        """Only those events; with `users`, only those users, too, in rows of their own."""
        data, sequence = self.data.where(pl.Series(events)), self.sequence[events]
        if users is not None:
            rows = np.cumsum(users) - 1
            owners = rows[data.events["user"].to_numpy()]
            data = replace(
                data,
                users=data.users.filter(pl.Series(users)),
                events=data.events.with_columns(pl.Series("user", owners, dtype=pl.Int32())),
            )
        return replace(self, data=data, sequence=sequence)


def read_events(store: "Store", until: int | None = None) -> "list[EventRow]":
    """All of the store's events up to number `until`, in order. Raises `StoreError`."""
    found: list[EventRow] = []
    last = 0
    while page := store.events_since(last, _PAGE):
        found += page
        last = page[-1].sequence
        if until is not None and last >= until:
            break
    return [e for e in found if until is None or e.sequence <= until]


def known_of(champion: Bundle, events: "Sequence[EventRow]") -> int:
    """Number up to which the champion has read the store; 0 for one that no retraining made.

    Raises `DataError` where the store is another one, or a former state of it: there the same
    numbers are other events, and what came in since would pass for known.
    """
    past = champion.about.get("retraining") or {}
    number, received = int(past.get("read", 0)), past.get("read_at")
    last = next((e for e in reversed(events) if e.sequence <= number), None)
    other = last is not None and last.sequence == number and received not in (None, last.received)
    if other or (number and not events):
        raise DataError(
            f"the champion has read another store, up to event {number}",
            remedy="give the store that it was retrained on, or a champion that was not",
        )
    return number


def brought(events: "Iterable[EventRow]", spec: Retraining) -> pl.DataFrame:
    """What of the store's events is trained on: of the kinds asked for, since the time asked
    for, of a weight above 0 (at most 1 counts). Who sends an event says when it was; one that
    says later than it came in would choose itself for the newest, which measure quality."""
    rows = [
        (e.user_id, e.item_id, min(e.time, e.received), None, min(e.weight, 1.0), e.sequence)
        for e in events
        if e.weight > 0 and e.received >= spec.since and (not spec.kinds or e.kind in spec.kinds)
    ]
    return pl.DataFrame(rows, schema=_COLUMNS, orient="row")


def earlier(spec: Retraining, champion: Bundle) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Items, events and users of the champion's log: of `data`, else of the bundle, which
    knows the order of events and no times."""
    if spec.data is None:
        items = champion.recommender.items
        rows: list[Any] = [
            (user, item, None, None, 1.0, 0)
            for user, history in champion.histories.items()
            for item in history
        ]
        events = pl.DataFrame(rows, schema=_COLUMNS, orient="row")
        return items, events, list(champion.histories)
    source: Any = spec.data
    data: Dataset = source.load()
    if spec.labels is not None:
        from hardrank.data.labels import apply

        data = apply(spec.labels, data)
    events = data.events.select(
        data.users["user_id"].gather(data.events["user"]).alias("user_id"),
        data.items["item_id"].gather(data.events["item"]).alias("item_id"),
        "time", "rating", "weight", pl.lit(0, dtype=pl.Int64()).alias("sequence"),
    )  # fmt: skip
    return data.items, events, data.users["user_id"].to_list()


def catalogue(items: pl.DataFrame, changes: "Iterable[ItemRow]") -> pl.DataFrame:
    """The items that are live now, with the texts that stand: those of the log in their order,
    then new ones. What the store holds back or deleted is not there."""
    shelf = Catalogue(items)
    for change in changes:
        if change.state == "live":
            shelf.put(change.item_id, change.fields)
        else:
            shelf.remove(change.item_id)
    nested = [n for n, kind in items.schema.items() if kind.is_nested()]
    table = shelf.frame().join(
        items.select("item_id", *nested), on="item_id", how="left", maintain_order="left"
    )
    alive = np.ones(table.height, dtype=np.bool_)
    alive[list(shelf.dead)] = False
    return table.filter(pl.Series(alive))


def merged(
    spec: Retraining, champion: Bundle, events: "Sequence[EventRow]", store: "Store", known: int
) -> Merged:
    """The champion's log and those events of the store, by time. Users who were erased are not
    in it. Raises `DataError` when nothing is left, `StoreError`."""
    items, log, names = earlier(spec, champion)
    items = catalogue(items, store.items(("live", "quarantined", "rejected", "deleted")))
    added = brought(events, spec)
    gone = _erased(store, dict.fromkeys([*names, *added["user_id"]]))
    table = pl.concat([log, added])
    at = {item: n for n, item in enumerate(items["item_id"])}
    here = added["item_id"].is_in(list(at))
    newcomers = added.filter(here)["user_id"].unique(maintain_order=True).to_list()
    users = [u for u in dict.fromkeys([*names, *newcomers]) if u not in gone]
    rows = {user: n for n, user in enumerate(users)}
    table = table.with_columns(
        user=_places(table["user_id"], rows), item=_places(table["item_id"], at)
    )
    table = table.drop_nulls(["user", "item"])
    if not table.height:
        raise DataError("neither the champion's log nor the store has an event on a live item")
    table = _ordered(table).unique(["user", "item"], keep="first", maintain_order=True)
    past = champion.about.get("retraining") or {}
    held = past.get("held")
    data = Dataset(
        name=str(champion.about.get("dataset", "store")),
        users=pl.DataFrame({"user_id": users}),
        items=items,
        events=table.select(list(EVENT_COLUMNS)),
        synthetic=bool(champion.about.get("synthetic")),
    )
    return Merged(
        data=data, sequence=table["sequence"].to_numpy().astype(np.int64), known=known,
        dropped=int((~here).sum()), strangers=frozenset(newcomers) - frozenset(champion.histories),
        held=None if held is None else (int(held[0]), int(held[1])),
        left_out=frozenset(map(int, past.get("left_out", ()))),
    )  # fmt: skip


def _ordered(table: pl.DataFrame) -> pl.DataFrame:
    """By user, then time; events of the log stand before those of the store where a time is
    not known, and in the order of the log."""
    brought = pl.col("sequence") > 0
    if table.filter(~brought)["time"].null_count():  # the log's order is all there is
        when = pl.when(brought).then("time")
        return table.sort("user", brought, when, "sequence", maintain_order=True)
    return table.sort("user", "time", "sequence", maintain_order=True)


def _places(names: pl.Series, rows: Mapping[str, int]) -> pl.Series:
    found = [rows.get(name) for name in names]
    return pl.Series(found, dtype=pl.Int32())


def _erased(store: "Store", users: Iterable[str]) -> set[str]:
    found, rest = set[str](), iter(users)
    for some in _chunks(rest, 5_000):
        found |= store.erased(u for u in some if 0 < len(u) <= 256)
    return found


def _chunks(rest: Iterator[str], size: int) -> Iterator[list[str]]:
    while some := list(islice(rest, size)):
        yield some
