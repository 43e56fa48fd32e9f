"""RecBole atomic files: `.inter`, `.item`, `.user`."""

from pathlib import Path
from typing import Literal

import polars as pl

from hardrank.data.build import build
from hardrank.data.columns import Fields, typed
from hardrank.data.dataset import Dataset
from hardrank.data.options import CatalogueSource
from hardrank.data.quarantine import LINE, Quarantine
from hardrank.data.reading import Layout, header, require, table_of, tables
from hardrank.data.texts import plain_column
from hardrank.errors import DataError
from hardrank.types import spec

__all__ = ["RecBole"]


@spec
class RecBole(CatalogueSource):
    """A folder with one `.inter` file and, if there are any, its `.item` and `.user`.

    Zhao et al., CIKM 2021. Tab separated, the header names `field:type`. The title is the
    field `title`, else the first one with `title` in its name; every other token field of
    an item stays under its own name as text. Ids are the tokens of the file.
    """

    kind: Literal["recbole"] = "recbole"
    path: Path
    """The `.inter` file, or its folder."""
    user_field: str = "user_id"
    """Field of the user's id."""
    item_field: str = "item_id"
    """Field of the item's id."""
    rating_field: str = "rating"
    """Read if it is there."""
    time_field: str = "timestamp"
    """Unix seconds; read if it is there."""

    def load(self) -> Dataset:
        """Raises `DataError` when there is not one `.inter` file or too many rows are bad."""
        bad, log = self.aside(), self._log()
        layout, fields = self._layout(log)
        require(fields, (self.user_field, self.item_field), log)
        wanted = Fields(
            user=self.user_field,
            item=self.item_field,
            rating=self.rating_field if self.rating_field in fields else None,
            time=self.time_field if self.time_field in fields else None,
        )
        frames = (frame[1:] if n == 0 else frame
                  for n, frame in enumerate(tables(log, layout, bad)))  # fmt: skip
        events = typed(frames, wanted, bad, log)
        items, items_path = self._items(log, bad)
        return build(
            f"recbole-{log.stem}",
            events,
            bad=bad,
            path=log,
            items=items,
            items_path=items_path,
            users=self._attributes(log.with_suffix(".user"), self.user_field, "user_id", bad),
            unknown_items=self.unknown_items,
        )

    def _log(self) -> Path:
        if self.path.suffix == ".inter":
            return self.path
        found = sorted(self.path.glob("*.inter"))
        if len(found) != 1:
            names = ", ".join(f.name for f in found) or "none"
            raise DataError(
                f"one .inter file is needed, found: {names}", path=self.path,
                remedy="give the path of the .inter file itself",
            )  # fmt: skip
        return found[0]

    def _layout(self, path: Path) -> tuple[Layout, tuple[str, ...]]:
        """The header's `name:type` becomes `name`, so the header is row one of the table."""
        encoding = self.encoding or "utf-8"
        named = header(path, Layout(separator="\t", quote="", encoding=encoding))
        fields = tuple(name.partition(":")[0] for name in named)
        return Layout(separator="\t", columns=fields, quote="", encoding=encoding), fields

    def _attributes(self, path: Path, key: str, name: str, bad: Quarantine) -> pl.DataFrame | None:
        if not path.is_file():
            return None
        layout, fields = self._layout(path)
        require(fields, (key,), path)
        table = table_of(path, layout, bad)[1:].rename({key: name})
        bad.saw(path, table.height)
        texts = [plain_column(table[c]) for c in table.columns if c not in (name, LINE)]
        return table.with_columns(texts)

    def _items(self, log: Path, bad: Quarantine) -> tuple[pl.DataFrame | None, Path]:
        path = log.with_suffix(".item")
        items = self._attributes(path, self.item_field, "item_id", bad)
        if items is not None and "title" not in items.columns:
            named = [c for c in items.columns if "title" in c]
            items = items.rename({named[0]: "title"}) if named else items
        return items, path
