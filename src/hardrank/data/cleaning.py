"""Cleaning: repeated and impossible events, twin items, bots, sparse users and items.

Nothing is lost silently: every removed row is in the report, with its reason.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from annotated_types import Gt, Le
from numpy.typing import NDArray

from hardrank.data.dataset import Dataset
from hardrank.data.minhash import near_duplicates
from hardrank.data.outliers import burst_users, outlier_users
from hardrank.errors import DataError
from hardrank.files import write_text
from hardrank.types import Count, Natural, Share, spec

__all__ = ["Cleaning", "CleaningReport", "clean"]

Mask = NDArray[np.bool_]
_ROW = "__row"
_REMOVED = pl.Schema(
    {
        "table": pl.Utf8(),
        "reason": pl.Utf8(),
        "row": pl.Int64(),
        "user_id": pl.Utf8(),
        "item_id": pl.Utf8(),
        "time": pl.Int64(),
        "kept": pl.Utf8(),
    }
)


@spec
class Cleaning:
    """Which rows go. Steps run in the order of the fields; what is not set is not done."""

    kind: Literal["cleaning"] = "cleaning"
    impossible_times: bool = True
    """Events before `earliest` or after now; and events without a time where others have one."""
    earliest: int = 631_152_000
    """Unix seconds; 1 January 1990."""
    twins: Annotated[float, Gt(0), Le(1)] | None = None
    """Items whose texts have at least this Jaccard similarity of word runs are one item: the
    first stays and takes over the events of the others. 1 takes only texts that are equal
    but for case, punctuation and repeated words."""
    fields: tuple[str, ...] = ("title",)
    """Item texts that are compared."""
    shingle: Count = 1
    """Words in a run."""
    duplicates: bool = True
    """Events that repeat an earlier one of the user in all columns."""
    burst: Count | None = None
    """Users with more events than this within `burst_seconds` go with all their events. Not
    for shops that log a whole basket at one time."""
    burst_seconds: Count = 60
    """Length of the window that `burst` counts in."""
    outliers: Share | None = None
    """Users whose isolation-forest score (Liu et al., ICDM 2008; 0.5 is ordinary, towards 1
    is odd) is above this go with all their events; 0.7 takes only the clearly odd."""
    kcore: Natural = 0
    """Users and items with fewer events go, again and again, until none is left."""


@dataclass(frozen=True, eq=False, kw_only=True)
class CleaningReport:
    """What was removed and why."""

    removed: pl.DataFrame
    """One row for each removed event, user or item: `table`, `reason`, `row` (in that table
    of the dataset before), `user_id`, `item_id`, `time`, `kept` (the item that took over)."""

    @property
    def counts(self) -> dict[str, int]:
        """`<table>: <reason>` -> removed rows."""
        groups = self.removed.group_by("table", "reason", maintain_order=True).len()
        return {f"{table}: {reason}": n for table, reason, n in groups.iter_rows()}

    def save(self, path: Path) -> None:
        """JSON lines, a removed row a line, empty fields left out; atomic."""
        rows = self.removed.iter_rows(named=True)
        lines = ({k: v for k, v in row.items() if v is not None} for row in rows)
        write_text(path, "".join(json.dumps(n, ensure_ascii=False) + "\n" for n in lines))


def clean(
    dataset: Dataset, policy: Cleaning, *, now: int | None = None
) -> tuple[Dataset, CleaningReport]:
    """The dataset without the rows that `policy` names, and what was removed.

    Users and items that are removed leave their tables, so row numbers change; a user or
    item that merely has no events stays. now: unix seconds; None trusts the future.
    Raises `DataError` when no item would be left.
    """
    work = _Work(dataset)
    if policy.impossible_times and dataset.events["time"].null_count() < dataset.n_events:
        latest = pl.lit(True) if now is None else pl.col("time") <= now
        possible = ((pl.col("time") >= policy.earliest) & latest).fill_null(False)
        work.drop_events(~possible, "impossible time")
    if policy.twins is not None:
        work.merge_items(
            near_duplicates(dataset.texts(policy.fields), policy.twins, policy.shingle),
            "twin of another item",
        )
    if policy.duplicates:
        work.drop_events(~pl.struct(pl.exclude(_ROW)).is_first_distinct(), "duplicate event")
    if policy.burst is not None:
        odd = burst_users(work.now, policy.burst, policy.burst_seconds)
        work.drop(
            odd, work.no_items(), f"more than {policy.burst} events in {policy.burst_seconds} s"
        )
    if policy.outliers is not None:
        odd = outlier_users(work.now, policy.outliers)
        work.drop(odd, work.no_items(), f"isolation-forest score above {policy.outliers:g}")
    if policy.kcore:
        for users, items in _sparse(work, policy.kcore):
            work.drop(users, items, f"fewer than {policy.kcore} events")
    return work.finish()


def _sparse(work: "_Work", k: int) -> Iterator[tuple[Mask, Mask]]:
    """Users and items of fewer than k events, round after round until there are none."""
    while True:
        users = (np.diff(work.now.offsets) < k) & work.users
        items = (work.now.counts < k) & work.items
        if not (users.any() or items.any()):
            return
        yield users, items


class _Work:
    """The dataset as it shrinks. Row numbers stay those of the start until `finish`."""

    def __init__(self, dataset: Dataset) -> None:
        self.start = dataset
        rows = pl.int_range(dataset.n_events, dtype=pl.Int64, eager=True)
        self.now = replace(dataset, events=dataset.events.with_columns(rows.alias(_ROW)))
        self.users = np.ones(dataset.n_users, dtype=bool)
        self.items = np.ones(dataset.n_items, dtype=bool)
        self.kept = np.arange(dataset.n_items)
        self.removed: list[pl.DataFrame] = []

    def no_items(self) -> Mask:
        return np.zeros(self.start.n_items, dtype=bool)

    def drop_events(self, gone: pl.Expr | pl.Series, reason: str) -> None:
        events = self.now.events.filter(gone)
        if not events.height:
            return
        self._note(
            "event",
            reason,
            events[_ROW],
            user_id=self.start.users["user_id"].gather(events["user"]),
            item_id=self.start.items["item_id"].gather(events["item"]),
            time=events["time"],
        )
        left = self.now.events.join(events.select(_ROW), on=_ROW, how="anti", maintain_order="left")
        self.now = replace(self.now, events=left)

    def drop(self, users: Mask, items: Mask, reason: str) -> None:
        """Users and items with all their events."""
        touched = users[self.now.events["user"].to_numpy()] | items[self.now.event_items]
        self.drop_events(pl.Series(touched), reason)
        for table, mask, ids in (
            ("user", users, self.start.users["user_id"]),
            ("item", items, self.start.items["item_id"]),
        ):
            if (rows := np.flatnonzero(mask)).size:
                self._note(table, reason, pl.Series(rows), **{f"{table}_id": ids.gather(rows)})
        self.users &= ~users
        self.items &= ~items

    def merge_items(self, kept: NDArray[np.int64], reason: str) -> None:
        """Item i becomes item kept[i]; events and reviews move over."""
        rows = np.flatnonzero(kept != np.arange(len(kept)))
        if not rows.size:
            return
        ids = self.start.items["item_id"]
        self._note(
            "item", reason, pl.Series(rows), item_id=ids.gather(rows), kept=ids.gather(kept[rows])
        )
        self.kept = kept
        self.items[rows] = False
        moved = pl.Series("item", kept[self.now.event_items]).cast(pl.Int32)
        self.now = replace(self.now, events=self.now.events.with_columns(moved))

    def finish(self) -> tuple[Dataset, CleaningReport]:
        if not self.items.any():
            raise DataError(f"{self.start.name}: cleaning leaves no item", remedy="ask for less")
        removed = pl.concat([pl.DataFrame(schema=_REMOVED), *self.removed])
        report = CleaningReport(removed=removed)
        reviews = self.start.reviews
        if reviews is not None:
            reviews = reviews.with_columns(item=pl.Series(self.kept).gather(reviews["item"]))
            reviews = self._renumbered(reviews)
        counts = ", ".join(f"{n} ({what})" for what, n in report.counts.items()) or "nothing"
        out = replace(
            self.start,
            users=self.start.users.filter(pl.Series(self.users)),
            items=self.start.items.filter(pl.Series(self.items)),
            events=self._renumbered(self.now.events.drop(_ROW)),
            reviews=reviews,
        )
        return out.noted(f"Cleaning removed {counts}."), report

    def _renumbered(self, table: pl.DataFrame) -> pl.DataFrame:
        """With the row numbers of the tables that are left; rows without a place are gone."""
        masks = {"user": self.users, "item": self.items}
        stays = np.logical_and(*(m[table[c].to_numpy()] for c, m in masks.items()))
        table = table.filter(pl.Series(stays, dtype=pl.Boolean))
        return table.with_columns(
            pl.Series(c, (np.cumsum(m) - 1)[table[c].to_numpy()]).cast(pl.Int32)
            for c, m in masks.items()
        )

    def _note(self, table: str, reason: str, rows: pl.Series, **columns: pl.Series) -> None:
        made = pl.DataFrame({"row": rows, **columns}).with_columns(
            table=pl.lit(table), reason=pl.lit(reason)
        )
        missing = [pl.lit(None).alias(c) for c in _REMOVED if c not in made.columns]
        made = made.with_columns(missing).select(list(_REMOVED))
        self.removed.append(made.cast(_REMOVED))
