"""MovieLens: 100K (`u.data`), 1M (`.dat`), latest and 20M+ (`.csv`)."""

from pathlib import Path
from typing import Literal, NamedTuple

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

__all__ = ["MovieLens"]

_GENRES = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",
    "Documentary", "Drama", "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance",
    "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_OCCUPATIONS = (
    "other", "educator", "artist", "clerical", "college student", "customer service", "doctor",
    "executive", "farmer", "homemaker", "K-12 student", "lawyer", "programmer", "retired",
    "sales", "scientist", "self-employed", "technician", "tradesman", "unemployed", "writer",
)  # fmt: skip
_LOG = ("user_id", "item_id", "rating", "time")


class _Edition(NamedTuple):
    log: str
    items: str
    users: str
    separator: str
    encoding: str
    quote: str
    log_columns: tuple[str, ...] | None
    item_columns: tuple[str, ...] | None
    user_columns: tuple[str, ...]


_EDITIONS = {
    "100k": _Edition(
        "u.data", "u.item", "u.user", "|", "latin-1", "", _LOG,
        ("item_id", "title", "released", "video", "url", *_GENRES),
        ("user_id", "age", "gender", "occupation", "zip"),
    ),
    "1m": _Edition(
        "ratings.dat", "movies.dat", "users.dat", "::", "latin-1", "", _LOG,
        ("item_id", "title", "genres"),
        ("user_id", "gender", "age", "occupation", "zip"),
    ),
    "latest": _Edition(
        "ratings.csv", "movies.csv", "", ",", "utf-8", '"', None, None, (),
    ),
}  # fmt: skip


@spec
class MovieLens(CatalogueSource):
    """A folder with the files of one edition; which one is told by their names.

    Harper & Konstan, ACM TiiS 5(4), 2015, and the README of each edition. `title` is kept
    as published ("Godfather, The (1972)"), `year` is taken out of it, `genres` are joined
    by spaces; with `tags.csv` beside, `tags` holds each movie's distinct tags. The older
    editions are latin-1. Users have gender, age and occupation where published; the codes
    of 1M are spelt out.
    """

    kind: Literal["movielens"] = "movielens"
    path: Path
    """Folder with the files of the dataset."""

    def load(self) -> Dataset:
        """Raises `DataError` when the folder holds no edition or too many bad rows."""
        name = self._edition()
        files, bad = _EDITIONS[name], self.aside()
        log = self.path / files.log
        events = self._events(files, bad)
        return build(
            f"movielens-{name}",
            events,
            bad=bad,
            path=log,
            items=self._items(files, bad),
            items_path=self.path / files.items,
            users=self._users(files, bad),
            unknown_items=self.unknown_items,
        )

    def _edition(self) -> str:
        for name, files in _EDITIONS.items():
            if (self.path / files.log).is_file():
                return name
        wanted = ", ".join(f.log for f in _EDITIONS.values())
        raise DataError(
            f"no MovieLens ratings here (looked for {wanted})",
            path=self.path,
            remedy="give the folder that was in the published archive",
        )

    def _layout(self, files: _Edition, columns: tuple[str, ...] | None, separator: str) -> Layout:
        encoding = self.encoding or files.encoding
        return Layout(separator=separator, columns=columns, quote=files.quote, encoding=encoding)

    def _events(self, files: _Edition, bad: Quarantine) -> pl.DataFrame:
        log = self.path / files.log
        separator = "\t" if files.log == "u.data" else files.separator
        layout = self._layout(files, files.log_columns, separator)
        fields = Fields(user="user_id", item="item_id", rating="rating", time="time")
        if files.log_columns is None:
            fields = Fields(user="userId", item="movieId", rating="rating", time="timestamp")
            wanted = (fields.user, fields.item, "rating", "timestamp")
            require(header(log, layout), wanted, log)
        return typed(tables(log, layout, bad), fields, bad, log)

    def _items(self, files: _Edition, bad: Quarantine) -> pl.DataFrame:
        path = self.path / files.items
        layout = self._layout(files, files.item_columns, files.separator)
        if files.item_columns is None:
            require(header(path, layout), ("movieId", "title", "genres"), path)
        table = table_of(path, layout, bad).rename({"movieId": "item_id"}, strict=False)
        bad.saw(path, table.height)
        items = table.select(
            "item_id",
            plain_column(table["title"]).fill_null(""),
            pl.col("title").str.extract(r"\((\d{4})\)\s*$").alias("year"),
            (_flags() if "Action" in table.columns else _barred()).alias("genres"),
            LINE,
        )
        tags = self.path / "tags.csv"
        return self._tagged(items, tags, bad) if tags.is_file() else items

    def _tagged(self, items: pl.DataFrame, path: Path, bad: Quarantine) -> pl.DataFrame:
        layout = Layout(encoding=self.encoding or "utf-8")
        require(header(path, layout), ("movieId", "tag"), path)
        table = table_of(path, layout, bad)
        joined = (
            table.drop_nulls(["movieId", "tag"])
            .with_columns(plain_column(table.drop_nulls(["movieId", "tag"])["tag"]))
            .group_by("movieId", maintain_order=True)
            .agg(pl.col("tag").unique(maintain_order=True).str.join(" ").alias("tags"))
        )
        return items.join(
            joined, left_on="item_id", right_on="movieId", how="left", maintain_order="left"
        )

    def _users(self, files: _Edition, bad: Quarantine) -> pl.DataFrame | None:
        path = self.path / files.users
        if not files.users or not path.is_file():
            return None
        layout = self._layout(files, files.user_columns, files.separator)
        table = table_of(path, layout, bad)
        bad.saw(path, table.height)
        if files.users == "users.dat":
            codes = {str(n): name for n, name in enumerate(_OCCUPATIONS)}
            table = table.with_columns(pl.col("occupation").replace(codes))
        age = pl.col("age").cast(pl.Int32, strict=False)
        return table.select("user_id", "gender", age, "occupation")


def _flags() -> pl.Expr:
    """The genres whose flag is 1, in the published order."""
    named = [pl.when(pl.col(g) == "1").then(pl.lit(g)) for g in _GENRES if g != "unknown"]
    return pl.concat_str(named, separator=" ", ignore_nulls=True)


def _barred() -> pl.Expr:
    genres = pl.col("genres").fill_null("").str.replace("(no genres listed)", "", literal=True)
    return genres.str.replace_all("|", " ", literal=True)
