"""Whatever a metadata file holds for an item, as plain text columns."""

import ast
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from hardrank.data.quarantine import LINE, Quarantine

__all__ = ["item_table", "most_frequent", "plain", "plain_column"]


def plain(value: Any) -> str:
    """One line of text: nested lists flattened leaf by leaf, HTML entities and runs of white
    space resolved, a list written as a Python string read as that list. Null gives ''."""
    if value is None or value != value:
        return ""
    if isinstance(value, Mapping):
        return plain(list(value.values()))
    if isinstance(value, list | tuple):
        return " ".join(part for part in map(plain, value) if part)
    text = str(value).strip()
    if text.startswith("[") and text.endswith("]"):
        try:
            listed = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            listed = text
        if isinstance(listed, list):
            return plain(listed)
    return " ".join(html.unescape(text).split())


def plain_column(column: pl.Series) -> pl.Series:
    """`plain` of each value, once for each distinct one."""
    known = {value: plain(value) for value in column.unique().to_list()}
    return pl.Series(column.name, [known[v] for v in column.to_list()], dtype=pl.String)


def item_table(
    rows: Iterable[tuple[int, Mapping[str, Any]]],
    key: str,
    bad: Quarantine,
    path: Path,
    *,
    names: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Items of JSON objects: `item_id` (from `key`), text columns, `line`.

    `names` maps keys to the columns wanted of them; None keeps every key under its name.
    A row without id goes to `bad`; repeated ids are found later, by `build`.
    """
    ids: list[str] = []
    lines: list[int] = []
    columns: dict[str, list[str]] = {}
    for line, row in rows:
        bad.saw(path, 1)
        if not (identity := plain(row.get(key))):
            bad.put(path, line, "is missing", field=key, row=row)
            continue
        for source in row if names is None else names:
            name = source if names is None else names[source]
            if source != key and row.get(source) is not None:
                column = columns.setdefault(name, [])
                column.extend([""] * (len(ids) - len(column)))
                if len(column) == len(ids):
                    column.append(plain(row[source]))
        ids.append(identity)
        lines.append(line)
    filled = {n: c + [""] * (len(ids) - len(c)) for n, c in columns.items() if n != "item_id"}
    table = {"item_id": ids, **filled, LINE: lines}
    kinds = {name: pl.UInt32() if name == LINE else pl.String() for name in table}
    return pl.DataFrame(table, schema=kinds)


def most_frequent(events: pl.DataFrame, column: str) -> pl.DataFrame:
    """`item_id` (by first appearance) and `title`: the text of `column` that most events of
    the item carry (ties: alphabetical), null where none carries any."""
    order = events.select(pl.col("item_id").unique(maintain_order=True))
    best = (
        events.select("item_id", plain_column(events[column]).alias("title"))
        .filter(pl.col("title") != "")
        .group_by("item_id", "title")
        .len()
        .sort("len", "title", descending=[True, False])
        .unique("item_id", keep="first", maintain_order=True)
        .select("item_id", "title")
    )
    return order.join(best, on="item_id", how="left", maintain_order="left")
