"""MIND: news and the clicks of Microsoft News readers."""

from pathlib import Path
from typing import Literal

import polars as pl

from hardrank.data.build import build
from hardrank.data.columns import seconds
from hardrank.data.dataset import Dataset
from hardrank.data.options import CatalogueSource
from hardrank.data.quarantine import LINE, Check, Quarantine
from hardrank.data.reading import Layout, tables
from hardrank.data.texts import plain_column
from hardrank.errors import DataError
from hardrank.types import spec

__all__ = ["Mind"]

_NEWS = ("item_id", "category", "subcategory", "title", "abstract", "url", "entities", "more")
_LOG = ("impression", "user_id", "time", "history", "shown")
_TIME = "%m/%d/%Y %I:%M:%S %p"


@spec
class Mind(CatalogueSource):
    """A folder with `news.tsv` and `behaviors.tsv` of one part (train, dev).

    Wu et al., ACL 2020. A user's events are the clicked history (without time, hence first;
    all impressions of a user repeat it, the longest is taken) and then what was clicked of
    each impression, at its time. What was shown and not clicked is left out and counted.
    Items have `title`, `abstract`, `category` and `subcategory`.
    """

    kind: Literal["mind"] = "mind"
    path: Path
    """Folder with the files of the dataset."""

    def load(self) -> Dataset:
        """Raises `DataError` when a file is missing or too many rows are bad."""
        bad = self.aside()
        log = self.path / "behaviors.tsv"
        rows = self._behaviours(bad, log)
        shown = rows.select("user_id", "time", LINE, pl.col("shown").str.split(" "))
        shown = shown.explode("shown")
        clicked = shown.filter(pl.col("shown").str.ends_with("-1")).select(
            "user_id", pl.col("shown").str.replace(r"-1$", "").alias("item_id"), "time", LINE
        )
        events = pl.concat([_histories(rows), clicked])
        skipped = shown.filter(pl.col("shown").str.ends_with("-0")).height
        return build(
            "mind",
            events,
            bad=bad,
            path=log,
            items=self._news(bad),
            items_path=self.path / "news.tsv",
            unknown_items=self.unknown_items,
            notes=(f"{skipped:,} news shown and not clicked left out",),
        )

    def _table(self, path: Path, columns: tuple[str, ...], bad: Quarantine) -> pl.DataFrame:
        layout = Layout(
            separator="\t", columns=columns, quote="", encoding=self.encoding or "utf-8"
        )
        parts = list(tables(path, layout, bad))
        if not parts:
            raise DataError("the file is empty", path=path)
        return pl.concat(parts)

    def _behaviours(self, bad: Quarantine, path: Path) -> pl.DataFrame:
        time = seconds("time", _TIME)
        whole = pl.col("shown").str.contains(r"^\S+-[01]( \S+-[01])*$").fill_null(False)
        checks = [
            Check("user_id", pl.col("user_id").is_null(), "is missing"),
            Check("time", time.is_null(), "is not a time such as 11/12/2019 2:14:46 PM"),
            Check("shown", ~whole, "is no list of impressions such as N1-0 N2-1"),
        ]
        return bad.sift(self._table(path, _LOG, bad), checks, path).with_columns(time)

    def _news(self, bad: Quarantine) -> pl.DataFrame:
        path = self.path / "news.tsv"
        table = self._table(path, _NEWS, bad)
        checks = [Check("item_id", pl.col("item_id").is_null(), "is missing")]
        table = bad.sift(table, checks, path)
        texts = [plain_column(table[name]) for name in ("title", "abstract")]
        return table.select("item_id", *texts, "category", "subcategory", LINE)


def _histories(rows: pl.DataFrame) -> pl.DataFrame:
    known = rows.filter(pl.col("history").is_not_null()).with_columns(
        pl.col("history").str.strip_chars().str.split(" ").alias("item_id")
    )
    longest = known.sort(pl.col("item_id").list.len(), descending=True, maintain_order=True)
    longest = longest.unique("user_id", keep="first", maintain_order=True).sort(LINE)
    time = pl.lit(None, dtype=pl.Int64).alias("time")
    return longest.select("user_id", "item_id", time, LINE).explode("item_id")
