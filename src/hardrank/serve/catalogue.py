"""The live catalogue: rows that only grow, so that a row means one item for ever."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from hardrank.types import Ints

__all__ = ["Catalogue", "ItemSource", "reads"]

_FILTERS = 256
"""Combinations of column and value whose items are remembered."""


class ItemSource(Protocol):
    """As much of a stored item as the engine reads."""

    @property
    def item_id(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def fields(self) -> Mapping[str, str]: ...


class Catalogue:
    """Items by row: those of the bundle first, in its order, then new ones as they come.

    A removed item keeps its row, dead; an item that comes back takes its old row again.
    Not safe for threads: the engine guards it. Columns that hold lists are left out.
    """

    def __init__(self, items: pl.DataFrame) -> None:
        flat = [n for n, kind in items.schema.items() if not kind.is_nested() and n != "item_id"]
        self.ids: list[str] = items["item_id"].to_list()
        self.rows = {item_id: row for row, item_id in enumerate(self.ids)}
        self.columns: dict[str, list[str]] = {
            name: items[name].cast(pl.Utf8).fill_null("").to_list() for name in flat
        }
        self.dead: set[int] = set()
        self.version = 0
        """Grows with every change."""
        self._schema = {name: items.schema[name] for name in flat}
        self._matches: dict[tuple[str, str], Ints] = {}
        self._openings: dict[int, bytes] = {}

    def __len__(self) -> int:
        """Rows, dead ones too."""
        return len(self.ids)

    @property
    def live(self) -> int:
        return len(self.ids) - len(self.dead)

    def put(self, item_id: str, fields: Mapping[str, str]) -> int:
        """The row of the item, which from now on reads so. Fields that are not named keep
        what they say; new columns are empty for all others."""
        row = self.rows.get(item_id)
        if row is None:
            row = self.rows[item_id] = len(self.ids)
            self.ids.append(item_id)
            for values in self.columns.values():
                values.append("")
        elif row in self.dead:
            self.dead.discard(row)
            for values in self.columns.values():
                values[row] = ""
        for name, value in fields.items():
            self.columns.setdefault(name, [""] * len(self.ids))[row] = value
        self._openings.pop(row, None)
        self._changed()
        return row

    def remove(self, item_id: str) -> int | None:
        """The row that died, or None where no such item lived."""
        row = self.rows.get(item_id)
        if row is None or row in self.dead:
            return None
        self.dead.add(row)
        self._changed()
        return row

    def row(self, item_id: str) -> int | None:
        """Of a live item."""
        row = self.rows.get(item_id)
        return None if row is None or row in self.dead else row

    def known(self, item_ids: Sequence[str]) -> list[int]:
        """Rows of those that have one, in order; dead items too: they tell of a taste still."""
        return [row for item_id in item_ids if (row := self.rows.get(item_id)) is not None]

    def fields(self, row: int) -> dict[str, str]:
        return {name: values[row] for name, values in self.columns.items()}

    def title(self, row: int) -> str:
        titles = self.columns.get("title")
        return titles[row] if titles is not None else ""

    def opening(self, row: int) -> bytes:
        """The beginning of the item in JSON, to which a score is put: the same in all lists."""
        found = self._openings.get(row)
        if found is None:
            said = {"item_id": self.ids[row], "title": self.title(row)}
            found = self._openings[row] = orjson.dumps(said)[:-1] + b',"score":'
        return found

    def allowed(self, filters: Mapping[str, Sequence[str]]) -> NDArray[np.bool_] | None:
        """(I,) items whose columns hold one of the values each; None for all. An unknown
        column holds nothing."""
        if not filters:
            return None
        out = np.ones(len(self.ids), dtype=bool)
        for column, values in filters.items():
            one = np.zeros(len(self.ids), dtype=bool)
            for rows in self._matching(column, values):
                one[rows] = True
            out &= one
        return out

    def frame(self) -> pl.DataFrame:
        """All rows, in order and with the bundle's types; what cannot be read as such is null."""
        columns = {"item_id": pl.Series(self.ids, dtype=pl.Utf8)}
        for name, values in self.columns.items():
            series = pl.Series(name, values, dtype=pl.Utf8)
            kind = self._schema.get(name, pl.Utf8())
            columns[name] = series if kind == pl.Utf8() else series.cast(kind, strict=False)
        return pl.DataFrame(columns)

    def _matching(self, column: str, values: Sequence[str]) -> list[Ints]:
        """Rows by value. What is not remembered is found in one pass over the column, or a
        request with eight hundred values would read the catalogue so often."""
        found = {v: self._matches[column, v] for v in values if (column, v) in self._matches}
        wanted: dict[str, list[int]] = {v: [] for v in values if v not in found}
        if wanted:
            for row, held in enumerate(self.ids if column == "item_id" else self._column(column)):
                if held in wanted:
                    wanted[held].append(row)
            if len(self._matches) + len(wanted) > _FILTERS:
                self._matches.clear()
            new = {v: np.asarray(rows, dtype=np.int64) for v, rows in wanted.items()}
            self._matches |= {(column, v): rows for v, rows in new.items()}
            found |= new
        return list(found.values())

    def _column(self, name: str) -> list[str]:
        return self.columns.get(name, [])

    def _changed(self) -> None:
        self.version += 1
        self._matches.clear()


def reads(stands: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether an item says all that it should; what else it says stays."""
    return all(stands.get(name) == text for name, text in wanted.items())
