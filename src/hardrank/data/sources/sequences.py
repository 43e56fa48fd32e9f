"""Sequence files of S3-Rec, P5 and their kin, with items as JSON."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl

from hardrank.data.build import build
from hardrank.data.dataset import Dataset
from hardrank.data.jsonlines import records
from hardrank.data.options import CatalogueSource
from hardrank.data.quarantine import LINE, Check, Quarantine
from hardrank.data.reading import Layout, opened, tables
from hardrank.data.texts import item_table
from hardrank.errors import DataError, SchemaError
from hardrank.types import spec

__all__ = ["Sequences"]


@spec
class Sequences(CatalogueSource):
    """`user item item ...` a line, oldest first, or one `user item` a line (SASRec).

    Zhou et al., CIKM 2020 (S3-Rec); Geng et al., RecSys 2022 (P5). A tab-separated file with
    the header `user_id item_ids` is read too. There are no times: `time` is null and the
    order of the file is the order of the history. `items` are JSON lines, or one JSON object
    from id to item (MiniOneRec); nested lists such as category paths become text, leaf after
    leaf. Users are numbered by first appearance, items as in `items`.
    """

    kind: Literal["sequences"] = "sequences"
    path: Path
    """The histories."""
    items: Path | None = None
    """Texts of the items; None leaves them without any."""
    item_key: str = "item_id"
    """Key of `items` that holds the ids which `path` uses: the same catalogue is published
    in more than one numbering."""

    def load(self) -> Dataset:
        """Raises `DataError` when a file is missing or too many rows are bad."""
        bad = self.aside()
        events = self._events(bad)
        items = self._items(bad) if self.items else None
        return build(
            self.path.name.split(".")[0],
            events,
            bad=bad,
            path=self.path,
            items=items,
            items_path=self.items,
            unknown_items=self.unknown_items,
            notes=("the source has no times: the order of the file is the order of events",),
        )

    def _events(self, bad: Quarantine) -> pl.DataFrame:
        # One column: the separator is a character that no such file holds.
        layout = Layout(
            separator="\x1e", columns=("row",), quote="", encoding=self.encoding or "utf-8"
        )
        parts = [self._exploded(f, bad) for f in tables(self.path, layout, bad)]
        if not parts:
            raise DataError("the file is empty", path=self.path)
        return pl.concat(parts)

    def _exploded(self, frame: pl.DataFrame, bad: Quarantine) -> pl.DataFrame:
        spaced = pl.col("row").str.strip_chars().str.replace_all(r"\s+", " ")
        frame = frame.filter(~spaced.str.contains(r"^user(_id)?\b.*item") | (pl.col(LINE) > 1))
        short = Check("row", ~spaced.str.contains(" ", literal=True), "names a user and no item")
        parts = bad.sift(frame, [short], self.path).select(spaced.str.split(" "), LINE)
        return parts.select(
            pl.col("row").list.first().alias("user_id"),
            pl.col("row").list.slice(1).alias("item_id"),
            LINE,
        ).explode("item_id")

    def _items(self, bad: Quarantine) -> pl.DataFrame:
        assert self.items is not None
        if self.items.suffix == ".json":
            rows: Iterable[tuple[int, dict[str, Any]]] = self._object(self.items)
        else:
            rows = list(records(self.items, bad, self.encoding or "utf-8"))
        rows = list(rows)
        if rows and not any(self.item_key in row for _, row in rows):
            raise SchemaError(
                f"no item has the key '{self.item_key}'", path=self.items, field=self.item_key,
                remedy=f"set item_key; the first has: {', '.join(rows[0][1])}",
            )  # fmt: skip
        return item_table(rows, self.item_key, bad, self.items)

    def _object(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        with opened(path) as file:
            try:
                whole = json.loads(file.read().decode(self.encoding or "utf-8"))
            except ValueError as error:
                raise DataError(f"is not JSON ({error})", path=path) from error
        if not isinstance(whole, dict) or not all(isinstance(v, dict) for v in whole.values()):
            raise SchemaError("expected one object from item id to item", path=path)
        for number, (identity, item) in enumerate(whole.items(), 1):
            yield number, {self.item_key: identity, **item}
