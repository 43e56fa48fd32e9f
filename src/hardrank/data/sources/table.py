"""Any log of events as CSV, JSON lines or Parquet, its columns named by the user."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from hardrank.data.build import build
from hardrank.data.columns import Fields, number, typed
from hardrank.data.dataset import Dataset
from hardrank.data.jsonlines import json_rows, records
from hardrank.data.options import CatalogueSource
from hardrank.data.quarantine import LINE, Check, Quarantine
from hardrank.data.reading import Layout, header, require, tables
from hardrank.data.texts import most_frequent, plain_column
from hardrank.errors import DataError
from hardrank.types import spec

__all__ = ["Columns", "Table"]

_SLICE = 1 << 20


@spec
class Columns:
    """Names of the log's columns. What is None is not read."""

    user: str = "user_id"
    """Who acted."""
    item: str = "item_id"
    """On what."""
    time: str | None = None
    """When; see `time_format`."""
    rating: str | None = None
    """A number, on whatever scale the log has."""
    weight: str | None = None
    """Evidence in (0, 1]."""
    event: str | None = None
    """What the user did (browse, click, buy ...): kept as the column `event` for the label
    policy."""
    title: str | None = None
    """Text of the item where the log itself carries it; the most frequent one is kept (ties:
    alphabetical). Not together with an item file."""
    text: str | None = None
    """Text of the review."""


@spec
class Table(CatalogueSource):
    """A log, and optionally an item and a user file, in any of the three formats.

    The format is told by the suffix: `.parquet`; `.jsonl`, `.ndjson` or `.json` (lines);
    anything else is delimited text. All but Parquet may be `.gz` or alone in a `.zip`. In
    messages the line of a Parquet file is the number of its row.
    """

    kind: Literal["table"] = "table"
    path: Path
    """The log of events."""
    columns: Columns = Columns()
    """Names of its columns."""
    items: Path | None = None
    """Texts and features of the items."""
    item_columns: dict[str, str] = Field(default_factory=dict)
    """Column of ours -> column of `items`: `item_id`, `title` and any further text fields.
    Empty keeps all columns as they are named."""
    users: Path | None = None
    """Attributes of the users."""
    user_columns: dict[str, str] = Field(default_factory=dict)
    """The same for `users` and `user_id`."""
    separator: Annotated[str, Field(min_length=1)] = ","
    """`\\t` for a tab."""
    quote: Annotated[str, Field(max_length=1)] = '"'
    """Empty where quotes mean themselves."""
    time_format: str = "auto"
    """`seconds`, `milliseconds`, `iso`, or a pattern such as `%d.%m.%Y %H:%M`, all UTC;
    `auto` takes numbers for seconds and all else for ISO 8601."""

    def load(self) -> Dataset:
        """Raises `SchemaError` for a missing column, `DataError` for too many bad rows."""
        bad = self.aside()
        events = self._log(bad)
        items = self._side(self.items, self.item_columns, "item_id", bad)
        if items is None and self.columns.title:
            items = most_frequent(events, "_title")
        return build(
            self.path.name.split(".")[0],
            events.drop("_title", strict=False),
            bad=bad,
            path=self.path,
            items=items,
            items_path=self.items,
            users=self._side(self.users, self.user_columns, "user_id", bad),
            unknown_items=self.unknown_items,
        )

    def _log(self, bad: Quarantine) -> pl.DataFrame:
        c = self.columns
        extra = {"event": c.event, "_title": c.title, "text": c.text}
        kept = {name: column for name, column in extra.items() if column}
        wanted = [n for n in (c.user, c.item, c.time, c.rating, c.weight, *kept.values()) if n]
        parts, form = [], self.time_format
        for frame in self._frames(self.path, wanted, bad):
            if form == "auto" and c.time:
                form = _time_format(frame, c.time)
            fields = Fields(
                user=c.user, item=c.item, time=c.time, rating=c.rating, weight=c.weight,
                time_format=form, sparse=True, extra=kept,
            )  # fmt: skip
            parts.append(typed([frame], fields, bad, self.path))
        if not parts:
            raise DataError("the file has no rows", path=self.path)
        return pl.concat(parts)

    def _frames(self, path: Path, wanted: list[str], bad: Quarantine) -> Iterator[pl.DataFrame]:
        """Text columns `wanted` (all, if empty) and `line`."""
        kind = _format(path)
        if kind == "parquet":
            yield from _parquet(path, wanted)
        elif kind == "json":
            names = _keys(path, self.encoding or "utf-8")
            require(names, wanted, path)
            yield from json_rows(path, wanted or names, bad, self.encoding or "utf-8")
        else:
            layout = Layout(
                separator=self.separator.replace("\\t", "\t"),
                quote=self.quote,
                encoding=self.encoding or "utf-8",
            )
            names = list(header(path, layout))
            require(names, wanted, path)
            for frame in tables(path, layout, bad):
                yield frame.select(*(wanted or names), LINE) if wanted else frame

    def _side(
        self, path: Path | None, mapping: dict[str, str], key: str, bad: Quarantine
    ) -> pl.DataFrame | None:
        if path is None:
            return None
        mapping = {key: key, **mapping} if mapping else {}
        frames = list(self._frames(path, list(dict.fromkeys(mapping.values())), bad))
        if not frames:
            raise DataError("the catalogue is empty: the file has no rows", path=path)
        table = pl.concat(frames)
        source = mapping.get(key, key)
        require(table.columns, (source,), path)
        missing = Check(source, pl.col(source).is_null(), "is missing")
        table = bad.sift(table, [missing], path)
        names = mapping or {c: c for c in table.columns if c != LINE}
        rest = [plain_column(table[old]).alias(new) for new, old in names.items() if new != key]
        return table.select(pl.col(source).str.strip_chars().alias(key), *rest, LINE)


def _format(path: Path) -> str:
    suffixes = [s for s in path.suffixes if s not in (".gz", ".zip")]
    last = suffixes[-1] if suffixes else ""
    known = {".parquet": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json"}
    return known.get(last, "delimited")


def _keys(path: Path, encoding: str) -> list[str]:
    """Keys of the first hundred objects."""
    keys: dict[str, None] = {}
    for n, (_, row) in enumerate(records(path, Quarantine(limit=1.0), encoding)):
        keys.update(dict.fromkeys(row))
        if n == 99:
            break
    return list(keys)


def _parquet(path: Path, wanted: list[str]) -> Iterator[pl.DataFrame]:
    try:
        names = pl.read_parquet_schema(path)
    except FileNotFoundError as error:
        raise DataError("there is no such file", path=path, remedy="check the path") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"is no Parquet file ({error})", path=path) from error
    require(list(names), wanted, path)
    lazy = pl.scan_parquet(path).select(wanted or list(names))
    height = lazy.select(pl.len()).collect().item()
    for start in range(0, height, _SLICE):
        frame = lazy.slice(start, _SLICE).collect()
        listed = [c for c, kind in frame.schema.items() if isinstance(kind, pl.List)]
        texts = frame.with_columns(pl.col(listed).cast(pl.List(pl.String)).list.join(" "))
        yield texts.cast(pl.String).with_row_index(LINE, offset=start + 1)


def _time_format(frame: pl.DataFrame, column: str) -> str:
    values = frame.select(number(column).alias("n"), pl.col(column)).drop_nulls(column)
    numeric = values.height - values["n"].null_count()
    return "seconds" if 2 * numeric >= values.height else "iso"
