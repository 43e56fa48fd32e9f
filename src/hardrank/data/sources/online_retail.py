"""UCI Online Retail: the transactions of a British gift shop."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import polars as pl

from hardrank.data.build import build
from hardrank.data.columns import Fields, number, typed
from hardrank.data.dataset import Dataset
from hardrank.data.options import FileSource
from hardrank.data.quarantine import Quarantine
from hardrank.data.reading import Layout, header, require, tables
from hardrank.data.texts import most_frequent
from hardrank.data.workbook import sheet, sheet_header
from hardrank.errors import DataError
from hardrank.types import spec

__all__ = ["OnlineRetail"]

_COLUMNS = (
    "InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "CustomerID", "Country",
)  # fmt: skip
_UNIX_DAY = 25_569
"""1970-01-01 in the day numbers of workbooks."""


@spec
class OnlineRetail(FileSource):
    """The workbook (`.xlsx`) that UCI publishes, or a CSV of it (plain or `.gz`).

    Chen et al., J. Database Marketing 19(3), 2012. Cancellations (invoice C...), rows
    without customer and rows whose quantity is not positive are no purchases: left out and
    counted in the notes. `title` is the most frequent description of a stock code (ties:
    alphabetical); users have the `country` of their first purchase. A product bought again
    is another event. Dates are `2010-12-01 08:26` or as in the workbook, `12/1/2010 8:26`.
    """

    kind: Literal["online-retail"] = "online-retail"
    path: Path
    """The workbook, or a CSV of it."""

    def load(self) -> Dataset:
        """Raises `SchemaError` for a missing column, `DataError` for too many bad rows."""
        bad = self.aside()
        parts, left_out = [], [0, 0, 0]
        for frame in self._frames(bad):
            kept, dropped = _purchases(frame)
            bad.saw(self.path, frame.height - kept.height)
            left_out = [a + b for a, b in zip(left_out, dropped, strict=True)]
            parts.append(_typed(kept, bad, self.path))
        if not parts:
            raise DataError("the file has no rows", path=self.path)
        events = pl.concat(parts)
        users = events.group_by("user_id", maintain_order=True).agg(pl.col("country").first())
        return build(
            "online-retail",
            events.drop("description", "country"),
            bad=bad,
            path=self.path,
            items=most_frequent(events, "description"),
            users=users,
            notes=_notes(left_out),
        )

    def _frames(self, bad: Quarantine) -> Iterator[pl.DataFrame]:
        if self.path.suffix == ".xlsx":
            require(sheet_header(self.path), _COLUMNS, self.path)
            days = (number("InvoiceDate") - _UNIX_DAY) * 86_400
            dates = pl.from_epoch(days.round().cast(pl.Int64)).dt.to_string("%Y-%m-%d %H:%M:%S")
            yield from (f.with_columns(pl.coalesce(dates, "InvoiceDate")) for f in sheet(self.path))
            return
        layout = Layout(encoding=self.encoding or "utf-8")
        require(header(self.path, layout), _COLUMNS, self.path)
        yield from tables(self.path, layout, bad)


def _purchases(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
    cancelled = pl.col("InvoiceNo").str.starts_with("C").fill_null(False)
    # Without country as well it is a row that was cut off: that one is a bad row.
    nobody = pl.col("CustomerID").is_null() & pl.col("Country").is_not_null()
    nothing = (number("Quantity") <= 0).fill_null(False)
    counts = frame.select(
        a=cancelled.sum(), b=(nobody & ~cancelled).sum(), c=(nothing & ~nobody & ~cancelled).sum()
    )
    return frame.filter(~cancelled & ~nobody & ~nothing), list(counts.row(0))


def _typed(frame: pl.DataFrame, bad: Quarantine, path: Path) -> pl.DataFrame:
    # Spreadsheet programs write customers as 17850.0.
    frame = frame.with_columns(pl.col("CustomerID").str.replace(r"\.0$", ""))
    dates = frame["InvoiceDate"].drop_nulls()
    american = dates.len() > 0 and "/" in dates[0]
    fields = Fields(
        user="CustomerID", item="StockCode", time="InvoiceDate",
        time_format="%m/%d/%Y %H:%M" if american else "iso",
        extra={"description": "Description", "country": "Country"},
    )  # fmt: skip
    return typed([frame], fields, bad, path)


def _notes(left_out: list[int]) -> tuple[str, ...]:
    names = ("cancellations", "rows without customer", "rows whose quantity is not positive")
    return tuple(f"{n:,} {name} left out" for n, name in zip(left_out, names, strict=True) if n)
