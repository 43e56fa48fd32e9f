"""Amazon reviews as JSON lines, with the keys of 2014, 2018 or 2023."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import polars as pl

from hardrank.data.build import build
from hardrank.data.columns import Fields, typed
from hardrank.data.dataset import Dataset
from hardrank.data.jsonlines import json_rows, records
from hardrank.data.options import CatalogueSource
from hardrank.data.quarantine import LINE, Quarantine
from hardrank.data.texts import item_table
from hardrank.errors import DataError, SchemaError
from hardrank.types import spec

__all__ = ["AmazonReviews"]

_OLD = Fields(
    user="reviewerID", item="asin", rating="overall", time="unixReviewTime",
    extra={"text": "reviewText", "summary": "summary"},
)  # fmt: skip
_NEW = Fields(
    user="user_id", item="parent_asin", rating="rating", time="timestamp",
    time_format="milliseconds", extra={"text": "text", "summary": "title"},
)  # fmt: skip
_META = {
    "title": "title", "brand": "brand", "store": "brand", "categories": "categories",
    "category": "categories", "description": "description", "feature": "features",
    "features": "features",
}  # fmt: skip
_WORDS = 8
_DULL = """
    a about all also am an and any are as at be been but by can did do does for from get good
    great had has have i if in is it its just like love me more most much my nice no not of on
    one or out product really so some than that the their them these they this those to too up
    very was we well were what when which will with would you your excellent best better bad
    awesome perfect ok okay works work five four three two stars star
""".split()  # noqa: SIM905


@spec
class AmazonReviews(CatalogueSource):
    """One review a line, plain, `.gz`, or the only file of a `.zip`.

    McAuley et al., SIGIR 2015 (2014 keys); Ni et al., EMNLP 2019 (2018 keys); Hou et al.,
    arXiv:2403.03952 (2023 keys: time in milliseconds, items by `parent_asin`). Which keys
    is told by the first line. `metadata` adds title, brand, categories, description and
    features; the 2014 files of it hold Python literals, which are read as data.

    Without `metadata` the title of an item is the eight words that most of its review
    summaries share (ties: alphabetical), without function words and words of praise.
    Such titles are made of reviews, held-out ones too; a note in the dataset says so.
    """

    kind: Literal["amazon-reviews"] = "amazon-reviews"
    path: Path
    """The reviews."""
    metadata: Path | None = None
    """Texts of the items; None makes titles of the reviews' summaries."""
    catalogue: Literal["reviewed", "all"] = "reviewed"
    """Items of `metadata` to keep: those that have a review, or all."""

    def load(self) -> Dataset:
        """Raises `DataError` when no line has the keys or too many rows are bad."""
        bad = self.aside()
        fields = self._fields()
        wanted = [fields.user, fields.item, fields.rating, fields.time, *fields.extra.values()]
        keys = [key for key in wanted if key]
        frames = json_rows(self.path, keys, bad, self.encoding or "utf-8")
        events = typed(frames, fields, bad, self.path)
        items, notes = self._items(events, bad)
        return build(
            f"amazon-reviews-{self.path.name.split('.')[0]}",
            events,
            bad=bad,
            path=self.path,
            items=items,
            items_path=self.metadata,
            unknown_items=self.unknown_items,
            notes=notes,
        )

    def _fields(self) -> Fields:
        for _, row in records(self.path, Quarantine(limit=1.0), self.encoding or "utf-8"):
            for fields in (_NEW, _OLD):  # the newer reviews have an `asin` as well
                if fields.user in row or fields.item in row:
                    _complete(row, fields, self.path)
                    return fields
            raise SchemaError(
                f"no Amazon review: keys are {', '.join(row)}", path=self.path, line=1,
                remedy="needed are reviewerID, asin, overall, unixReviewTime (2014, 2018) or "
                "user_id, parent_asin, rating, timestamp (2023)",
            )  # fmt: skip
        raise DataError("no line is JSON", path=self.path, remedy="one JSON object a line")

    def _items(self, events: pl.DataFrame, bad: Quarantine) -> tuple[pl.DataFrame, tuple[str, ...]]:
        if self.metadata is None:
            note = "item titles were made of the summaries of all reviews, held-out ones included"
            return titles_of_summaries(events), (note,)
        rows = list(self._metadata(bad, set(events["item_id"].unique())))
        # 2014 and 2018 name the item `asin`; 2023 gives the parent of its variants.
        key = "parent_asin" if rows and "parent_asin" in rows[0][1] else "asin"
        return item_table(rows, key, bad, self.metadata, names=_META), ()

    def _metadata(
        self, bad: Quarantine, reviewed: set[str]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        assert self.metadata is not None
        for line, row in records(self.metadata, bad, self.encoding or "utf-8", python=True):
            known = row.get("parent_asin", row.get("asin"))
            if self.catalogue == "all" or known is None or known in reviewed:
                yield line, row


def _complete(row: dict[str, Any], fields: Fields, path: Path) -> None:
    needed = [key for key in (fields.user, fields.item, fields.rating, fields.time) if key]
    if missing := [key for key in needed if key not in row]:
        raise SchemaError(
            f"the first review has no key {', '.join(map(repr, missing))}",
            path=path, line=1, field=missing[0], remedy=f"it has: {', '.join(row)}",
        )  # fmt: skip


def titles_of_summaries(events: pl.DataFrame) -> pl.DataFrame:
    """`item_id` (by first appearance) and `title`: the words most of its summaries share."""
    words = (
        events.select("item_id", word=pl.col("summary").str.to_lowercase())
        .with_columns(pl.col("word").str.extract_all(r"[\p{L}\p{N}][\p{L}\p{N}'-]+").list.unique())
        .explode("word")
        .filter(pl.col("word").is_not_null() & ~pl.col("word").is_in(sorted(_DULL)))
        .group_by("item_id", "word")
        .len()
        .sort("item_id", "len", "word", descending=[False, True, False])
        .group_by("item_id", maintain_order=True)
        .agg(title=pl.col("word").head(_WORDS).str.join(" "))
    )
    items = events.group_by("item_id", maintain_order=True).agg(pl.col(LINE).first())
    return items.join(words, on="item_id", how="left", maintain_order="left")
