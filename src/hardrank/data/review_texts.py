"""Reviews as a text field of items, so that models which read item text read them, too."""

from dataclasses import replace

import numpy as np
import polars as pl

from hardrank.data.dataset import Dataset
from hardrank.errors import DataError
from hardrank.types import Ints
from hardrank.wording import split

__all__ = ["training_reviews", "with_review_field"]


def with_review_field(
    dataset: Dataset, name: str = "reviews", *, most: int = 5, words: int = 40
) -> Dataset:
    """The dataset with the newest `most` reviews of each item, newest first and each cut to
    its first `words` words, as column `name` of the item table.

    Reviews without a time are older than all others; of equal times the one further down in
    the table is newer. An item without reviews has an empty text. A column of that name is
    made anew: apply a patch of reviews, then call this again. It reads all reviews there are:
    give it those of training events alone where held-out ones must not be read.

    Raises `DataError` for a dataset without reviews, for `item_id` as a name, and for `most`
    or `words` below 1.
    """
    if dataset.reviews is None:
        raise DataError(f"{dataset.name} has no reviews", remedy="choose a source with reviews")
    if name == "item_id" or most < 1 or words < 1:
        raise DataError("the field needs a name of its own, a review and a word", field=name)
    table = dataset.reviews.filter(pl.col("text").fill_null("") != "")
    items = table["item"].to_numpy()
    order = _newest_first(table)
    texts = table["text"].to_list()
    said: list[list[str]] = [[] for _ in range(dataset.n_items)]
    for row in order.tolist():
        own = said[items[row]]
        if len(own) < most:
            own.append(" ".join(split(texts[row])[:words]))
    column = pl.Series(name, [" ".join(own) for own in said], dtype=pl.Utf8)
    note = f"field '{name}' holds the newest {most} reviews of each item, {words} words of each"
    return replace(dataset, items=dataset.items.with_columns(column)).noted(note)


def _newest_first(table: pl.DataFrame) -> Ints:
    rows = np.arange(table.height)
    times = np.full(table.height, np.iinfo(np.int64).min)
    if "time" in table.columns:
        times = table["time"].fill_null(np.iinfo(np.int64).min).to_numpy()
    return np.lexsort((rows, times))[::-1]


def training_reviews(train: Dataset) -> Dataset:
    """The dataset without reviews of held-out events: those by a user of an item that has no
    event of theirs in `train`. Raises `DataError` for a dataset without reviews."""
    if train.reviews is None:
        raise DataError(f"{train.name} has no reviews", remedy="choose a source with reviews")
    known = train.events.select("user", "item").unique()
    kept = train.reviews.join(known, on=["user", "item"], how="semi", maintain_order="left")
    return replace(train, reviews=kept)
