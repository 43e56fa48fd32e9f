"""The world: users, items, events and reviews as immutable columns."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import polars as pl

from hardrank.data.patch import AddProfile, AddReview, InsertEvent, Patch, RewriteItem
from hardrank.data.queries import Queries
from hardrank.errors import DataError, SchemaError
from hardrank.files import digest_bytes
from hardrank.types import Ints

__all__ = ["EVENT_COLUMNS", "Dataset", "render"]

EVENT_COLUMNS: dict[str, pl.DataType] = {
    "user": pl.Int32(),
    "item": pl.Int32(),
    "time": pl.Int64(),
    "rating": pl.Float32(),
    "weight": pl.Float32(),
}
"""`user` and `item` are row numbers of the tables; `time` is unix seconds or null;
`rating` is what the source says or null; `weight` is evidence in (0, 1], 1 a purchase."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Dataset:
    """Users, items and events. Never changed in place: every operation gives a new one.

    Events are sorted by user, then time, then the order of the source file, so that
    user u's history is one slice. Raises `DataError` at construction when ids repeat,
    when an event names a row that is not there, or when the catalogue is empty.
    """

    name: str
    users: pl.DataFrame
    """`user_id` (text, unique) and any attributes (gender, country, ...)."""
    items: pl.DataFrame
    """`item_id` (text, unique), `title` and any further text fields and attributes."""
    events: pl.DataFrame
    """See `EVENT_COLUMNS`."""
    reviews: pl.DataFrame | None = None
    """`user`, `item`, `text`, and optionally `rating`, `time`."""
    synthetic: bool = False
    notes: tuple[str, ...] = field(default=())
    """What was done to it, in order, a sentence each: goes into the data card."""

    def __post_init__(self) -> None:
        for table, column in ((self.users, "user_id"), (self.items, "item_id")):
            if column not in table.columns:
                raise SchemaError(f"table has no column '{column}'", field=column)
            if table[column].n_unique() != table.height:
                twice = table.filter(table[column].is_duplicated())[column][0]
                raise DataError(f"id '{twice}' appears more than once", field=column)
        if self.items.height == 0:
            raise DataError(f"{self.name}: the catalogue is empty", remedy="check the item file")
        for name, kind in EVENT_COLUMNS.items():
            if self.events.schema.get(name) != kind:
                raise SchemaError(f"events need a column '{name}' of {kind}", field=name)
        if self.events.height:
            for column, height in (("user", self.users.height), ("item", self.items.height)):
                rows = self.events[column].to_numpy()
                if rows.min() < 0 or rows.max() >= height:
                    raise DataError(f"an event names a row that the {column} table does not have")
            if not self.events["user"].is_sorted():
                raise DataError("events are not sorted by user")

    @property
    def n_users(self) -> int:
        return self.users.height

    @property
    def n_items(self) -> int:
        return self.items.height

    @property
    def n_events(self) -> int:
        return self.events.height

    @cached_property
    def offsets(self) -> Ints:
        """(U + 1,): user u's events are rows offsets[u]:offsets[u+1]."""
        counts = np.bincount(self.events["user"].to_numpy(), minlength=self.n_users)
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    @cached_property
    def event_items(self) -> Ints:
        return self.events["item"].to_numpy().astype(np.int64)

    @cached_property
    def counts(self) -> Ints:
        """(I,): events per item."""
        return np.bincount(self.event_items, minlength=self.n_items).astype(np.int64)

    @cached_property
    def user_rows(self) -> dict[str, int]:
        return {u: n for n, u in enumerate(self.users["user_id"])}

    @cached_property
    def item_rows(self) -> dict[str, int]:
        return {i: n for n, i in enumerate(self.items["item_id"])}

    def histories(self) -> Queries:
        """One query per user, with the user's whole history."""
        return Queries(offsets=self.offsets, items=self.event_items, users=np.arange(self.n_users))

    def texts(self, fields: tuple[str, ...] = ("title",)) -> list[str]:
        """(I,): what a model reads of each item; see `render`."""
        return render(self.items, fields)

    def where(self, keep: pl.Expr | pl.Series) -> "Dataset":
        """The same users and items with only the events that `keep` selects."""
        return replace(self, events=self.events.filter(keep))

    def noted(self, *sentences: str) -> "Dataset":
        return replace(self, notes=(*self.notes, *sentences))

    def apply(self, patch: Patch) -> "Dataset":
        """The world after the patch. Raises `DataError` on an id or field it does not have."""
        out = self
        if rewrites := [e for e in patch.edits if isinstance(e, RewriteItem)]:
            out = replace(out, items=rewritten(out.items, rewrites))
        for edit in patch.edits:
            if isinstance(edit, InsertEvent):
                out = _inserted(out, edit)
        if profiles := [e for e in patch.edits if isinstance(e, AddProfile)]:
            out = _with_profiles(out, profiles)
        if reviews := [e for e in patch.edits if isinstance(e, AddReview)]:
            out = _with_reviews(out, reviews)
        return out

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all columns: equal data, equal fingerprint, whatever the source format."""
        tables = [self.users, self.items, self.events]
        if self.reviews is not None:
            tables.append(self.reviews)
        return digest_bytes(*(_table_bytes(t) for t in tables))


def render(items: pl.DataFrame, fields: tuple[str, ...]) -> list[str]:
    """(I,): the chosen fields of each item joined by ' . ', empty ones left out.

    Raises `SchemaError` when a field is not a column of the item table.
    """
    for name in fields:
        if name not in items.columns:
            raise SchemaError(
                f"the item table has no field '{name}'",
                field=name,
                remedy=f"it has: {', '.join(items.columns)}",
            )
    columns = [items[name].cast(pl.Utf8).fill_null("").to_list() for name in fields]
    return [" . ".join(p for p in parts if p) for parts in zip(*columns, strict=True)]


def rewritten(items: pl.DataFrame, rewrites: list[RewriteItem]) -> pl.DataFrame:
    """The item table with those rewrites; later ones win."""
    rows = {i: n for n, i in enumerate(items["item_id"])}
    for name in dict.fromkeys(e.field for e in rewrites):
        if name not in items.columns:
            raise SchemaError(f"the item table has no field '{name}'", field=name)
        values = items[name].to_list()
        for edit in (e for e in rewrites if e.field == name):
            if edit.item_id not in rows:
                raise DataError(f"the patch rewrites item '{edit.item_id}', which is not there")
            values[rows[edit.item_id]] = edit.text
        items = items.with_columns(pl.Series(name, values, dtype=pl.Utf8))
    return items


def _inserted(data: Dataset, edit: InsertEvent) -> Dataset:
    if edit.user_id not in data.user_rows or edit.item_id not in data.item_rows:
        raise DataError(f"the patch names '{edit.user_id}' or '{edit.item_id}', not both known")
    user = data.user_rows[edit.user_id]
    start, end = int(data.offsets[user]), int(data.offsets[user + 1])
    at = min(start + edit.position, end)
    time = data.events["time"][min(at, end - 1)] if end > start else None
    row = pl.DataFrame(
        {
            "user": [user],
            "item": [data.item_rows[edit.item_id]],
            "time": [time],
            "rating": [None],
            "weight": [1.0],
        },
        schema=EVENT_COLUMNS,
    )
    events = pl.concat([data.events[:at], row, data.events[at:]], how="diagonal")
    return replace(data, events=events)


def _with_profiles(data: Dataset, profiles: list[AddProfile]) -> Dataset:
    users = pl.concat(
        [data.users, pl.DataFrame({"user_id": [p.user_id for p in profiles]})], how="diagonal"
    )
    unknown = [i for p in profiles for i in p.item_ids if i not in data.item_rows]
    if unknown:
        raise DataError(f"the patch's profiles name unknown item '{unknown[0]}'")
    last = data.events["time"].max()
    rows = []
    for n, profile in enumerate(profiles):
        size = len(profile.item_ids)
        times, ratings = profile.times or [last] * size, profile.ratings or [None] * size
        if len(times) != size or len(ratings) != size:
            raise DataError(
                f"profile '{profile.user_id}' has {size} items, {len(ratings)} ratings and "
                f"{len(times)} times",
                remedy="give as many of each, or no ratings and no times at all",
            )
        if list(times) != sorted(times, key=lambda t: (t is not None, t)):
            raise DataError(
                f"the times of profile '{profile.user_id}' fall", remedy="oldest event first"
            )
        for item, time, rating in zip(profile.item_ids, times, ratings, strict=True):
            rows.append((data.n_users + n, data.item_rows[item], time, rating, 1.0))
    added = pl.DataFrame(rows, schema=EVENT_COLUMNS, orient="row")
    return replace(data, users=users, events=pl.concat([data.events, added], how="diagonal"))


_REVIEW_COLUMNS: dict[str, pl.DataType] = {
    "user": pl.Int32(),
    "item": pl.Int32(),
    "text": pl.Utf8(),
    "rating": pl.Float32(),
    "time": pl.Int64(),
}


def _with_reviews(data: Dataset, reviews: list[AddReview]) -> Dataset:
    """New reviewers stand after all users, in the order of their first review; no event."""
    known = data.user_rows
    new = list(dict.fromkeys(r.user_id for r in reviews if r.user_id not in known))
    rows = known | {name: data.n_users + n for n, name in enumerate(new)}
    unknown = [r.item_id for r in reviews if r.item_id not in data.item_rows]
    if unknown:
        raise DataError(f"the patch reviews item '{unknown[0]}', which is not there")
    before = data.reviews
    if before is None:
        before = pl.DataFrame(schema=_REVIEW_COLUMNS)
    table = [
        (rows[r.user_id], data.item_rows[r.item_id], r.text, r.rating, r.time) for r in reviews
    ]
    added = pl.DataFrame(table, schema=_REVIEW_COLUMNS, orient="row")
    for name in ("rating", "time"):
        if name not in before.columns and added[name].null_count() < added.height:
            raise DataError(
                f"the patch's reviews have a {name}, the data's have none",
                field=name, remedy=f"leave the {name} out",
            )  # fmt: skip
    added = added.select(
        pl.col(n).cast(t) if n in _REVIEW_COLUMNS
        else pl.lit("" if t == pl.Utf8() else None, dtype=t).alias(n)
        for n, t in before.schema.items()
    )  # fmt: skip
    people = pl.DataFrame({"user_id": new}, schema={"user_id": pl.Utf8()})
    return replace(
        data,
        users=pl.concat([data.users, people], how="diagonal"),
        reviews=pl.concat([before, added]),
    )


def _table_bytes(table: pl.DataFrame) -> bytes:
    parts = []
    for name in sorted(table.columns):
        column = table[name]
        parts += [name.encode(), str(column.dtype).encode(), _column_bytes(column)]
    return digest_bytes(*parts).encode()


def _column_bytes(column: pl.Series) -> bytes:
    if column.dtype.is_numeric():
        known = column.is_not_null().to_numpy()
        return known.tobytes() + column.fill_null(0).to_numpy().tobytes()
    if isinstance(column.dtype, pl.List):
        return _column_bytes(column.list.len()) + _column_bytes(column.explode())
    # lengths keep the cells apart, whatever characters stand in them
    column = column.cast(pl.Utf8)
    lengths = _column_bytes(column.str.len_bytes())
    return lengths + "".join(column.fill_null("").to_list()).encode()
