"""The one way from a typed log and an item table to a `Dataset`."""

from pathlib import Path
from typing import Literal

import polars as pl

from hardrank.data.dataset import EVENT_COLUMNS, Dataset
from hardrank.data.quarantine import LINE, Check, Quarantine
from hardrank.errors import DataError

__all__ = ["UnknownItems", "build"]

UnknownItems = Literal["quarantine", "add"]
"""What becomes of events whose item the item file lacks: set aside by name, or kept with an
item that has no text."""
_REVIEW = ("text", "summary")


def build(
    name: str,
    events: pl.DataFrame,
    *,
    bad: Quarantine,
    path: Path,
    items: pl.DataFrame | None = None,
    items_path: Path | None = None,
    users: pl.DataFrame | None = None,
    unknown_items: UnknownItems = "quarantine",
    notes: tuple[str, ...] = (),
    synthetic: bool = False,
) -> Dataset:
    """Ids to rows, sorted, with every column there.

    `events` has `user_id`, `item_id` (text) and any of `time`, `rating`, `weight`, `line`;
    further columns stay, but `text` and `summary` become the table of reviews. Users are
    numbered by first appearance in the log, items by the order of the item table (by first
    appearance where there is none). Events are sorted by user, then time, those without
    time first; equal times keep the order of the file. `path` is the log's file and
    `items_path` the item table's, for naming rows.

    Raises `DataError` when too many rows are bad or the catalogue is empty.
    """
    if items is not None:
        items = _distinct(items, "item_id", bad, items_path or path)
        events, items = _known(events, items, bad, path, unknown_items)
    else:
        items = events.select(pl.col("item_id").unique(maintain_order=True))
    notes = (*notes, *bad.close())
    if not items.height:
        raise DataError(
            "the catalogue is empty: no item is left",
            path=items_path or path,
            remedy="check the file and the names of its columns",
        )
    people = events.select(pl.col("user_id").unique(maintain_order=True))
    rows = _numbered(events, people, items)
    if users is not None:
        people, said = _attributes(people, users)
        notes += said
    return Dataset(
        name=name,
        users=people,
        items=_titled(items),
        events=rows.drop(*_REVIEW, strict=False),
        reviews=_reviews(rows),
        synthetic=synthetic,
        notes=notes,
    )


def _distinct(table: pl.DataFrame, key: str, bad: Quarantine, path: Path) -> pl.DataFrame:
    checks = [
        Check(key, pl.col(key).is_null(), "is missing"),
        Check(key, ~pl.col(key).is_first_distinct(), "appears again; the first row is kept"),
    ]
    return bad.sift_seen(table, checks, path)


def _known(
    events: pl.DataFrame, items: pl.DataFrame, bad: Quarantine, path: Path, policy: UnknownItems
) -> tuple[pl.DataFrame, pl.DataFrame]:
    if policy == "quarantine":
        known = pl.col("item_id").is_in(items["item_id"].implode())
        checks = [Check("item_id", ~known, "is not in the item file")]
        return bad.sift_seen(events, checks, path), items
    new = events.select(pl.col("item_id").unique(maintain_order=True))
    new = new.join(items.select("item_id"), on="item_id", how="anti", maintain_order="left")
    return events, pl.concat([items, new], how="diagonal")


def _numbered(events: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """`events` in the columns of `EVENT_COLUMNS` (and extra ones), sorted."""
    for name in ("user", "item"):
        table = (users if name == "user" else items).select(f"{name}_id")
        table = table.with_row_index(name).cast({name: pl.Int32})
        events = events.join(table, on=f"{name}_id", how="left", maintain_order="left")
        events = events.drop(f"{name}_id")
    for name, kind in EVENT_COLUMNS.items():
        default = 1.0 if name == "weight" else None
        value = pl.col(name) if name in events.columns else pl.lit(default)
        events = events.with_columns(value.cast(kind).alias(name))
    extra = [c for c in events.columns if c not in EVENT_COLUMNS and c != LINE]
    return events.select(*EVENT_COLUMNS, *extra).sort("user", "time", maintain_order=True)


def _titled(items: pl.DataFrame) -> pl.DataFrame:
    """`item_id`, `title`, the rest; no null text."""
    title = pl.col("title") if "title" in items.columns else pl.lit("")
    rest = [c for c in items.columns if c not in ("item_id", "title", LINE)]
    out = items.select("item_id", title.cast(pl.String).alias("title"), *rest)
    return out.with_columns(pl.col(pl.String).fill_null(""))


def _attributes(people: pl.DataFrame, users: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    users = users.drop(LINE, strict=False).unique("user_id", keep="first", maintain_order=True)
    out = people.join(users, on="user_id", how="left", maintain_order="left")
    silent = users.join(people, on="user_id", how="anti").height
    unknown = people.join(users, on="user_id", how="anti").height
    said = []
    if silent:
        said.append(f"{silent:,} users of the user file have no events and were left out")
    if unknown:
        said.append(f"{unknown:,} users of the log are not in the user file: no attributes")
    return out, tuple(said)


def _reviews(rows: pl.DataFrame) -> pl.DataFrame | None:
    """Reviews with text, in the order of the events."""
    if "text" not in rows.columns:
        return None
    kept = [c for c in ("user", "item", "rating", "time", *_REVIEW) if c in rows.columns]
    texts = [pl.col(c).fill_null("") for c in _REVIEW if c in kept]
    return rows.select(kept).with_columns(texts).filter(pl.col("text") != "")
