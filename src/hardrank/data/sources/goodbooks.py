"""Goodbooks-10k: ratings of books on Goodreads."""

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
from hardrank.types import spec

__all__ = ["Goodbooks"]


@spec
class Goodbooks(CatalogueSource):
    """A folder with `ratings.csv` and `books.csv`.

    Zajac, Goodbooks-10k, 2017. There are no times; the publisher sorted the ratings by time,
    so the order of the file is the order of events. In the first edition a rating's
    `book_id` is the column `id` of `books.csv`, in the second it is `book_id`; a column `id`
    tells them apart. Items have `title`, `authors`, `year` and `language`.
    """

    kind: Literal["goodbooks"] = "goodbooks"
    path: Path
    """Folder with the files of the dataset."""

    def load(self) -> Dataset:
        """Raises `SchemaError` for a missing column, `DataError` for too many bad rows."""
        bad = self.aside()
        log = self.path / "ratings.csv"
        layout = Layout(encoding=self.encoding or "utf-8")
        require(header(log, layout), ("user_id", "book_id", "rating"), log)
        fields = Fields(user="user_id", item="book_id", rating="rating")
        return build(
            "goodbooks",
            typed(tables(log, layout, bad), fields, bad, log),
            bad=bad,
            path=log,
            items=self._books(layout, bad),
            items_path=self.path / "books.csv",
            unknown_items=self.unknown_items,
            notes=("the source has no times: the order of the file is the order of events",),
        )

    def _books(self, layout: Layout, bad: Quarantine) -> pl.DataFrame:
        path = self.path / "books.csv"
        names = header(path, layout)
        require(names, ("book_id", "title", "authors"), path)
        table = table_of(path, layout, bad)
        bad.saw(path, table.height)
        more = {"original_publication_year": "year", "language_code": "language"}
        year = pl.col("original_publication_year").str.replace(r"\.0$", "")
        if "original_publication_year" in names:
            table = table.with_columns(year)
        return table.select(
            pl.col("id" if "id" in names else "book_id").alias("item_id"),
            plain_column(table["title"]),
            plain_column(table["authors"]),
            *(pl.col(old).alias(new) for old, new in more.items() if old in names),
            LINE,
        )
