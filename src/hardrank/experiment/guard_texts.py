"""Texts out of files of many shapes: what guards learn from and are measured on."""

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hardrank.errors import DataError
from hardrank.types import Count, spec

__all__ = ["TextFile"]


@spec
class TextFile:
    """A file of texts: `.json` (texts anywhere in it), `.jsonl`, `.csv`, or separated columns.

    Of objects and rows the column `text` is read, of JSON lists of text every entry.
    """

    name: str
    """Of the group, in tables."""
    path: Path
    """The file."""
    text: str = "text"
    """Key or column of the texts."""
    columns: tuple[str, ...] | None = None
    """Names of the columns of a table without header; then tabs separate them."""
    where: dict[str, str] | None = None
    """Column -> the value that a row must have."""
    every: Count = 1
    """Read one text of so many."""

    def load(self) -> list[str]:
        """Distinct texts in their order. Raises `DataError` for a file that is not there, is
        damaged, or has no such text."""
        try:
            found = [text for text in self._texts() if text.strip()]
        except FileNotFoundError as error:
            raise DataError("there is no such file", path=self.path) from error
        except (UnicodeDecodeError, ValueError, csv.Error) as error:
            raise DataError(f"cannot be read ({error})", path=self.path) from error
        if not found:
            raise DataError("no text was found", path=self.path, field=self.text)
        return list(dict.fromkeys(found))[:: self.every]

    def _texts(self) -> Iterator[str]:
        whole = self.path.read_text("utf-8")
        if self.path.suffix == ".json":
            yield from self._inside(json.loads(whole))
        elif self.path.suffix == ".jsonl":
            for line in whole.split("\n"):
                if line.strip():
                    yield from self._inside(json.loads(line))
        else:
            yield from self._rows(whole)

    def _inside(self, value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            for part in value:
                yield from self._inside(part)
        elif isinstance(value, Mapping):
            if isinstance(value.get(self.text), str):
                if self._wanted(value):
                    yield value[self.text]
                return
            for part in value.values():
                if isinstance(part, list | Mapping):
                    yield from self._inside(part)

    def _rows(self, whole: str) -> Iterator[str]:
        lines = whole.split("\n")
        if self.columns is not None:
            rows: Any = (dict(zip(self.columns, x.split("\t"), strict=False)) for x in lines if x)
        else:
            rows = csv.DictReader([line for line in whole.lstrip("\n\ufeff").splitlines() if line])
        yield from (row.get(self.text) or "" for row in rows if self._wanted(row))

    def _wanted(self, row: Mapping[str, Any]) -> bool:
        return all(row.get(name) == value for name, value in (self.where or {}).items())
